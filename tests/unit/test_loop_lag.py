"""The standing metric of the event loop: every block is seen, and an idle loop is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from v6.clock import ManualClock
from v6.core.loop_lag import LoopBlocked, LoopLag, MeasuredLoop, Ready, RoundSelector, Select
from v6.events import Event, EventBus


class WorkClock(ManualClock):
    """Time that passes only where a test says that something worked, or that the machine was busy elsewhere."""

    def __init__(self) -> None:
        super().__init__(datetime(2026, 11, 23, 15, tzinfo=UTC))
        self.cpu = 0.0

    def thread_seconds(self) -> float:
        return self.cpu

    def work(self, seconds: float, *, others: float = 0.0) -> None:
        self.cpu += seconds
        self.pause(seconds + others)


Scene = Callable[[WorkClock, LoopLag, list[Event]], Coroutine[Any, Any, None]]


def measured(scene: Scene) -> None:
    """Play a scene on a measured loop, beside what measures it."""
    clock, events, seen = WorkClock(), EventBus(), list[Event]()
    events.subscribe(Event, seen.append)
    lag = LoopLag(clock, events)

    async def play() -> None:
        measuring = asyncio.create_task(lag.run())
        await asyncio.sleep(0)
        await scene(clock, lag, seen)
        measuring.cancel()
        await asyncio.gather(measuring, return_exceptions=True)

    with asyncio.Runner(loop_factory=MeasuredLoop) as runner:
        runner.run(play())


async def after_a_round(work: Callable[[], None]) -> None:
    """Do it in a round of the loop, and let two more pass."""
    asyncio.get_running_loop().call_soon(work)
    for _ in range(3):
        await asyncio.sleep(0)


def rounds() -> RoundSelector:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, MeasuredLoop)
    return loop.rounds


def test_a_block_is_reported_with_what_the_loop_worked_of_it() -> None:
    async def scene(clock: WorkClock, lag: LoopLag, seen: list[Event]) -> None:
        await after_a_round(lambda: clock.work(0.06))
        assert seen == [LoopBlocked(milliseconds=60.0, own=60.0)]
        await after_a_round(lambda: clock.work(0.01, others=0.06))
        assert seen[1:] == [LoopBlocked(milliseconds=70.0, own=10.0)]
        assert lag.worst_ms() == 70.0

    measured(scene)


def test_many_short_rounds_are_no_block() -> None:
    async def scene(clock: WorkClock, lag: LoopLag, seen: list[Event]) -> None:
        for _ in range(20):
            await after_a_round(lambda: clock.work(0.01))
        assert seen == []
        assert lag.worst_ms() == 10.0

    measured(scene)


def test_a_timer_that_wakes_late_is_a_block_and_a_wait_for_data_is_none() -> None:
    async def scene(clock: WorkClock, _lag: LoopLag, seen: list[Event]) -> None:
        between, asked = rounds().between, list[float | None]()
        assert between is not None

        def select(timeout: float | None) -> Ready:
            asked.append(timeout)
            clock.pause(0.2)  # what it should have waited, and more
            return []

        between(select, 0.05)
        between(select, None)  # until something came
        between(lambda _: [], 0.0)
        assert asked == [0.05, None]
        for _ in range(2):
            await asyncio.sleep(0)
        assert seen == [LoopBlocked(milliseconds=150.0, own=0.0)]

    measured(scene)


def test_the_worst_is_forgotten_after_a_minute() -> None:
    async def scene(clock: WorkClock, lag: LoopLag, _seen: list[Event]) -> None:
        await after_a_round(lambda: clock.work(0.06))
        assert lag.worst_ms() == 60.0
        clock.pause(61.0)
        assert lag.worst_ms() == 0.0

    measured(scene)


def test_an_idle_loop_is_not_woken() -> None:
    async def scene(_clock: WorkClock, _lag: LoopLag, _seen: list[Event]) -> None:
        between, asked = rounds().between, list[float | None]()
        assert between is not None

        def look(select: Select, timeout: float | None) -> Ready:
            asked.append(timeout)
            asyncio.get_running_loop().call_soon_threadsafe(awake.set)
            return between(select, timeout)

        awake = asyncio.Event()
        rounds().between = look
        await awake.wait()
        assert asked[0] is None  # nothing is due at any time

    measured(scene)


async def test_a_loop_of_somebody_else_is_left_alone_and_not_measured() -> None:
    lag = LoopLag(WorkClock(), EventBus())
    await lag.run()
    assert lag.worst_ms() is None
