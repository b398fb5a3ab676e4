"""How the end of one run is reported."""

from __future__ import annotations

from v6.core.in_flight import Finished
from v6.core.worker_events import RequestFinished, RequestRefused
from v6.data.ib_request_queue import Turn
from v6.data.outcome import Cancelled, Crashed, Done, FailedBecause, Outcome, RetryAt, SnoozeUntil


def settlement_event(finished: Finished, turn: Turn) -> RequestFinished | RequestRefused:
    """The fact to report about a run that the queue settled, or refused to."""
    request, outcome = finished.request, finished.outcome
    if request.request_id in turn.refused:
        now = turn.refused[request.request_id]
        return RequestRefused(request_id=request.request_id, status=None if now is None else str(now.status))
    word, message = _words(outcome)
    problem = outcome if isinstance(outcome, RetryAt | FailedBecause) else None
    return RequestFinished(
        request_id=request.request_id,
        request_type=request.request_type,
        symbol=request.symbol,
        priority=request.priority,
        outcome=word,
        seconds=finished.seconds,
        rows=outcome.result.get("rows") if isinstance(outcome, Done) else None,
        message=message,
        category=None if problem is None else str(problem.category),
        code=None if problem is None else problem.code,
    )


def _words(outcome: Outcome) -> tuple[str, str | None]:
    match outcome:
        case Done():
            return "done", None
        case RetryAt(message=message):
            return "retry", message
        case SnoozeUntil(reason=reason):
            return "snoozed", reason
        case FailedBecause(message=message):
            return "failed", message
        case Cancelled(reason=reason):
            return "cancelled", reason
        case Crashed(reason=reason):
            return "crashed", reason
