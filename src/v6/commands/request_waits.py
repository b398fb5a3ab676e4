"""What one request waits for at this moment, why and for how long, as its worker said last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from v6.app import App
from v6.commands.verdict import WORKING
from v6.commands.worker_words import last_words

if TYPE_CHECKING:
    from datetime import datetime

    from v6.data.ib_request_queue import IBRequest

FREE_PLACE = "a free place of the worker"
COLUMNS = ("reason", "steps", "waited_seconds", "expected_seconds")
Wait = Mapping[str, Any]  # the columns; expected_seconds is None where it cannot be told


def waits_of(app: App, request: IBRequest) -> list[Wait]:
    """What it waits for; nothing once it has ended. Seconds are clock seconds."""
    words = last_words(app)
    if str(request.status) == "PROCESSING":
        return [wait for word in words for wait in _within(word["limits_in_use"], request.request_id)]
    if str(request.status) != "PENDING":
        return []
    now = app.clock.now()
    waited = round((now - request.updated_at).total_seconds(), 1)
    if request.not_before is not None and request.not_before > now:
        left = round((request.not_before - now).total_seconds(), 1)
        return [_wait(f"its time: {request.error_message or 'it was asked for later'}", waited, left)]
    limits = {rate.reason(name): name for name, rate in app.rates.items()}
    reasons = [each for each in _why_pending(words) if limits.get(each, request.request_type) == request.request_type]
    until_next = _until_the_next(app, request.request_type, now)
    return [_wait(each, waited, until_next if each in limits else None) for each in reasons or [FREE_PLACE]]


def _until_the_next(app: App, request_type: str, now: datetime) -> float | None:
    """Clock seconds until a limited type may begin another; None where it may now."""
    if request_type not in app.rates:
        return None
    from v6.data.ib_request import REQUESTS
    from v6.data.recent_claims import RecentClaims

    claims = RecentClaims(app.rates)
    claims.load(app.lake.scan(REQUESTS), now)
    at = claims.next_at(request_type, now)
    return None if at is None else round((at - now).total_seconds(), 1)


def longest_waits(words: Sequence[Mapping[str, Any]]) -> list[Wait]:
    """Each reason for which requests at work wait: how many steps of them, the longest for how long."""
    by_reason: dict[str, list[Wait]] = {}
    for word in words if words else ():
        for reason, waits in (word["limits_in_use"].get("waiting") or {}).items():
            by_reason.setdefault(reason, []).extend(waits.values())
    return [
        {
            "reason": reason,
            "requests": len(waits),
            "steps": sum(wait["steps"] for wait in waits),
            "waited_seconds": max(wait["waited_seconds"] for wait in waits),
        }
        for reason, waits in by_reason.items()
    ]


def _within(usage: Mapping[str, Any], request_id: str) -> list[Wait]:
    found = ((reason, waits.get(request_id)) for reason, waits in (usage.get("waiting") or {}).items())
    return [{name: wait.get(name) for name in COLUMNS} | {"reason": reason} for reason, wait in found if wait]


def _why_pending(words: Sequence[Mapping[str, Any]]) -> list[str]:
    at_work = [word for word in words if word["state"] in WORKING]
    if at_work:
        return sorted({reason for word in at_work for reason in word["waiting"]}) or [FREE_PLACE]
    said = [f"worker {word['worker_id']} is {word['state']}: {word['reason'] or 'no reason'}" for word in words]
    return said or ["no worker has worked on this lake: start `v6 worker`"]


def _wait(reason: str, waited: float, expected: float | None = None) -> Wait:
    return {"reason": reason, "steps": 1, "waited_seconds": waited, "expected_seconds": expected}
