"""The scheduler on a real lake: every due slot has exactly one request, and the ledger says what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from v6.clock import ManualClock
from v6.data.coverage import CoverageTable
from v6.data.ib_request import NewRequest
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.outcome import Done, FailedBecause
from v6.data.queue_controls import SCHEDULES, Action, QueueControlsTable
from v6.data.scheduler_state import SchedulerStateTable
from v6.errors import ErrorCategory, LakeError
from v6.events import Event, EventBus
from v6.request_types.catalogue import Catalogue
from v6.scheduler.config_file import ConfigFile
from v6.scheduler.schedule import Schedule
from v6.scheduler.schedule_file import load_schedules
from v6.scheduler.scheduler_events import IntervalsLost, SchedulerHeld, SlotsSkipped
from v6.scheduler.unified_scheduler import UnifiedScheduler

CATALOGUE = Catalogue.load()
START = datetime(2026, 11, 24, 14, 0, tzinfo=UTC)  # half an hour before New York opens
CHAINS = """
[[schedules]]
id = "chains"
request_type = "option_chain"
symbols = ["SPY"]
every_minutes = 30
"""
BARS = """
[[schedules]]
id = "bars"
request_type = "market_bars"
symbols = ["SPY"]
minutes_after_close = 5
parameters = { bar_size = "5 mins" }
"""


def schedules(text: str) -> list[Schedule]:
    return load_schedules(ConfigFile.parse(text, "v6.toml"), CATALOGUE)


class Bench:
    """A lake, a clock moved by hand, and as many schedulers as a test starts."""

    def __init__(self, lake: Path) -> None:
        self.clock = ManualClock(START)
        self._lake = lake
        self.queue = self._open_queue()
        self.events: list[Event] = []
        self.bus = EventBus()
        self.bus.subscribe(Event, self.events.append)

    def _open_queue(self) -> IBRequestQueue:
        return IBRequestQueue(self._lake, clock=self.clock, source="scheduler", check=CATALOGUE.check)

    async def reopen_queue(self) -> None:
        """As a new process does: nothing is known from memory."""
        await self.queue.close()
        self.queue = self._open_queue()

    async def scheduler(self, text: str, name: str = "scheduler") -> UnifiedScheduler:
        started = UnifiedScheduler(
            queue=self.queue,
            schedules=schedules(text),
            history_types=["market_bars"],
            lake=self.queue.lake,
            clock=self.clock,
            events=self.bus,
            name=name,
        )
        await started.begin()
        return started

    async def pass_by(self, minutes: float, *running: UnifiedScheduler) -> None:
        """Let the minutes pass, a tick every quarter of an hour."""
        left = minutes * 60.0
        while left > 0:
            step = min(left, 900.0)
            await self.clock.advance(step)
            left -= step
            for scheduler in running:
                await scheduler.tick()

    def keys(self) -> list[str]:
        """The idempotency keys of all requests."""
        return sorted(self.queue.requests().collect()["idempotency_key"].fill_null("none"))

    def ledger(self) -> pl.DataFrame:
        return CoverageTable(self.queue.lake).current().collect()

    def states(self) -> dict[str, int]:
        return dict(Counter(self.ledger()["state"]))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    found = Bench(tmp_path)
    yield found
    await found.queue.close()


def key(at: str, schedule: str = "chains") -> str:
    return f"slot/{schedule}/SPY/2026-11-24T{at}:00Z"


async def test_slots_become_requests_when_they_are_due_and_not_before(bench: Bench) -> None:
    scheduler = await bench.scheduler(CHAINS.replace("every", "overlap = 'queue'\nevery"))
    await bench.pass_by(29, scheduler)
    assert bench.keys() == []
    await bench.pass_by(32, scheduler)
    assert bench.keys() == [key("14:30"), key("15:00")]
    assert bench.states() == {"expected": 2}


async def test_two_schedulers_ask_each_slot_once(bench: Bench) -> None:
    text = CHAINS.replace("every", "overlap = 'queue'\nevery")
    one, two = await bench.scheduler(text, "one"), await bench.scheduler(text, "two")
    await bench.pass_by(100, one, two)
    assert bench.keys() == [key(at) for at in ("14:30", "15:00", "15:30")]
    assert bench.ledger().height == 3


@pytest.mark.parametrize(
    ("policy", "asked"),
    [("all", ["14:30", "15:00", "15:30", "16:00"]), ("last", ["14:30", "16:00"]), ("none", ["14:30"])],
)
async def test_what_was_due_while_it_was_down_follows_the_policy(bench: Bench, policy: str, asked: list[str]) -> None:
    text = CHAINS.replace("every", f"overlap = 'queue'\ncatch_up = '{policy}'\nevery")
    await bench.pass_by(31, await bench.scheduler(text))
    await bench.clock.advance(94 * 60)  # down until 16:05
    restarted = await bench.scheduler(text)
    await bench.pass_by(1, restarted)
    assert bench.keys() == [key(at) for at in asked]
    assert bench.ledger().height == 4
    assert bench.states().get("lost", 0) == 4 - len(asked)


async def test_a_restart_between_insert_and_ledger_asks_nothing_twice(bench: Bench) -> None:
    text = CHAINS.replace("every", "catch_up = 'none'\nevery")
    await bench.scheduler(text)
    slot = schedules(text)[0].slots(START, START + timedelta(minutes=31))[0]
    await bench.queue.insert_many([slot.request()])  # it died before it wrote the ledger
    await bench.clock.advance(45 * 60)
    await bench.pass_by(1, await bench.scheduler(text))
    assert bench.keys() == [key("14:30")]
    assert bench.states() == {"expected": 1}


async def test_a_stepped_clock_neither_skips_nor_doubles(bench: Bench) -> None:
    text = CHAINS.replace("every", "overlap = 'queue'\ncatch_up = 'all'\nevery")
    scheduler = await bench.scheduler(text)
    await bench.pass_by(31, scheduler)
    bench.clock.step(-timedelta(hours=1))
    await bench.pass_by(61, scheduler)
    assert bench.keys() == [key("14:30")]
    bench.clock.step(timedelta(hours=1))
    await bench.pass_by(1, scheduler)
    assert bench.keys() == [key(at) for at in ("14:30", "15:00", "15:30")]


async def test_a_clock_that_was_ahead_loses_no_slot(bench: Bench) -> None:
    text = CHAINS.replace("every", "overlap = 'queue'\ncatch_up = 'none'\nevery")
    scheduler = await bench.scheduler(text)
    await bench.pass_by(31, scheduler)
    bench.clock.step(timedelta(hours=2))
    await bench.pass_by(1, scheduler)  # it is 16:32 there: three slots are late, and not asked
    assert bench.keys() == [key("14:30")]
    bench.clock.step(-timedelta(hours=2))
    restarted = await bench.scheduler(text, "restarted")
    for minutes in (28.5, 30):  # ticks come within half a minute of the slots
        await bench.pass_by(minutes, scheduler, restarted)
    assert bench.keys() == [key(at) for at in ("14:30", "15:00", "15:30")]
    await bench.pass_by(60, scheduler)
    assert bench.keys() == [key(at) for at in ("14:30", "15:00", "15:30", "16:00", "16:30")]
    assert bench.states() == {"expected": 5}


async def test_overlap_skips_while_the_last_one_is_unfinished(bench: Bench) -> None:
    scheduler = await bench.scheduler(CHAINS)
    await bench.pass_by(62, scheduler)
    assert bench.keys() == [key("14:30")]
    (request,) = await bench.queue.claim()
    await bench.queue.settle({request.request_id: Done(result={"rows": 7})})
    await bench.pass_by(30, scheduler)
    assert bench.keys() == [key("14:30"), key("15:30")]
    assert bench.states() == {"fetched": 1, "lost": 1, "expected": 1}
    assert [e.reason for e in bench.events if isinstance(e, SlotsSkipped)] == ["overlap"]


async def test_a_pause_is_kept_and_not_made_up_for(bench: Bench) -> None:
    controls = QueueControlsTable(bench.queue.lake, clock=bench.clock)
    text = CHAINS.replace("every", "overlap = 'queue'\ncatch_up = 'all'\nevery")
    scheduler = await bench.scheduler(text)
    controls.record("schedule:chains", Action.PAUSE, source="test", reason="repairs")
    await bench.pass_by(62, scheduler)
    controls.record("schedule:chains", Action.RESUME, source="test")
    await bench.pass_by(30, await bench.scheduler(text))
    assert bench.keys() == [key("15:30")]
    assert set(bench.ledger()["reason"].drop_nulls()) == {"paused: repairs; it can never be had again"}
    controls.record(SCHEDULES, Action.PAUSE, source="test")
    await bench.pass_by(30, scheduler)
    assert bench.keys() == [key("15:30")]


async def test_failed_quotes_are_lost_once_and_failed_bars_are_a_hole(bench: Bench) -> None:
    scheduler = await bench.scheduler(CHAINS.replace("every_minutes = 30", "minutes_after_close = 5") + BARS)
    await bench.clock.advance(8 * 3600)
    await bench.pass_by(1, scheduler)
    claimed = await bench.queue.claim()
    assert len(claimed) == 2
    failed = FailedBecause(message="no such contract", category=ErrorCategory.CONTRACT)
    await bench.queue.settle({request.request_id: failed for request in claimed})
    await bench.pass_by(3, scheduler)
    assert bench.states() == {"lost": 1, "failed": 1}
    await bench.pass_by(3, await bench.scheduler(CHAINS + BARS))
    assert len([e for e in bench.events if isinstance(e, IntervalsLost)]) == 1


async def test_a_schedule_begins_when_it_is_first_seen(bench: Bench) -> None:
    await bench.clock.advance(3 * 3600)
    scheduler = await bench.scheduler(CHAINS.replace("every", "catch_up = 'all'\nevery"))
    await bench.pass_by(1, scheduler)
    assert bench.keys() == []
    await bench.clock.advance(3600)  # it ended before its first slot, and remembers that it was there
    await bench.pass_by(1, await bench.scheduler(CHAINS.replace("every", "catch_up = 'all'\nevery")))
    assert bench.keys() == [key("17:30"), key("18:00")]


async def test_an_empty_answer_is_confirmed_empty(bench: Bench) -> None:
    scheduler = await bench.scheduler(BARS)
    await bench.clock.advance(8 * 3600)
    await bench.pass_by(1, scheduler)
    (request,) = await bench.queue.claim()
    await bench.queue.settle({request.request_id: Done(result={"rows": 0, "bars": 0})})
    await bench.pass_by(3, scheduler)
    assert bench.states() == {"empty": 1}


async def test_others_requests_are_left_alone(bench: Bench) -> None:
    await bench.queue.insert_many([NewRequest(request_type="option_chain", symbol="SPY")])
    await bench.pass_by(31, await bench.scheduler(CHAINS))
    assert bench.keys() == ["none", key("14:30")]


async def test_what_to_do_about_a_torn_commit_is_said_once(bench: Bench) -> None:
    await bench.pass_by(31, await bench.scheduler(CHAINS))
    newest = max((Path(bench.queue.lake.url) / "schedule_log" / "_delta_log").glob("*.json"))
    newest.write_bytes(newest.read_bytes()[:70])
    with pytest.raises(LakeError, match=str(newest)) as refused:
        await bench.scheduler(CHAINS)
    assert str(refused.value).count("run `v6 doctor --tables`") == 1


async def test_a_damaged_queue_holds_it_until_it_is_repaired(bench: Bench) -> None:
    text = CHAINS.replace("every", "overlap = 'queue'\ncatch_up = 'all'\nevery")
    await bench.pass_by(31, await bench.scheduler(text))
    await bench.reopen_queue()
    scheduler = await bench.scheduler(text)
    file = next((Path(bench.queue.lake.url) / "ib_requests").rglob("*.parquet"))
    whole = file.read_bytes()
    file.write_bytes(whole[:60])
    with pytest.raises(LakeError, match=r"ib_requests has a file of 60 bytes .* run `v6 doctor --tables`"):
        await bench.scheduler(text)
    await bench.clock.advance(1800)
    for _ in range(2):
        await scheduler.guarded_tick()
    held = [event.message for event in bench.events if isinstance(event, SchedulerHeld)]
    assert [("ib_requests" in message, "\n" in message) for message in held] == [(True, False)]
    file.write_bytes(whole)
    await scheduler.guarded_tick()
    assert bench.keys() == [key("14:30"), key("15:00")]


async def test_it_says_that_it_lives(bench: Bench) -> None:
    await bench.pass_by(1, await bench.scheduler(CHAINS))
    (state,) = SchedulerStateTable(bench.queue.lake).latest().collect().to_dicts()
    assert (state["state"], state["schedules"], state["next_slot"]) == ("running", 1, START + timedelta(minutes=30))
