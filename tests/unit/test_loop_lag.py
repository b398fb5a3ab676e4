"""The standing metric of the event loop: every block is seen, and an idle loop is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from v6.clock import ManualClock
from v6.core.loop_lag import LoopBlocked, LoopLag
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


@asynccontextmanager
async def measured(clock: WorkClock) -> AsyncIterator[tuple[LoopLag, list[Event]]]:
    events, seen = EventBus(), list[Event]()
    events.subscribe(Event, seen.append)
    lag = LoopLag(clock, events)
    measuring = asyncio.create_task(lag.run())
    await asyncio.sleep(0)
    yield lag, seen
    measuring.cancel()
    await asyncio.gather(measuring, return_exceptions=True)


async def after_a_round(work: Callable[[], None]) -> None:
    """Do it in a round of the loop, and let two more pass."""
    asyncio.get_running_loop().call_soon(work)
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_block_is_reported_with_what_the_loop_worked_of_it() -> None:
    clock = WorkClock()
    async with measured(clock) as (lag, seen):
        await after_a_round(lambda: clock.work(0.06))
        assert seen == [LoopBlocked(milliseconds=60.0, own=60.0)]
        await after_a_round(lambda: clock.work(0.01, others=0.06))
        assert seen[1:] == [LoopBlocked(milliseconds=70.0, own=10.0)]
        assert lag.worst_ms() == 70.0


async def test_many_short_rounds_are_no_block() -> None:
    clock = WorkClock()
    async with measured(clock) as (lag, seen):
        for _ in range(20):
            await after_a_round(lambda: clock.work(0.01))
        assert seen == []
        assert lag.worst_ms() == 10.0


async def test_a_timer_that_wakes_late_is_a_block_and_a_wait_for_data_is_none() -> None:
    clock = WorkClock()
    async with measured(clock) as (lag, seen):
        loop, selector = asyncio.get_running_loop(), vars(asyncio.get_running_loop())["_selector"]
        asked: list[float | None] = []

        def select(timeout: float | None = None) -> list[object]:
            asked.append(timeout)
            clock.pause(0.2)  # what it should have waited, and more
            return []

        lag._round(loop, select, 0.05)
        lag._round(loop, select, None)  # until something came
        lag._round(loop, lambda _: [], 0.0)
        assert asked == [0.05, None]
        for _ in range(2):
            await asyncio.sleep(0)
        assert seen == [LoopBlocked(milliseconds=150.0, own=0.0)]
        assert "select" in vars(selector)


async def test_the_worst_is_forgotten_after_a_minute_and_the_selector_left_as_it_was() -> None:
    clock = WorkClock()
    async with measured(clock) as (lag, _seen):
        await after_a_round(lambda: clock.work(0.06))
        assert lag.worst_ms() == 60.0
        clock.pause(61.0)
        assert lag.worst_ms() == 0.0
    assert "select" not in vars(vars(asyncio.get_running_loop())["_selector"])


async def test_an_idle_loop_is_not_woken() -> None:
    clock = WorkClock()
    async with measured(clock):
        timers = [handle for handle in vars(asyncio.get_running_loop())["_scheduled"] if not handle.cancelled()]
        assert timers == []
