"""What becomes of a request after an error: a pure map from (error, attempt, back-off) to an outcome."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta

from v6.data.outcome import FailedBecause, Outcome, RetryAt, SnoozeUntil
from v6.errors import ErrorCategory, LakeError, TableIncompatible, V6Error
from v6.request_types.base import Backoff

SNOOZE_SECONDS = 5.0  # a request that was held back asks again after so long

WAITING = frozenset({ErrorCategory.PACING, ErrorCategory.SESSION})  # held back: spends no attempt
HOPELESS = frozenset({ErrorCategory.VALIDATION, ErrorCategory.CONTRACT, ErrorCategory.ENTITLEMENT})

Draw = Callable[[float, float], float]


def outcome_of(
    error: Exception, *, attempt: int, attempts: int, backoff: Backoff, now: datetime, draw: Draw = random.uniform
) -> Outcome:
    """The outcome of an attempt that raised.

    ``attempt`` counts this one, from 1, of ``attempts``; ``now`` is clock time, UTC; ``draw`` gives a number between
    two others.
    """
    category, message = category_of(error), message_of(error)
    code = getattr(error, "code", None)
    if category in WAITING or (isinstance(error, LakeError) and not isinstance(error, TableIncompatible)):
        seconds = getattr(error, "retry_seconds", None) or SNOOZE_SECONDS
        return SnoozeUntil(at=now + timedelta(seconds=seconds), reason=message)
    if category in HOPELESS or isinstance(error, TableIncompatible) or getattr(error, "is_final", False):
        return FailedBecause(message=message, category=category, code=code)
    if attempt >= attempts:
        return FailedBecause(message=f"{message} (attempt {attempt} of {attempts})", category=category, code=code)
    at = now + timedelta(seconds=delay_seconds(attempt, backoff, draw))
    return RetryAt(at=at, message=message, category=category, code=code)


def delay_seconds(attempt: int, backoff: Backoff, draw: Draw = random.uniform) -> float:
    """Full jitter: uniform in [0, min(cap, first * 2**(attempt - 1))] seconds; ``attempt`` from 1."""
    doublings = min(attempt - 1, 60)  # beyond, every cap is long reached
    return draw(0.0, min(backoff.cap_seconds, backoff.first_seconds * 2.0**doublings))


def category_of(error: BaseException) -> ErrorCategory:
    """What kind of error it is; what nobody raised on purpose is ours: internal."""
    if isinstance(error, TableIncompatible):
        return ErrorCategory.VALIDATION
    if isinstance(error, V6Error):
        return error.category
    if isinstance(error, TimeoutError):
        return ErrorCategory.TIMEOUT
    if isinstance(error, ConnectionError):
        return ErrorCategory.NETWORK
    return ErrorCategory.INTERNAL


def message_of(error: BaseException) -> str:
    """One line that says what happened; an error without text gives its type's name."""
    text = " ".join(str(error).split())
    if isinstance(error, V6Error) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
