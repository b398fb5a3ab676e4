"""A continuous future out of single months, on a real table."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from v6.data.continuous_futures import Adjustment, ContinuousFutures, RollRule, RollWhen
from v6.data.futures_snapshots import FUTURES_SNAPSHOTS, FuturesSnapshotsTable
from v6.data.lake import Lake
from v6.data.market_bars import MarketBarsTable
from v6.errors import RequestError

MARCH, JUNE, SEPTEMBER = date(2026, 3, 20), date(2026, 6, 19), date(2026, 9, 18)
CARRY = {MARCH: 1.00, JUNE: 1.01, SEPTEMBER: 1.02}
KNOWN = datetime(2026, 12, 1, tzinfo=UTC)
DAYS = [date(2026, 2, 2) + timedelta(days=n) for n in range(210)]
SESSIONS = [day for day in DAYS if day.weekday() < 5 and day <= date(2026, 8, 28)]


def volume(expiry: date, day: date) -> float:
    """The nearest month is the busiest until seven days before its end."""
    others = sorted(e for e in CARRY if e >= day)
    order = others[1:2] + others[:1] + others[2:] if day > others[0] - timedelta(days=7) else others
    return (1000.0, 100.0, 10.0)[order.index(expiry)]


def index(day: date) -> float:
    number = SESSIONS.index(day)
    return 5000.0 + 7.0 * number + 40.0 * ((number * 7919) % 13 - 6)


def bars() -> pl.DataFrame:
    rows = []
    for con_id, (expiry, carry) in enumerate(CARRY.items(), start=1):
        for day in SESSIONS:
            if not expiry - timedelta(days=180) <= day <= expiry:
                continue
            close = index(day) * carry
            rows.append(
                {
                    "timestamp": datetime.combine(day, time(), UTC), "symbol": "ES", "con_id": con_id,
                    "sec_type": "FUT", "bar_size": "1 day", "what_to_show": "TRADES", "regular_hours": True,
                    "open": close - 1, "high": close + 2, "low": close - 3, "close": close,
                    "volume": volume(expiry, day), "wap": close, "trade_count": 10, "is_final": True,
                    "expiry": expiry, "trading_class": "ES", "exchange": "CME", "currency": "USD",
                    "local_symbol": f"ES{con_id}", "request_id": "r", "known_at": KNOWN, "date": day,
                }
            )  # fmt: skip
    return pl.DataFrame(rows)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    MarketBarsTable(lake).append(bars())
    return lake


def rolls_on(lake: Lake, rule: str) -> list[date]:
    return [roll.rolled_on for roll in ContinuousFutures(lake).rolls("ES", RollRule.parse(rule))]


def test_volume_rolls_on_the_session_after_the_next_month_was_busier(lake: Lake) -> None:
    # The first sessions on which June and September are busier are Monday 16 March and Monday 15 June.
    assert rolls_on(lake, "volume/none") == [date(2026, 3, 17), date(2026, 6, 16)]


def test_days_roll_so_many_calendar_days_before_the_last_trading_day(lake: Lake) -> None:
    assert rolls_on(lake, "days:8/none") == [date(2026, 3, 12), date(2026, 6, 11)]
    assert rolls_on(lake, "days:6/none") == [date(2026, 3, 16), date(2026, 6, 15)]  # the 14th and 13th are Saturdays
    assert rolls_on(lake, "days:0/none") == [MARCH, JUNE]


def test_open_interest_rolls_by_the_snapshots_and_at_the_latest_after_the_last_day(lake: Lake) -> None:
    assert rolls_on(lake, "open_interest/none") == [date(2026, 3, 23), date(2026, 6, 22)]
    rows = [
        {"timestamp": datetime.combine(day, time(15), UTC), "symbol": "ES", "con_id": con_id, "expiry": expiry,
         "contract_month": f"{expiry:%Y%m}", "is_front_month": con_id == 1, "open_interest": interest,
         "market_data_type_requested": "live", "cycle": "c", "request_id": "r", "known_at": KNOWN, "date": day}
        for con_id, expiry, interest in ((1, MARCH, 500.0), (2, JUNE, 600.0))
        for day in (date(2026, 3, 5),)
    ]  # fmt: skip
    FuturesSnapshotsTable(lake).append(FUTURES_SNAPSHOTS.conform(_padded(rows)))
    assert rolls_on(lake, "open_interest/none") == [date(2026, 3, 6), date(2026, 6, 22)]


def _padded(rows: list[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema_overrides=dict(FUTURES_SNAPSHOTS.schema))


def test_ratio_adjusted_returns_are_the_months_own_across_every_roll(lake: Lake) -> None:
    rule = RollRule(when=RollWhen.VOLUME, adjustment=Adjustment.RATIO)
    series = ContinuousFutures(lake).bars("ES", rule).collect()
    months = bars().select("date", "con_id", own=pl.col("close"))
    previous = months.with_columns(pl.col("date").replace_strict(dict(pairwise(SESSIONS)), default=None))
    both = series.join(months, on=["date", "con_id"]).join(previous.rename({"own": "before"}), on=["date", "con_id"])
    returns = series.sort("date").select("date", adjusted=pl.col("close") / pl.col("close").shift(1) - 1)
    compared = (
        both.with_columns(own_return=pl.col("own") / pl.col("before") - 1)
        .join(returns, on="date")
        .drop_nulls("adjusted")
    )
    assert compared.height == len(SESSIONS) - 1
    assert compared.select((pl.col("adjusted") - pl.col("own_return")).abs().max()).item() < 1e-12
    newest = series.filter(pl.col("expiry") == SEPTEMBER)
    assert newest["factor"].unique().to_list() == [1.0]


def test_difference_adjusted_changes_are_the_months_own_across_every_roll(lake: Lake) -> None:
    series = ContinuousFutures(lake).bars("ES", RollRule.parse("volume/difference")).collect()
    for roll in ContinuousFutures(lake).rolls("ES", RollRule.parse("volume/difference")):
        at = series["date"].to_list().index(roll.rolled_on)
        closes = bars().filter(pl.col("con_id") == roll.to_con_id).sort("date")
        own = dict(zip(closes["date"], closes["close"], strict=True))
        change = series["close"][at] - series["close"][at - 1]
        assert change == pytest.approx(
            own[roll.rolled_on] - own[SESSIONS[SESSIONS.index(roll.rolled_on) - 1]], abs=1e-9
        )
        assert roll.priced_on == SESSIONS[SESSIONS.index(roll.rolled_on) - 1]
        assert roll.difference == pytest.approx(own[roll.priced_on] * (1 - 1 / 1.01), rel=2e-2)


def test_unadjusted_bars_are_the_months_as_they_are_stored(lake: Lake) -> None:
    series = ContinuousFutures(lake).bars("ES", RollRule.parse("volume/none")).collect()
    stored = bars().select("date", "con_id", own="close")
    assert series.height == len(SESSIONS)
    assert series.join(stored, on=["date", "con_id"]).filter(pl.col("close") != pl.col("own")).is_empty()


def test_months_without_a_common_session_cannot_be_adjusted(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "gap")
    split = date(2026, 3, 20)
    gap = bars().filter(
        ((pl.col("con_id") == 1) & (pl.col("date") <= split)) | ((pl.col("con_id") == 2) & (pl.col("date") > split))
    )
    MarketBarsTable(lake).append(gap)
    series = ContinuousFutures(lake)
    assert [roll.ratio for roll in series.rolls("ES", RollRule())] == [None]
    with pytest.raises(RequestError, match="no stored session has both months"):
        series.bars("ES", RollRule())
    assert series.bars("ES", RollRule.parse("volume/none")).collect().height == gap.height


def test_an_empty_lake_gives_an_empty_series(tmp_path: Path) -> None:
    series = ContinuousFutures(Lake(tmp_path / "none"))
    assert series.rolls("ES", RollRule()) == []
    assert series.bars("ES", RollRule()).collect().is_empty()


@pytest.mark.parametrize("text", ["", "volume/much", "days/ratio", "days:x/ratio", "volume:3/ratio", "weather"])
def test_a_rule_that_cannot_be_read_says_how_to_write_one(text: str) -> None:
    with pytest.raises(RequestError, match="write volume, open_interest or days:N"):
        RollRule.parse(text)


@pytest.mark.parametrize("text", ["volume/ratio", "open_interest/none", "days:8/difference"])
def test_a_rule_is_written_as_it_is_read(text: str) -> None:
    assert str(RollRule.parse(text)) == text
