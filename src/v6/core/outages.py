"""When no data could be had: since when, why, for how long, and how many calls were issued again afterwards."""

from __future__ import annotations

from v6.clock import Clock
from v6.core.session_state import OutageEnded, SessionState, SessionStatus
from v6.events import EventBus

GOOD = frozenset({SessionState.READY})


class Outages:
    """Watches a session's state and reports each hole when it has ended."""

    def __init__(self, status: SessionStatus, *, clock: Clock, events: EventBus) -> None:
        self._status = status
        self._clock = clock
        self._events = events
        self._began: float | None = None
        self._reason = ""
        self._issued_again = 0
        self._has_been_ready = False
        status.on_change = self._look

    def count_issued_again(self) -> None:
        """A call that was in flight is asked again."""
        self._issued_again += 1

    def _look(self) -> None:
        is_good = self._status.state in GOOD
        if is_good and self._began is not None:
            seconds = round(self._clock.monotonic() - self._began, 3)
            self._began = None
            self._events.emit(OutageEnded(reason=self._reason, seconds=seconds, issued_again=self._issued_again))
            self._issued_again = 0
        elif not is_good and self._began is None and self._has_been_ready:
            self._began, self._reason = self._clock.monotonic(), self._status.reason
        self._has_been_ready = self._has_been_ready or is_good
