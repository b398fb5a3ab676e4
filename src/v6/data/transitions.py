"""The next row of a request: what each thing that can happen to it makes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from v6.data.ib_request import CANCEL, IBRequest, RequestStatus
from v6.data.outcome import Cancelled, Crashed, Done, FailedBecause, Outcome, RetryAt, SnoozeUntil
from v6.errors import ErrorCategory


def claimed(request: IBRequest, now: datetime, worker_id: str) -> IBRequest:
    """Taken by a worker."""
    return request.next(RequestStatus.PROCESSING, now=now, worker_id=worker_id or None, not_before=None)


def duplicate(request: IBRequest, now: datetime, rival: IBRequest) -> IBRequest:
    """Given up for another that holds its key."""
    text = f"a duplicate: {rival.request_id} holds the key {request.idempotency_key}"
    return request.next(RequestStatus.CANCELLED, now=now, error_message=text)


def expired(request: IBRequest, now: datetime, worker_id: str) -> IBRequest:
    """Failed, because its deadline came first."""
    return request.next(
        RequestStatus.FAILED,
        now=now,
        error_message=f"expired: it had not begun by its deadline {request.deadline}",
        error_category=str(ErrorCategory.TIMEOUT),
        worker_id=worker_id or None,
    )


def settled(request: IBRequest, outcome: Outcome, now: datetime) -> IBRequest:
    """The row that an outcome makes of a claimed request; one that is wanted cancelled does not run again."""
    reason = request.cancel_reason
    if reason is not None:
        request = replace(request, result_data_json=as_json(request.without_cancel()))
        if isinstance(outcome, RetryAt | SnoozeUntil | Crashed):
            outcome = Cancelled(reason=reason)
    match outcome:
        case Done(result=result):
            return request.next(
                RequestStatus.SUCCESS, now=now, attempt=request.attempt + 1,
                result_data_json=as_json({**request.result_data, **result}),
                error_message=None, error_code=None, error_category=None,
            )  # fmt: skip
        case RetryAt(at=at, message=message, category=category, code=code):
            return request.next(
                RequestStatus.PENDING, now=now, attempt=request.attempt + 1, not_before=at,
                error_message=message, error_code=code, error_category=str(category),
            )  # fmt: skip
        case SnoozeUntil(at=at, reason=reason):
            return request.next(RequestStatus.PENDING, now=now, not_before=at, error_message=reason)
        case FailedBecause(message=message, category=category, code=code):
            return request.next(
                RequestStatus.FAILED, now=now, attempt=request.attempt + 1,
                error_message=message, error_code=code, error_category=str(category),
            )  # fmt: skip
        case Cancelled(reason=reason):
            return request.next(RequestStatus.CANCELLED, now=now, error_message=reason)
        case Crashed(at=at, reason=reason):
            return request.next(
                RequestStatus.FAILED if at is None else RequestStatus.PENDING, now=now, crashes=request.crashes + 1,
                not_before=at, error_message=reason, error_code=None,
                error_category=str(ErrorCategory.INTERNAL) if at is None else None,
            )  # fmt: skip


def is_claim_of(request: IBRequest, worker_id: str) -> bool:
    """Whether a worker has claimed a request and not settled it."""
    return request.status is RequestStatus.PROCESSING and (request.worker_id or "") == worker_id


def as_json(value: Mapping[str, Any]) -> str | None:
    """How a request stores what it was given, None for nothing."""
    return json.dumps(value, separators=(",", ":"), default=str) if value else None


def cancelled(request: IBRequest, now: datetime, *, reason: str) -> IBRequest:
    """A pending request cancelled; a running one asked to end, once."""
    if request.cancel_reason is not None:
        return request
    if request.status is RequestStatus.PROCESSING:
        asked = as_json({**request.result_data, CANCEL: reason})
        return request.next(RequestStatus.PROCESSING, now=now, result_data_json=asked)
    return request.next(RequestStatus.CANCELLED, now=now, error_message=reason)


def replayed(request: IBRequest, now: datetime) -> IBRequest:
    """A failed request put back as new."""
    return request.next(
        RequestStatus.PENDING, now=now, attempt=0, crashes=0, not_before=None, deadline=None, worker_id=None,
        error_message=None, error_code=None, error_category=None,
    )  # fmt: skip
