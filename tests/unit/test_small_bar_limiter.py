"""IB's rules for small bars: held in any order, in mid-flight and across restarts."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from v6.clock import ManualClock
from v6.core.fair_queue import Claimant
from v6.core.pacing_record import PacingRecord
from v6.core.small_bar_limiter import SmallBarLimiter
from v6.errors import ErrorCategory, GatewayError

START = datetime(2026, 11, 23, 15, tzinfo=UTC)
BARS = Claimant(priority=3, request_id="bars")


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class Desk:
    """A limiter on a clock moved by hand; ``times`` are when each request went out."""

    def __init__(self, record: PacingRecord | None = None, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock(START)
        self.limiter = SmallBarLimiter(clock=self.clock, record=record)
        self.times: dict[str, float] = {}
        self.tasks: list[asyncio.Task[None]] = []

    def ask(self, identity: str, series: str = "", *, weight: int = 1, is_patient: bool = True) -> asyncio.Task[None]:
        async def work() -> None:
            async with self.limiter.request(
                series=series or identity, identity=identity, weight=weight, claimant=BARS, is_patient=is_patient
            ) as sent:
                sent()
                self.times[identity] = self.clock.monotonic()

        task = asyncio.create_task(work())
        self.tasks.append(task)
        return task

    async def run(self, seconds: float, step: float = 0.5) -> None:
        for _ in range(int(seconds / step)):
            await settle()
            await self.clock.advance(step)
        await settle()


async def until_done(desk: Desk, seconds: float, step: float = 0.5) -> None:
    """Let time pass; with a record the disk answers in its own time."""
    for _ in range(int(seconds / step)):
        if all(task.done() for task in desk.tasks):
            return
        for _ in range(3):
            await asyncio.to_thread(lambda: None)
        await desk.clock.advance(step)


async def test_identical_requests_keep_15_seconds_and_hold_up_nobody_else() -> None:
    desk = Desk()
    desk.ask("a")
    await settle()
    second = desk.ask("a")
    desk.ask("b")
    await desk.run(1)
    assert "b" in desk.times
    assert not second.done()
    await desk.run(16)
    assert second.done()
    assert desk.times["a"] >= 15


async def test_one_series_gets_five_requests_in_two_seconds() -> None:
    desk = Desk()
    for number in range(6):
        desk.ask(f"{number}", "SPY")
    await desk.run(3)
    assert desk.times["4"] == 0
    assert desk.times["5"] >= 2


async def test_a_request_counts_from_its_answer_for_it_may_be_read_as_late_as_that() -> None:
    desk = Desk()
    answered = asyncio.Event()

    async def slow(identity: str) -> None:
        async with desk.limiter.request(series="SPY", identity=identity, weight=1, claimant=BARS) as sent:
            sent()
            await answered.wait()

    desk.tasks += [asyncio.create_task(slow(f"slow {number}")) for number in range(5)]
    await settle()
    desk.ask("next", "SPY")
    await desk.run(10)
    assert "next" not in desk.times
    answered.set()
    await desk.run(5)
    assert 12 <= desk.times["next"] < 15


async def test_bid_ask_counts_twice_in_ten_minutes() -> None:
    desk = Desk()
    for number in range(31):
        desk.ask(f"{number}", weight=2)
    await desk.run(610)
    assert desk.times["29"] < 1
    assert desk.times["30"] >= 600


async def test_light_requests_do_not_starve_a_heavy_one() -> None:
    desk = Desk()
    for number in range(59):
        desk.ask(f"{number}")
    await settle()
    heavy = desk.ask("heavy", weight=2)
    await settle()
    desk.ask("light")
    await desk.run(10)
    assert not heavy.done()
    assert "light" not in desk.times
    await desk.run(600)
    assert desk.times["heavy"] <= desk.times["light"]


async def test_who_is_not_patient_is_told_when_to_come_back() -> None:
    desk = Desk()
    for number in range(60):
        desk.ask(f"{number}")
    await settle()
    await desk.clock.advance(100)
    refused = desk.ask("late", is_patient=False)
    await settle()
    with pytest.raises(GatewayError) as caught:
        await refused
    assert caught.value.category is ErrorCategory.PACING
    assert caught.value.retry_seconds == pytest.approx(500, abs=1)


async def test_what_was_asked_counts_after_a_restart(tmp_path: Path) -> None:
    record = PacingRecord(tmp_path / "record.jsonl", is_new_lake=True)
    first = Desk(record)
    for number in range(60):
        first.ask(f"{number}")
    await until_done(first, 60, step=0.01)
    async with asyncio.timeout(60):
        await asyncio.gather(*first.tasks)
    await first.limiter.close()
    await first.clock.advance(300)
    second = Desk(PacingRecord(record.path), clock=first.clock)
    late = second.ask("late")
    await until_done(second, 200)
    assert not late.done()
    await until_done(second, 120)
    async with asyncio.timeout(60):
        await late  # admitted; the disk may still be at work
    assert second.times["late"] >= 600


async def test_a_worker_killed_between_record_and_sending_counts_as_having_sent(tmp_path: Path) -> None:
    record = PacingRecord(tmp_path / "record.jsonl", is_new_lake=True)
    desk = Desk(record)
    entered = asyncio.Event()

    async def die_before_sending() -> None:
        async with desk.limiter.request(series="s", identity="i", weight=1, claimant=BARS):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(die_before_sending())
    async with asyncio.timeout(60):
        await entered.wait()
    known = record.load(START, window=desk.limiter.window)
    assert known is not None
    assert [(one.identity, one.is_sent) for one in known] == [("i", False)]
    task.cancel()


@pytest.mark.parametrize("damage", ["absent", "garbage", "half a line"])
async def test_without_a_readable_record_the_windows_count_as_full(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "record.jsonl"
    if damage == "garbage":
        path.write_bytes(b"\xff\xfe nothing\n")
    elif damage == "half a line":
        path.write_text('{"number": 1, "at": "2026-\n')
    desk = Desk(PacingRecord(path))
    task = desk.ask("first", is_patient=False)
    with pytest.raises(GatewayError) as caught:
        await task
    assert caught.value.retry_seconds == pytest.approx(600, abs=1)


async def test_a_lake_that_nobody_has_fed_begins_with_empty_windows(tmp_path: Path) -> None:
    desk = Desk(PacingRecord(tmp_path / "record.jsonl", is_new_lake=True))
    await desk.ask("first", is_patient=False)
    assert desk.limiter.in_window() == 1
