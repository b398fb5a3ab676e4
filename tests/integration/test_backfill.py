"""Holes of the ledger are asked for in few requests, and fill; the map and the commands tell what is there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from v6.cli import run
from v6.clock import ManualClock
from v6.data.coverage import CoverageRow, CoverageState, CoverageTable
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.market_bars import MarketBarsTable
from v6.data.outcome import Done, FailedBecause
from v6.errors import ErrorCategory
from v6.events import EventBus
from v6.request_types.catalogue import Catalogue
from v6.scheduler.backfill import ask, plan_backfill
from v6.scheduler.config_file import ConfigFile
from v6.scheduler.cron import Cron
from v6.scheduler.heat_map import strips_of, undecided_rows
from v6.scheduler.ledger import Ledger
from v6.scheduler.missing import missing_of
from v6.scheduler.nightly_backfill import NightlyBackfill
from v6.scheduler.schedule_file import load_schedules
from v6.scheduler.series import bar_parameters, bar_series, session_intervals
from v6.scheduler.trading_calendar import load_calendar

CATALOGUE = Catalogue.load()
NOW = datetime(2026, 11, 28, tzinfo=UTC)
SCHEDULES = load_schedules(ConfigFile.read(None), CATALOGUE)

HOURLY = """
[[schedules]]
id = "hourly"
request_type = "market_bars"
symbols = ["SPY"]
every_minutes = 60
parameters = { bar_size = "1 hour" }
"""


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[IBRequestQueue]:
    clock = ManualClock(NOW)
    found = IBRequestQueue(tmp_path / "lake", clock=clock, source="test", check=CATALOGUE.check)
    yield found
    await found.close()


def clock_of(queue: IBRequestQueue) -> ManualClock:
    clock = queue._clock
    assert isinstance(clock, ManualClock)
    return clock


def ledger_of(queue: IBRequestQueue) -> Ledger:
    return Ledger(queue.lake, clock_of(queue), history_types=["market_bars"])


def holes(
    start: str, end: str, symbol: str = "SPY", schedule_id: str | None = "five-minute-bars", **parameters: object
) -> list[CoverageRow]:
    series = bar_series({"bar_size": "5 mins", **parameters})
    calendar = load_calendar("XNYS")
    first, last = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (start, end))
    intervals = session_intervals("market_bars", symbol, series, calendar=calendar, start=first, end=last)
    return [CoverageRow(interval=i, state=CoverageState.NEVER_ASKED, schedule_id=schedule_id) for i in intervals]


def test_a_series_of_bars_says_what_asks_for_it() -> None:
    for parameters in (
        {"bar_size": "5 mins"},
        {"bar_size": "1 day", "what_to_show": "MIDPOINT", "regular_hours": False},
        {"bar_size": "1 hour", "sec_type": "FUT", "month": "202612", "regular_hours": False},
    ):
        found = bar_parameters(bar_series(parameters))
        assert found is not None
        assert parameters.items() <= found.items()
        CATALOGUE.parse("market_bars", found)


def test_neighbours_are_asked_together_up_to_a_page() -> None:
    fills = plan_backfill(holes("2026-11-02", "2026-11-28"), SCHEDULES, NOW)
    assert [len(fill.holes) for fill in fills] == [5, 5, 5, 4]
    assert fills[0].request.parameters == {
        "bar_size": "5 mins",
        "start": "2026-11-02T14:30:00+00:00",
        "end": "2026-11-06T21:00:00+00:00",
    }
    assert {fill.request.priority for fill in fills} == {3}
    daily = plan_backfill(holes("2026-01-02", "2026-11-28", schedule_id=None, bar_size="1 day"), SCHEDULES, NOW)
    assert len(daily) == 2


def test_the_plan_says_how_long_the_gateway_needs() -> None:
    day = "2026-11-23", "2026-11-24"
    small = plan_backfill(holes(*day, schedule_id=None, bar_size="5 secs"), SCHEDULES, NOW)
    quotes = plan_backfill(holes(*day, schedule_id=None, bar_size="5 secs", what_to_show="BID_ASK"), SCHEDULES, NOW)
    assert [fill.seconds for fill in small] == [70.0]  # six and a half hours are seven pages of an hour
    assert [fill.seconds for fill in quotes] == [140.0]


def test_what_is_not_over_is_left_for_its_schedule() -> None:
    assert not plan_backfill(holes("2026-11-27", "2026-11-28"), SCHEDULES, NOW - timedelta(hours=7))


async def test_holes_fill_and_what_was_empty_is_known_to_be(queue: IBRequestQueue) -> None:
    ledger = ledger_of(queue)
    ledger.table.record(holes("2026-11-23", "2026-11-28"))
    assert len(ledger.holes()) == 4
    await ask(plan_backfill(ledger.holes(), SCHEDULES, NOW), queue, ledger)
    assert not ledger.holes()
    (request,) = await queue.claim()
    await queue.settle({request.request_id: Done(result={"bars": 0})})
    ledger.settle(ledger.waiting(), (await queue.open_requests()).keys())
    assert set(ledger.table.current().collect()["state"]) == {"empty"}


def bar_at(start: datetime) -> pl.DataFrame:
    row = {
        "timestamp": start, "date": start.date(), "symbol": "SPY", "con_id": 1, "sec_type": "STK",
        "bar_size": "1 hour", "what_to_show": "TRADES", "regular_hours": True, "is_final": True,
        **dict.fromkeys(("open", "high", "low", "close"), 100.0), "request_id": "r", "known_at": NOW,
    }  # fmt: skip
    return pl.DataFrame([row])


async def test_parts_of_a_session_are_filled_together_and_told_apart(queue: IBRequestQueue) -> None:
    (hourly,) = load_schedules(ConfigFile.parse(HOURLY, "v6.toml"), CATALOGUE)
    ledger, table = ledger_of(queue), MarketBarsTable(queue.lake)
    rows = missing_of(hourly, (date(2026, 11, 24), date(2026, 11, 24)), ledger.table, now=NOW)
    ledger.table.record(rows)
    await ask(plan_backfill(ledger.holes(), [hourly], NOW), queue, ledger)
    (request,) = await queue.claim()
    table.append(bar_at(rows[1].interval.timestamp))
    await queue.settle({request.request_id: Done(result={"bars": 1})})
    ledger.settle(ledger.waiting(), ())
    assert ledger.table.current().collect()["state"].to_list() == ["empty", "fetched", *["empty"] * 5]
    assert not plan_backfill(rows, [], NOW)  # its schedule is gone, and its name tells nobody what to ask


def test_what_is_asked_by_day_is_no_snapshot_and_is_filled_day_by_day(tmp_path: Path) -> None:
    (quality,) = [schedule for schedule in SCHEDULES if schedule.id == "quality"]
    days = date(2026, 11, 25), date(2026, 11, 27)  # between them Thanksgiving
    fills = plan_backfill(missing_of(quality, days, CoverageTable(tmp_path), now=NOW), SCHEDULES, NOW)
    assert [dict(fill.request.parameters) for fill in fills] == [{"day": "2026-11-25"}, {"day": "2026-11-27"}]
    (slot,) = quality.slots(NOW - timedelta(days=1), NOW)
    assert slot.request().parameters == {"day": "2026-11-27"}


async def test_bars_of_a_future_that_expired_two_years_ago_are_lost(queue: IBRequestQueue) -> None:
    months = [
        replace(*holes("2024-06-03", "2024-06-04", "ES", None, sec_type="FUT", month=month))
        for month in ("202409", "202412")
    ]
    ledger = ledger_of(queue)
    ledger.table.record(months)
    await ask(plan_backfill(ledger.holes(), [], NOW), queue, ledger)
    failed = FailedBecause(message="no such contract", category=ErrorCategory.CONTRACT)
    await queue.settle({request.request_id: failed for request in await queue.claim()})
    ledger.settle(ledger.waiting(), ())
    states = dict(ledger.table.current().select(pl.col("series").str.tail(6), "state").collect().iter_rows())
    assert states == {"202409": "lost", "202412": "failed"}


async def test_it_fills_holes_by_itself_and_gives_up_after_three_times(queue: IBRequestQueue) -> None:
    clock, ledger = clock_of(queue), ledger_of(queue)
    ledger.table.record(holes("2026-11-27", "2026-11-28"))
    nightly = NightlyBackfill(
        queue=queue,
        schedules=SCHEDULES,
        history_types=["market_bars"],
        lake=queue.lake,
        clock=clock,
        events=EventBus(),
        cron=Cron.parse("30 18 * * *"),
    )
    asked = 0
    for _ in range(5):
        await clock.advance(86_400)
        await nightly.look()
        failed = FailedBecause(message="no", category=ErrorCategory.CONTRACT)
        claimed = await queue.claim()
        asked += len(claimed)
        await queue.settle({request.request_id: failed for request in claimed})
        ledger.settle(ledger.waiting(), ())
    assert asked == 3


def test_the_map_counts_by_series_and_day(tmp_path: Path) -> None:
    table = CoverageTable(tmp_path)
    table.record(holes("2026-11-23", "2026-11-28"))
    (strip,) = strips_of(table.current().collect())
    assert [cell.day for cell in strip.cells] == [date(2026, 11, day) for day in (23, 24, 25, 27)]
    assert (strip.cells[0].share, strip.counts["never_asked"]) == (0.0, 4)


def test_what_nobody_has_looked_at_counts_as_never_asked() -> None:
    decided = {"option-chains": NOW - timedelta(hours=9)}
    rows = undecided_rows(SCHEDULES, decided, NOW)
    assert len(rows) == 3 * 35  # from 15:00 to 18:00 UTC, the half day's close, in three symbols
    assert {row.state for row in rows} == {CoverageState.NEVER_ASKED}


def test_a_schedule_is_filled_from_before_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    table = CoverageTable(tmp_path / "data" / "lake")
    table.record([replace(hole, state=CoverageState.FETCHED) for hole in holes("2026-11-24", "2026-11-25")])
    days = ["--clock", "2026-11-27T17:00:00Z", "--first", "2026-11-23", "--last", "2026-11-27"]
    backfill = ["schedule", "backfill", "five-minute-bars", *days]
    assert run([*backfill, "--symbol", "SPY", "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["asked"], plan["holes"]) == (False, 2)  # of the four days one is there, and one is not over
    assert run(backfill) == 0
    assert "3 requests for 8 holes asked" in capsys.readouterr().out
    assert run(backfill) == 0
    assert "there are no holes" in capsys.readouterr().out
    monthly = ["schedule", "backfill", "futures-five-minute-bars", *days, "--symbol", "ES", "--json"]
    assert run(monthly) == 0
    assert {row["series"] for row in json.loads(capsys.readouterr().out)["requests"]} == {
        "5 mins TRADES all hours FUT 202612",
        "5 mins TRADES all hours FUT 202703",
    }
    assert run(["schedule", "backfill", "option-chains", *days]) == 2
    assert "can never be had" in capsys.readouterr().err


def test_what_no_scheduler_has_looked_at_is_filled_too_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (row,) = holes("2026-11-23", "2026-11-24")
    CoverageTable(tmp_path / "data" / "lake").record(
        [replace(row, state=CoverageState.FETCHED, slot=datetime(2026, 11, 23, 21, 20, tzinfo=UTC))]
    )
    command = ["backfill", "--clock", "2026-11-26T12:00:00Z", "--json"]
    assert run(command) == 0
    assert json.loads(capsys.readouterr().out)["holes"] == 6  # Tuesday and Wednesday, in three symbols
    assert run(command) == 0
    assert json.loads(capsys.readouterr().out)["holes"] == 0
    assert run(["coverage", "--clock", "2026-11-26T12:00:00Z", "--symbol", "QQQ", "--json"]) == 0
    (strip,) = json.loads(capsys.readouterr().out)["series"]
    assert strip["days"] == {"2026-11-24": {"expected": 1}, "2026-11-25": {"expected": 1}}


def test_the_commands_show_draw_and_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    CoverageTable(tmp_path / "data" / "lake").record(holes("2026-11-23", "2026-11-28"))
    days = ["--clock", "2026-11-28T12:00:00Z"]
    assert run(["coverage", *days, "--picture", "map.png"]) == 0
    assert "market_bars 5 mins TRADES regular STK  SPY" in capsys.readouterr().out
    assert Path("map.png").read_bytes().startswith(b"\x89PNG")
    assert run(["backfill", *days, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["asked"], plan["holes"], len(plan["requests"])) == (False, 4, 1)
    assert run(["backfill", *days]) == 0
    assert "1 requests for 4 holes asked" in capsys.readouterr().out
    assert run(["backfill", *days]) == 0
    assert "there are no holes" in capsys.readouterr().out
    assert run(["coverage", *days, "--picture", "map.txt"]) == 2
    states = pl.read_delta("data/lake/coverage")["state"].to_list()
    assert states.count("expected") == 4
