"""What is held because the lake refuses to be written: said once for each cause, and once when it is over."""

from __future__ import annotations

from dataclasses import dataclass

from v6.clock import Clock
from v6.core.worker_events import LakeWriteHeld, LakeWriteResumed
from v6.events import EventBus


@dataclass(kw_only=True, slots=True)
class _Hold:
    since: float
    message: str


class Holds:
    """The holds of one writer, by table."""

    def __init__(self, clock: Clock, events: EventBus) -> None:
        self._clock = clock
        self._events = events
        self._holds: dict[str, _Hold] = {}

    def note(self, table: str, message: str, retry_seconds: float) -> None:
        """A commit to a table failed."""
        hold = self._holds.get(table)
        if hold is None or hold.message != message:
            self._events.emit(LakeWriteHeld(table=table, message=message, retry_seconds=retry_seconds))
        since = self._clock.machine_monotonic() if hold is None else hold.since
        self._holds[table] = _Hold(since=since, message=message)

    def over(self, table: str) -> None:
        """A commit to a table landed."""
        hold = self._holds.pop(table, None)
        if hold is not None:
            seconds = round(self._clock.machine_monotonic() - hold.since, 1)
            self._events.emit(LakeWriteResumed(table=table, held_seconds=seconds))
