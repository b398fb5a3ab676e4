"""The readers on real tables: chains, histories, bars and their revisions, past moments."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from v6.data.delta import append
from v6.data.derived_statistics import DerivedStatisticsTable
from v6.data.futures_snapshots import FuturesSnapshotsTable
from v6.data.lake import Lake
from v6.data.market_bars import MarketBarsTable
from v6.data.option_snapshots import OPTION_SNAPSHOTS, OptionSnapshotsTable
from v6.data.position_updates import PositionUpdatesTable
from v6.data.table import Table

NOON = datetime(2026, 11, 23, 17, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
JANUARY, FEBRUARY = date(2027, 1, 15), date(2027, 2, 19)


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, infer_schema_length=None)


def common(at: datetime, **values: Any) -> dict[str, Any]:
    return {
        "timestamp": at,
        "symbol": "SPY",
        "con_id": 1,
        "request_id": "r1",
        "known_at": at,
        "date": at.date(),
        **values,
    }


def option(cycle: str, con_id: int, at: datetime = NOON, **values: Any) -> dict[str, Any]:
    contract = {"con_id": con_id, "expiry": JANUARY, "strike": 600.0 + con_id, "right": "C"}
    origin = {"market_data_type_requested": "live", "cycle": cycle, "cycle_contracts": 2}
    return common(at, **{**contract, **origin, **values})


def future(con_id: int, at: datetime = NOON, **values: Any) -> dict[str, Any]:
    origin = {"market_data_type_requested": "live", "cycle": "c", "symbol": "ES", "is_front_month": con_id == 1}
    return common(at, **{"con_id": con_id, "expiry": JANUARY + 30 * con_id * timedelta(days=1), **origin, **values})


def bar(minutes: int, close: float = 100.0, **values: Any) -> dict[str, Any]:
    key = {"sec_type": "STK", "bar_size": "5 mins", "what_to_show": "TRADES", "regular_hours": True}
    prices = {"open": 99.0, "high": 101.0, "low": 98.0, "close": close, "volume": 10.0, "wap": None, "is_final": True}
    return common(NOON + minutes * MINUTE, **{"known_at": NOON, **key, **prices, **values})


def holding(request: str, symbol: str, at: datetime, quantity: float = 1.0, scope: str | None = None) -> dict[str, Any]:
    what = {"account": "SIM1", "sec_type": "STK", "quantity": quantity, "average_cost": 5.0, "scope": scope}
    return common(at, **{"symbol": symbol, "request_id": request, **what})


# --- option chains


def test_the_latest_chain_is_the_cycle_that_began_last(tmp_path: Path) -> None:
    table = OptionSnapshotsTable(tmp_path)
    table.append(frame(option("old", 1), option("old", 2)))
    table.append(frame(option("new", 1, NOON + MINUTE)))
    table.append(frame(option("old", 3, NOON + 2 * MINUTE), option("other", 9, NOON + 3 * MINUTE, symbol="QQQ")))
    assert table.latest_chain("SPY").collect()["cycle"].to_list() == ["new"]
    assert table.latest_chain("QQQ").collect()["con_id"].to_list() == [9]
    assert table.latest_chain("IWM").collect().is_empty()


def test_the_latest_chain_of_an_expiry_and_of_a_past_moment(tmp_path: Path) -> None:
    table = OptionSnapshotsTable(tmp_path)
    table.append(frame(option("february", 1, expiry=FEBRUARY)))
    table.append(frame(option("january", 2, NOON + MINUTE)))
    assert table.latest_chain("SPY", expiry=FEBRUARY).collect()["cycle"].to_list() == ["february"]
    assert table.latest_chain("SPY", as_of=NOON).collect()["cycle"].to_list() == ["february"]
    assert table.latest_chain("SPY", as_of=NOON - MINUTE).collect().is_empty()


def test_the_newest_trading_date_wins_whatever_was_known_when(tmp_path: Path) -> None:
    table = OptionSnapshotsTable(tmp_path)
    table.append(frame(option("today", 1)))
    table.append(frame(option("replayed", 1, NOON - timedelta(days=9), known_at=NOON + MINUTE)))
    assert table.latest_chain("SPY").collect()["cycle"].to_list() == ["today"]


def test_a_chain_is_complete_when_every_planned_contract_is_there(tmp_path: Path) -> None:
    table = OptionSnapshotsTable(tmp_path)
    assert table.latest_complete_chain("SPY").collect().is_empty()
    table.append(frame(option("whole", 1), option("whole", 2)))
    table.append(frame(option("part", 1, NOON + MINUTE)))
    table.append(frame(option("unplanned", 1, NOON + 2 * MINUTE, cycle_contracts=None)))
    table.append(frame(*[option("twice", 1, NOON + 3 * MINUTE)] * 2))
    assert set(table.latest_complete_chain("SPY").collect()["cycle"]) == {"whole"}
    table.append(frame(option("part", 2, NOON + 4 * MINUTE)))
    assert table.latest_complete_chain("SPY").collect()["cycle"].to_list() == ["part", "part"]


def test_a_chain_that_lacks_more_than_the_share_is_not_complete(tmp_path: Path) -> None:
    table = OptionSnapshotsTable(tmp_path)
    table.append(frame(option("whole", 1), option("whole", 2)))
    table.append(
        frame(option("holes", 1, NOON + MINUTE, missing='{"iv": "none came"}'), option("holes", 2, NOON + MINUTE))
    )
    assert set(table.latest_complete_chain("SPY").collect()["cycle"]) == {"whole"}
    assert set(table.latest_complete_chain("SPY", missing_share=0.5).collect()["cycle"]) == {"holes"}


def test_history_of_one_contract_by_id_or_by_terms(tmp_path: Path) -> None:
    table = OptionSnapshotsTable(tmp_path)
    table.append(frame(option("b", 1, NOON + MINUTE), option("b", 2, NOON + MINUTE)))
    table.append(frame(option("a", 1), option("a", 2, right="P")))
    assert table.history(con_id=1).collect()["cycle"].to_list() == ["a", "b"]
    by_terms = table.history(symbol="SPY", expiry=JANUARY, strike=602.0, right="P").collect()
    assert by_terms["con_id"].to_list() == [2]
    assert table.history(con_id=1, start=NOON + MINUTE).collect()["cycle"].to_list() == ["b"]


def test_a_time_range_reads_only_its_days(tmp_path: Path) -> None:
    table = OptionSnapshotsTable(tmp_path)
    for days in range(0, 90, 30):
        at = NOON - timedelta(days=days)
        table.append(frame(option(f"{days}", 1, at)))
    inside = table.between(NOON - timedelta(days=31), NOON - timedelta(days=29))
    assert inside.collect()["cycle"].to_list() == ["30"]
    assert table.between(NOON, NOON).collect().is_empty()
    for folder in (tmp_path / "option_snapshots").glob("date=*"):
        if folder.name != "date=2026-10-24":
            for path in folder.glob("*.parquet"):
                path.write_bytes(bytes(path.stat().st_size))  # what is not read need not be readable
    assert inside.collect()["cycle"].to_list() == ["30"]


def test_last_cycles_say_of_each_symbol_what_was_planned_what_came_and_what_lacks(tmp_path: Path) -> None:
    table = OptionSnapshotsTable(tmp_path)
    assert table.last_cycles().is_empty()
    table.append(frame(option("old", 1, NOON - 1440 * MINUTE, symbol="IWM"), option("first", 1), option("first", 2)))
    table.append(frame(option("second", 1, NOON + MINUTE, missing='{"bid": "x"}'), option("q", 3, symbol="QQQ")))
    rows = table.last_cycles().select("symbol", "cycle", "planned", "contracts", "lacking").rows()
    assert rows == [("QQQ", "q", 2, 1, 0), ("SPY", "second", 2, 1, 1)]


def test_the_latest_chain_reads_only_the_newest_day(tmp_path: Path) -> None:
    table = OptionSnapshotsTable(tmp_path)
    table.append(frame(option("old", 1, NOON - timedelta(days=1))))
    table.append(frame(option("new", 1)))
    for path in (tmp_path / "option_snapshots" / "date=2026-11-22").glob("*.parquet"):
        path.write_bytes(bytes(path.stat().st_size))
    assert table.latest_chain("SPY").collect()["cycle"].to_list() == ["new"]


# --- futures


def test_futures_latest_has_one_row_a_month_and_history_the_rest(tmp_path: Path) -> None:
    table = FuturesSnapshotsTable(tmp_path)
    table.append(frame(future(1, last=1.0), future(2, last=2.0)))
    table.append(frame(future(1, NOON + MINUTE, last=3.0)))
    assert table.latest("ES").collect()["last"].to_list() == [3.0, 2.0]
    assert table.latest("ES", as_of=NOON).collect()["last"].to_list() == [1.0, 2.0]
    assert table.history(symbol="ES", front_month=True).collect()["last"].to_list() == [1.0, 3.0]


# --- bars


def test_an_unchanged_bar_is_not_stored_again(tmp_path: Path) -> None:
    table = MarketBarsTable(tmp_path)
    bars = frame(bar(0), bar(5), bar(10, trade_count=None))
    version = table.append(bars)
    assert table.prepare(bars.with_columns(known_at=pl.lit(NOON + MINUTE), request_id=pl.lit("r2"))).is_empty()
    assert table.append(bars) == version
    assert table.scan().collect().height == 3


def test_a_revised_bar_is_a_new_row_and_readers_see_the_last(tmp_path: Path) -> None:
    table = MarketBarsTable(tmp_path)
    table.append(frame(bar(0), bar(5)))
    table.append(frame(bar(0), bar(5, 101.0, known_at=NOON + MINUTE)))
    assert table.current(symbol="SPY").collect()["close"].to_list() == [100.0, 101.0]
    assert table.current(symbol="SPY", as_of=NOON).collect()["close"].to_list() == [100.0, 100.0]
    assert table.history(symbol="SPY").collect()["close"].to_list() == [100.0, 100.0, 101.0]
    back = frame(bar(5, 100.0, known_at=NOON + 2 * MINUTE))
    assert table.prepare(back).height == 1, "a bar that returns to an earlier value is a revision too"


def test_a_value_that_appears_is_a_revision(tmp_path: Path) -> None:
    table = MarketBarsTable(tmp_path)
    table.append(frame(bar(0)))
    assert table.prepare(frame(bar(0, wap=99.5))).height == 1


def test_an_unfinished_bar_is_followed_by_the_finished_one_and_never_follows_it(tmp_path: Path) -> None:
    table = MarketBarsTable(tmp_path)
    table.append(frame(bar(0, is_final=False)))
    assert table.current(final=True).collect().is_empty()
    table.append(frame(bar(0, known_at=NOON + MINUTE)))
    assert table.current(final=True).collect().height == 1
    late = frame(bar(0, 55.0, is_final=False, known_at=NOON + 2 * MINUTE))
    assert table.prepare(late).is_empty()
    assert table.current().collect()["is_final"].to_list() == [True]


def test_one_frame_with_a_bar_twice_keeps_one(tmp_path: Path) -> None:
    kept = MarketBarsTable(tmp_path).prepare(
        frame(bar(0, 1.0, is_final=False), bar(0, 2.0), bar(0, 3.0, is_final=False))
    )
    assert kept["close"].to_list() == [2.0]


@pytest.mark.parametrize(
    "other",
    [
        {"con_id": 2},
        {"sec_type": "CONTFUT"},
        {"bar_size": "1 day"},
        {"what_to_show": "MIDPOINT"},
        {"regular_hours": False},
        {"symbol": "BRK B", "con_id": 3},
    ],
    ids=str,
)
def test_bars_of_another_key_are_other_bars(tmp_path: Path, other: dict[str, Any]) -> None:
    table = MarketBarsTable(tmp_path)
    table.append(frame(bar(0)))
    table.append(frame(bar(0, **other)))
    assert table.current().collect().height == 2
    assert table.current(**other).collect().select(*other).rows() == [tuple(other.values())]


def test_bars_of_one_symbol_and_size_read_only_its_folder(tmp_path: Path) -> None:
    table = MarketBarsTable(tmp_path)
    table.append(frame(bar(0), bar(0, bar_size="1 day"), bar(0, symbol="BRK B", con_id=2)))
    bars = table.current(symbol="BRK B", bar_size="5 mins")
    for folder in (tmp_path / "market_bars" / "symbol=SPY").iterdir():
        for path in folder.glob("*.parquet"):
            path.write_bytes(bytes(path.stat().st_size))
    assert bars.collect()["con_id"].to_list() == [2]
    assert table.prepare(frame(bar(0, symbol="BRK B", con_id=2))).is_empty()


def test_the_last_row_of_each_of_many_bars(tmp_path: Path) -> None:
    table = MarketBarsTable(tmp_path)
    for revision in range(4):
        at = NOON + revision * MINUTE
        table.append(frame(*(bar(n, float(revision), known_at=at) for n in range(0, 3000, 1 + revision))))
    closes = table.current().collect(engine="streaming")["close"].to_list()
    assert closes == [float(max(r for r in range(4) if n % (1 + r) == 0)) for n in range(3000)]


# --- positions and statistics


def test_positions_are_those_of_the_last_update_of_all_with_later_ones_of_a_symbol(tmp_path: Path) -> None:
    table = PositionUpdatesTable(tmp_path)
    assert table.latest().collect().is_empty()
    table.append(frame(holding("one", "SPY", NOON), holding("one", "SOLD", NOON)))
    table.append(frame(holding("early", "QQQ", NOON + MINUTE, 7.0, "QQQ")))
    table.append(frame(holding("two", "SPY", NOON + 2 * MINUTE, 2.0), holding("two", "QQQ", NOON + 2 * MINUTE)))
    table.append(frame(holding("late", "SPY", NOON + 3 * MINUTE, 3.0, "SPY")))
    held = table.latest().collect()
    assert held.select("symbol", "quantity").rows() == [("QQQ", 1.0), ("SPY", 3.0)]
    assert table.latest(as_of=NOON).collect()["symbol"].to_list() == ["SOLD", "SPY"]
    assert table.history(symbol="SPY").collect()["quantity"].to_list() == [1.0, 2.0, 3.0]


def statistic(value: float | None, at: datetime = NOON, **values: Any) -> dict[str, Any]:
    row = common(at, statistic="realized_volatility", window_days=21, value=value, n_observations=21, quality="ok")
    del row["con_id"]
    return {**row, "date": NOON.date(), **values}


def test_the_last_known_value_of_a_statistic(tmp_path: Path) -> None:
    table = DerivedStatisticsTable(tmp_path)
    table.append(frame(statistic(0.2), statistic(0.1, window_days=None)))
    table.append(frame(statistic(0.3, NOON + MINUTE)))
    assert table.current(symbol="SPY").collect().select("window_days", "value").rows() == [(None, 0.1), (21, 0.3)]
    assert table.current(as_of=NOON).collect()["value"].to_list() == [0.1, 0.2]
    assert table.current(end=NOON.date()).collect().is_empty()


# --- all of them


def test_a_past_moment_shows_what_was_known_then(tmp_path: Path) -> None:
    table = OptionSnapshotsTable(tmp_path)
    table.append(frame(option("a", 1), option("b", 1, known_at=NOON + MINUTE)))
    assert table.as_of(NOON).collect()["cycle"].to_list() == ["a"]
    assert table.as_of(NOON - MINUTE).collect().is_empty()


@pytest.mark.parametrize(
    "rows",
    [
        lambda lake: OptionSnapshotsTable(lake).latest_chain("SPY"),
        lambda lake: OptionSnapshotsTable(lake).history(con_id=1),
        lambda lake: FuturesSnapshotsTable(lake).latest("ES"),
        lambda lake: MarketBarsTable(lake).current(symbol="SPY"),
        lambda lake: PositionUpdatesTable(lake).latest(),
        lambda lake: DerivedStatisticsTable(lake).current(),
        lambda lake: OptionSnapshotsTable(lake).between(NOON, NOON + MINUTE),
    ],
)
def test_readers_of_an_absent_table_give_an_empty_frame_and_create_nothing(tmp_path: Path, rows: Any) -> None:
    read = rows(tmp_path / "lake").collect()
    assert read.is_empty()
    assert "known_at" in read.columns
    assert not (tmp_path / "lake").exists()


def test_filters_put_on_afterwards_reach_the_files(tmp_path: Path) -> None:
    table: Table = OptionSnapshotsTable(tmp_path)
    table.append(frame(option("a", 1)))
    plan = table.scan().filter(pl.col("strike") > 600).select("strike", "bid").explain()
    assert "SELECTION" in plan
    assert "FILTER" not in plan
    assert "PROJECT 2/" in plan


def test_readers_give_null_for_a_column_that_no_writer_has_added_yet(tmp_path: Path) -> None:
    new = OPTION_SNAPSHOTS
    older = replace(new, columns=tuple(column for column in new.columns if column.name != "is_adjusted"))
    append(Lake(tmp_path).ensure(older), older.conform(frame(option("c", 1), option("c", 2))))
    table = OptionSnapshotsTable(tmp_path)
    for rows in (table.latest_chain("SPY"), table.latest_complete_chain("SPY", missing_share=1.0), table.history()):
        assert rows.collect().select("con_id", "is_adjusted").rows() == [(1, None), (2, None)]
    assert table.last_cycles()["contracts"].to_list() == [2]
