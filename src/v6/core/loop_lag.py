"""How long the event loop was blocked: a standing metric, for a loop that stands still paces and answers nothing.

Nothing ticks for it: the loop asks its selector between any two rounds, and that is where time is taken. An idle worker
is not woken. So it needs a loop with a selector of ours; the worker's command runs on one.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from v6.clock import Clock
from v6.events import Event, EventBus

REPORTED_MS = 50.0
NOTED_MS = 1.0
KEPT_SECONDS = 60.0

Ready = list[tuple[selectors.SelectorKey, int]]
Select = Callable[[float | None], Ready]


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopBlocked(Event):
    """The event loop did nothing else for so many milliseconds (machine time), and was at work itself for ``own`` of
    them; the rest the machine was busy with something else."""

    name: ClassVar[str] = "loop.blocked"
    level: ClassVar[str] = "debug"

    milliseconds: float
    own: float


class RoundSelector(selectors.DefaultSelector):
    """Asks through ``between``, where somebody has set it: it is given the real ``select`` and its time-out."""

    def __init__(self) -> None:
        super().__init__()
        self.between: Callable[[Select, float | None], Ready] | None = None

    def select(self, timeout: float | None = None) -> Ready:
        """Wait until something is ready, ``timeout`` seconds at most; None waits for ever."""
        return super().select(timeout) if self.between is None else self.between(super().select, timeout)


class MeasuredLoop(asyncio.SelectorEventLoop):
    """An event loop whose rounds can be measured."""

    def __init__(self) -> None:
        self.rounds = RoundSelector()
        super().__init__(self.rounds)


class LoopLag:
    """Measures each round of the loop: how late it was woken for a timer, and how long it then worked."""

    def __init__(self, clock: Clock, events: EventBus) -> None:
        self._clock = clock
        self._events = events
        self._worst: deque[tuple[float, float]] = deque()  # of each second: when, ms
        self._due = self._cpu = 0.0  # when the round should have begun, and the thread's CPU seconds as it began
        self._is_measured = False

    async def run(self) -> None:
        """Measure until cancelled; a loop that is no ``MeasuredLoop`` cannot be, and it ends at once."""
        loop = asyncio.get_running_loop()
        if not isinstance(loop, MeasuredLoop):
            return
        self._is_measured = True
        self._begin(self._clock.machine_monotonic())
        loop.rounds.between = self._round
        try:
            await loop.create_future()
        finally:
            loop.rounds.between = None

    def _round(self, select: Select, timeout: float | None) -> Ready:
        """One round has ended; wait for what begins the next."""
        asked = self._clock.machine_monotonic()
        if (late_ms := (asked - self._due) * 1000) >= NOTED_MS:
            self._note(asked, late_ms, (self._clock.thread_seconds() - self._cpu) * 1000)
        ready = select(timeout)
        woken = self._clock.machine_monotonic()
        self._begin(min(woken, asked + timeout) if timeout and timeout > 0 else woken)
        return ready

    def _begin(self, due: float) -> None:
        self._due, self._cpu = due, self._clock.thread_seconds()

    def _note(self, now: float, late_ms: float, own_ms: float) -> None:
        if late_ms > REPORTED_MS:
            event = LoopBlocked(milliseconds=round(late_ms, 1), own=round(min(own_ms, late_ms), 1))
            loop = asyncio.get_running_loop()
            loop.call_soon_threadsafe(self._events.emit, event)  # in a round of its own: this is no place to fail
        if self._worst and now - self._worst[-1][0] < 1.0:
            self._worst[-1] = (self._worst[-1][0], max(late_ms, self._worst[-1][1]))
        else:
            self._worst.append((now, late_ms))
        self._forget(now)

    def _forget(self, now: float) -> None:
        while self._worst and now - self._worst[0][0] > KEPT_SECONDS:
            self._worst.popleft()

    def worst_ms(self) -> float | None:
        """The longest block within the last minute, milliseconds; None where it cannot be measured."""
        if not self._is_measured:
            return None
        self._forget(self._clock.machine_monotonic())
        return round(max((late for _, late in self._worst), default=0.0), 1)
