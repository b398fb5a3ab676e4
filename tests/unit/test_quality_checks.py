"""Each check finds what is wrong and leaves alone what is right."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from v6.data.coverage import COVERAGE
from v6.data.futures_snapshots import FUTURES_SNAPSHOTS
from v6.data.market_bars import MARKET_BARS
from v6.data.option_snapshots import OPTION_SNAPSHOTS
from v6.quality.check import Check
from v6.quality.examine import CHECKS

NOON = datetime(2026, 11, 24, 17, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ROOT = Path(__file__).parents[2]
SCHEMAS = {spec.name: spec.schema for spec in (OPTION_SNAPSHOTS, FUTURES_SNAPSHOTS, MARKET_BARS, COVERAGE)}


def check(table: str, name: str) -> Check:
    [found] = [one for one in CHECKS if one.table == table and one.name == name]
    return found


def found(table: str, name: str, rows: Sequence[dict[str, Any]]) -> list[int | None]:
    """The contracts that a check doubts, in the order of the rows."""
    schema = pl.Schema({**SCHEMAS[table], **({"day": pl.Boolean()} if table == MARKET_BARS.name else {})})
    doubts = check(table, name).find(pl.DataFrame(rows, schema=schema))
    assert doubts["detail"].null_count() == 0
    return doubts.sort("timestamp", "con_id")["con_id"].to_list()


def quote(con_id: int = 1, minutes: float = 0, **values: Any) -> dict[str, Any]:
    at = NOON + minutes * MINUTE
    usual = {
        "timestamp": at, "symbol": "SPY", "con_id": con_id, "expiry": date(2027, 1, 15), "strike": 270.0, "right": "C",
        "bid": 9.9, "ask": 10.1, "bid_size": 5.0, "ask_size": 7.0, "last": 10.0, "volume": 100.0, "low": 9.0,
        "high": 11.0, "iv": 0.2, "delta": 0.5, "gamma": 0.02, "vega": 0.3, "theta": -0.1, "underlying_price": 270.0,
        "cycle": f"c{minutes:g}", "request_id": "r", "known_at": at, "date": at.date(), "trading_class": "SPY",
    }  # fmt: skip
    return {**usual, **values}


def future(con_id: int = 1, minutes: float = 0, mid: float = 2700.0, **values: Any) -> dict[str, Any]:
    row = {**quote(con_id, minutes), "bid": mid - 0.25, "ask": mid + 0.25, "last": mid, "low": 1.0, "high": 9e9}
    return {name: value for name, value in {**row, **values}.items() if name in FUTURES_SNAPSHOTS.schema}


def bar(minutes: int, close: float = 100.0, **values: Any) -> dict[str, Any]:
    at = NOON + minutes * 5 * MINUTE
    usual = {
        "timestamp": at, "symbol": "SPY", "con_id": 1, "sec_type": "STK", "bar_size": "5 mins",
        "what_to_show": "TRADES", "regular_hours": True,
        "open": close, "high": close + 0.1, "low": close - 0.1, "close": close, "volume": 10.0,
        "is_final": True, "request_id": "r", "known_at": at, "date": at.date(), "day": True,
    }  # fmt: skip
    return {**usual, **values}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("crossed", {"bid": 10.2}),
        ("no_bid", {"bid": None}),
        ("no_bid", {"bid": 0.0}),
        ("last_outside_range", {"last": 11.5}),
        ("greeks_out_of_range", {"iv": 11.0}),
        ("greeks_out_of_range", {"delta": -0.5}),
        ("greeks_out_of_range", {"vega": -0.1}),
    ],
)
def test_one_option_row_that_is_wrong(name: str, wrong: dict[str, Any]) -> None:
    assert found(OPTION_SNAPSHOTS.name, name, [quote(1), quote(2, **wrong)]) == [2]


def test_a_locked_quote_and_missing_sides_are_not_crossed() -> None:
    rows = [quote(1, bid=10.1), quote(2, bid=None), quote(3, ask=None), quote(4, bid=None, ask=None)]
    assert found(OPTION_SNAPSHOTS.name, "crossed", rows) == []
    assert found(OPTION_SNAPSHOTS.name, "no_bid", rows) == [2]


def test_an_option_that_jumps_is_a_spike_and_one_that_follows_its_underlying_is_none() -> None:
    calm = [quote(1, minute) for minute in range(6)]
    jump = quote(1, 6, bid=19.9, ask=20.1)
    follows = quote(1, 7, bid=14.9, ask=15.1, underlying_price=280.0)
    doubts = check(OPTION_SNAPSHOTS.name, "spike").find(
        pl.DataFrame([*calm, jump, follows], schema=OPTION_SNAPSHOTS.schema)
    )
    assert doubts["timestamp"].to_list() == [jump["timestamp"]]
    assert doubts["value"].to_list() == [pytest.approx(10.0)]
    assert found(OPTION_SNAPSHOTS.name, "spike", [*calm[:3], jump]) == []  # too few to judge


def pairs(off: float) -> list[dict[str, Any]]:
    rows = []
    for number, strike in enumerate(range(255, 290, 5)):
        call = max(0.0, 270.0 - strike) + 5 + (off if strike == 265 else 0)
        put = max(0.0, strike - 270.0) + 5
        for right, mid, con_id in (("C", call, number), ("P", put, 100 + number)):
            rows.append(quote(con_id, strike=float(strike), right=right, bid=mid - 0.05, ask=mid + 0.05))
    return rows


def test_a_pair_off_the_line_of_its_expiry_breaks_parity() -> None:
    assert found(OPTION_SNAPSHOTS.name, "parity", pairs(0.0)) == []
    assert found(OPTION_SNAPSHOTS.name, "parity", pairs(1.5)) == [2, 102]


def test_a_quote_that_stands_still_while_the_underlying_moves_is_stale() -> None:
    rows = [quote(1, minute, underlying_price=270.0 + minute) for minute in range(6)]
    assert found(OPTION_SNAPSHOTS.name, "stale", rows) == [1, 1, 1]
    assert found(OPTION_SNAPSHOTS.name, "stale", [{**row, "underlying_price": 270.0} for row in rows]) == []
    assert found(OPTION_SNAPSHOTS.name, "stale", [{**row, "volume": 1.0 * n} for n, row in enumerate(rows)]) == []
    assert found(OPTION_SNAPSHOTS.name, "stale", [{**row, "delta": 0.01} for row in rows]) == []


def test_a_month_that_stands_still_while_the_other_months_move_is_stale() -> None:
    still = [future(1, minute) for minute in range(6)]
    moving = [future(2, minute, 2710.0 + 5 * minute) for minute in range(6)]
    assert found(FUTURES_SNAPSHOTS.name, "stale", [*still, *moving]) == [1, 1, 1]
    assert found(FUTURES_SNAPSHOTS.name, "stale", still) == []
    assert found(FUTURES_SNAPSHOTS.name, "stale", [*still, *(future(2, minute) for minute in range(6))]) == []
    far = [future(3, minute, 2800.0) for minute in (0, 1)]  # that a month is lacking is no move
    assert found(FUTURES_SNAPSHOTS.name, "stale", [*still, *far, *(future(2, m, 2710.0) for m in range(6))]) == []


def test_the_second_row_of_a_contract_in_a_cycle_is_a_duplicate() -> None:
    again = quote(2, known_at=NOON + MINUTE, request_id="r2")
    assert found(OPTION_SNAPSHOTS.name, "duplicate", [quote(1), quote(2), again]) == [2]


def test_a_future_that_leaves_and_returns_is_a_spike_and_a_move_is_none() -> None:
    rows = [future(1, n, mid) for n, mid in enumerate((2700.0, 2701.0, 2760.0, 2702.0, 2703.0))]
    assert found(FUTURES_SNAPSHOTS.name, "spike", rows) == [1]
    moved = [future(1, n, mid) for n, mid in enumerate((2700.0, 2701.0, 2760.0, 2761.0))]
    assert found(FUTURES_SNAPSHOTS.name, "spike", moved) == []
    assert found(FUTURES_SNAPSHOTS.name, "crossed", [future(1, bid=2701.0, ask=2700.0)]) == [1]


@pytest.mark.parametrize(
    "wrong", [{"low": 100.05}, {"high": 99.95}, {"open": -1.0, "low": -2.0}, {"volume": -1.0}, {"open": 101.0}]
)
def test_a_bar_that_cannot_be_is_found(wrong: dict[str, Any]) -> None:
    assert found(MARKET_BARS.name, "impossible", [bar(0), bar(1)]) == []
    assert found(MARKET_BARS.name, "impossible", [bar(0), bar(1, con_id=2, **wrong)]) == [2]


def test_a_bar_of_an_earlier_day_is_judged_in_its_own_report() -> None:
    assert found(MARKET_BARS.name, "impossible", [bar(0, low=200.0, day=False)]) == []


def test_a_wick_of_many_ranges_is_a_spike_and_a_gap_between_closes_is_none() -> None:
    bars = [bar(n) for n in range(30)]
    assert found(MARKET_BARS.name, "spike", [*bars[:15], bar(15, con_id=1, low=90.0), *bars[16:]]) == [1]
    assert found(MARKET_BARS.name, "spike", [bar(n, 100.0 if n < 15 else 110.0) for n in range(30)]) == []
    assert found(MARKET_BARS.name, "spike", [bar(0), bar(1, low=90.0), bar(2)]) == []  # too few to judge


def test_a_bar_without_volume_among_bars_with_it() -> None:
    assert found(MARKET_BARS.name, "no_volume", [bar(0), bar(1), bar(2, volume=0.0)]) == [1]
    assert found(MARKET_BARS.name, "no_volume", [bar(n, volume=None) for n in range(3)]) == []


def test_a_bar_written_again_unchanged_is_a_duplicate_and_a_revision_is_none() -> None:
    later: dict[str, Any] = {"known_at": NOON + timedelta(days=1), "request_id": "r2"}
    assert found(MARKET_BARS.name, "duplicate", [bar(0), bar(0, **later)]) == [1]
    assert found(MARKET_BARS.name, "duplicate", [bar(0), bar(0, 100.5, **later)]) == []


def test_what_was_expected_and_is_not_there_is_a_gap() -> None:
    row = {
        "request_type": "market_bars", "symbol": "SPY", "series": "5 mins", "timestamp": NOON,
        "interval_end": NOON + MINUTE, "known_at": NOON, "date": NOON.date(),
    }  # fmt: skip
    states = ("expected", "fetched", "empty", "failed", "never_asked", "lost")
    rows = pl.DataFrame([{**row, "state": state, "reason": "why"} for state in states], schema=COVERAGE.schema)
    doubts = check(COVERAGE.name, "gap").find(rows)
    assert sorted(text.partition(":")[0] for text in doubts["detail"]) == ["expected", "failed", "lost", "never_asked"]
    assert set(doubts["value"]) == {60.0}


def test_every_check_stands_in_the_docs_as_it_is() -> None:
    page = (ROOT / "docs" / "quality.md").read_text(encoding="utf-8")
    for one in CHECKS:
        assert f"| `{one.table}` | `{one.name}` | {one.action} | {one.description} |" in page
    assert page.count("\n| `") == len(CHECKS)
