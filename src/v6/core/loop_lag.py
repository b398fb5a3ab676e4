"""How long the event loop was blocked: a standing metric, for a loop that stands still paces and answers nothing."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import ClassVar

from v6.clock import Clock
from v6.events import Event, EventBus

TICK_SECONDS = 0.02  # machine seconds
REPORTED_MS = 50.0
KEPT_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopBlocked(Event):
    """The event loop did nothing else for so many milliseconds (machine time), and was at work itself for ``own`` of
    them; the rest the machine was busy with something else."""

    name: ClassVar[str] = "loop.blocked"
    level: ClassVar[str] = "debug"

    milliseconds: float
    own: float


class LoopLag:
    """Measures by how much a short sleep is late."""

    def __init__(self, clock: Clock, events: EventBus) -> None:
        self._clock = clock
        self._events = events
        self._worst: deque[tuple[float, float]] = deque()  # of each second: when, ms

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            began, cpu = self._clock.machine_monotonic(), self._clock.thread_seconds()
            await self._clock.sleep(TICK_SECONDS * self._clock.speed)
            now = self._clock.machine_monotonic()
            self._note(now, (now - began - TICK_SECONDS) * 1000, (self._clock.thread_seconds() - cpu) * 1000)

    def _note(self, now: float, late_ms: float, own_ms: float) -> None:
        if late_ms > REPORTED_MS:
            self._events.emit(LoopBlocked(milliseconds=round(late_ms, 1), own=round(min(own_ms, late_ms), 1)))
        if self._worst and now - self._worst[-1][0] < 1.0:
            self._worst[-1] = (self._worst[-1][0], max(late_ms, self._worst[-1][1]))
        else:
            self._worst.append((now, late_ms))
        while now - self._worst[0][0] > KEPT_SECONDS:
            self._worst.popleft()

    def worst_ms(self) -> float:
        """The longest block within the last minute, milliseconds."""
        return round(max((late for _, late in self._worst), default=0.0), 1)
