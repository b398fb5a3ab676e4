"""The one source of now, of sleeping and of deadlines.

A clock maps the machine's time to the time v6 lives in: ``now = origin + (machine - anchor) * speed``. One setting,
handed to every process, makes them all agree, so that a day can be lived faster and any date can be now. Three things
stay machine time (``machine_now``): when a row was known, leases, and retention.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from v6.errors import SettingsError

_SYNTAX = "write ORIGIN[@ANCHOR][*SPEED] with times in ISO 8601, for example 2026-11-23T17:30:00Z*20"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClockSetting:
    """It is ``origin`` (UTC) when the machine says ``anchor`` (UTC), and time runs ``speed`` (> 0) times as fast."""

    origin: datetime
    anchor: datetime
    speed: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``ORIGIN[@ANCHOR][*SPEED]``; without an anchor the origin is now. Empty text is the machine's time.

        Raises:
            SettingsError: the text has another form, or the speed is not positive.
        """
        machine = datetime.fromtimestamp(time.time(), UTC)
        if not text.strip():
            return cls(origin=machine, anchor=machine)
        instants, _, speed_text = text.partition("*")
        origin_text, _, anchor_text = instants.partition("@")
        try:
            speed = float(speed_text) if speed_text else 1.0
            origin = parse_utc(origin_text)
            anchor = parse_utc(anchor_text) if anchor_text else machine
        except ValueError as error:
            raise SettingsError(f"the clock {text!r} cannot be read ({error}): {_SYNTAX}") from error
        if not 0 < speed < float("inf"):
            raise SettingsError(f"the clock {text!r} has a speed that is not positive: {_SYNTAX}")
        return cls(origin=origin, anchor=anchor, speed=speed)

    def __str__(self) -> str:
        """The full form: parsing it in another process gives a clock that agrees with this one."""
        return f"{self.origin.isoformat()}@{self.anchor.isoformat()}*{self.speed:g}"


def parse_utc(text: str) -> datetime:
    """An ISO 8601 instant as UTC; one without an offset is taken as UTC. Raises ValueError."""
    instant = datetime.fromisoformat(text.strip())
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


class Clock:
    """Now, sleep and deadlines, all in clock time. Seconds everywhere are clock seconds unless a name says machine."""

    def __init__(self, setting: ClockSetting | str = "", *, machine: Callable[[], float] = time.time) -> None:
        self.setting = ClockSetting.parse(setting) if isinstance(setting, str) else setting
        self._machine = machine
        self._anchor_seconds = self.setting.anchor.timestamp()

    @property
    def speed(self) -> float:
        """Clock seconds per machine second."""
        return self.setting.speed

    def now(self) -> datetime:
        """The current instant of the clock, UTC, in microseconds."""
        elapsed = (self._machine() - self._anchor_seconds) * self.speed
        return self.setting.origin + timedelta(seconds=elapsed)

    def machine_now(self) -> datetime:
        """The machine's own time, UTC: for ``known_at``, leases and retention only."""
        return datetime.fromtimestamp(self._machine(), UTC)

    def monotonic(self) -> float:
        """Clock seconds that never step back: for measuring and for deadlines inside one process."""
        return time.monotonic() * self.speed

    def machine_monotonic(self) -> float:
        """Machine seconds that never step back: for heartbeats and time-outs of local work."""
        return time.monotonic()

    def thread_seconds(self) -> float:
        """CPU seconds that the calling thread has used: tells work from waiting."""
        return time.thread_time()

    async def sleep(self, seconds: float) -> None:
        """Wait for so many clock seconds."""
        await asyncio.sleep(max(0.0, seconds) / self.speed)

    def timeout(self, seconds: float | None) -> asyncio.Timeout:
        """A context that raises TimeoutError after so many clock seconds; None never does."""
        return asyncio.timeout(None if seconds is None else seconds / self.speed)

    def pause(self, machine_seconds: float) -> None:
        """Block the calling thread for so many machine seconds: back-off between commits, off the event loop."""
        time.sleep(machine_seconds)


class ManualClock(Clock):
    """A clock that a test moves by hand: sleeping waits until ``advance`` has passed the moment, and never longer."""

    def __init__(self, now: datetime) -> None:
        super().__init__(ClockSetting(origin=now, anchor=now))
        self._now = now
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._ids = itertools.count()

    def now(self) -> datetime:
        return self._now

    def machine_now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._elapsed

    def machine_monotonic(self) -> float:
        return self._elapsed

    def pause(self, machine_seconds: float) -> None:
        self._move(machine_seconds)

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._ids), future))
        await future

    def timeout(self, seconds: float | None) -> asyncio.Timeout:
        """Never fires by itself: real deadlines are tested against a real clock at speed."""
        del seconds
        return asyncio.timeout(None)

    async def advance(self, seconds: float) -> None:
        """Move time forward, waking sleepers in order and letting each run before the next."""
        target = self._elapsed + seconds
        while self._sleepers and self._sleepers[0][0] <= target:
            due, _, future = heapq.heappop(self._sleepers)
            self._move(max(0.0, due - self._elapsed))
            if not future.done():
                future.set_result(None)
            await asyncio.sleep(0)
        self._move(max(0.0, target - self._elapsed))
        await asyncio.sleep(0)

    def step(self, delta: timedelta) -> None:
        """Set the wall clock forwards or back; elapsed time does not move."""
        self._now += delta

    def _move(self, seconds: float) -> None:
        self._elapsed += seconds
        self._now += timedelta(seconds=seconds)
