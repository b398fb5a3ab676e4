"""Paging of bars: nights, holidays and holes end nothing; what is older than the first bar does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from v6.clock import ManualClock
from v6.request_types.bar_pages import Duration, bar_length
from v6.request_types.bar_reader import BarReader
from v6.request_types.base import Bar, Contract, ContractDetails, Job
from v6.request_types.market_bars import MarketBars, MarketBarsParameters
from v6.request_types.trading_date import TradingHours

NEW_YORK = ZoneInfo("America/New_York")
HOURS = "20261123:0930-20261123:1600;20261124:0930-20261124:1600;20261126:CLOSED;20261127:0930-20261127:1300"


@dataclass
class Exchange:
    """A gateway that serves bars of the given days, from open to close, as IB does: the last ones up to the end."""

    days: Sequence[date]
    now: datetime
    closes: dict[date, time] = field(default_factory=dict)
    asked: list[tuple[datetime | None, str, str]] = field(default_factory=list)

    def starts(self, length: timedelta) -> list[datetime]:
        found = []
        for day in self.days:
            at = datetime.combine(day, time(9, 30), NEW_YORK)
            while at < datetime.combine(day, self.closes.get(day, time(16)), NEW_YORK):
                found.append(at.astimezone(UTC))
                at += length
        return found

    async def historical_bars(
        self, contract: Contract, *, end: datetime | None, duration: str, bar_size: str, **rest: Any
    ) -> Sequence[Bar]:
        del contract, rest
        self.asked.append((end, duration, bar_size))
        last, first = end or self.now, Duration.parse(duration).before(end or self.now)
        length = bar_length(bar_size)
        if length is None:
            starts: list[datetime | date] = [
                day for day in self.days if first.date() <= day and datetime.combine(day, time(14), UTC) < last
            ]
        else:
            starts = [at for at in self.starts(length) if first <= at < last]
        return [Bar(start=at, open=1, high=1, low=1, close=1, volume=1, wap=None, trade_count=None) for at in starts]


def details() -> ContractDetails:
    return ContractDetails(
        contract=Contract(symbol="SPY", sec_type="STK", con_id=1), min_tick=0.01, contract_month="",
        time_zone_id="US/Eastern", trading_hours=HOURS, liquid_hours=HOURS,
    )  # fmt: skip


async def read(exchange: Exchange, bar_size: str, start: datetime, end: datetime) -> list[Bar]:
    wanted = MarketBarsParameters.model_validate({"bar_size": bar_size, "start": start, "end": end})
    reader = BarReader(gateway=exchange, details=details(), wanted=wanted, now=exchange.now)  # type: ignore[arg-type]
    return await reader.read()


MONDAY, TUESDAY = date(2026, 11, 23), date(2026, 11, 24)


async def test_a_night_of_empty_pages_ends_nothing_and_is_skipped() -> None:
    exchange = Exchange(days=[MONDAY, TUESDAY], now=datetime(2026, 11, 24, 22, tzinfo=UTC))
    bars = await read(
        exchange, "5 secs", datetime(2026, 11, 23, 20, 30, tzinfo=UTC), datetime(2026, 11, 24, 15, tzinfo=UTC)
    )
    assert len(bars) == 30 * 12 + 30 * 12
    assert len(exchange.asked) <= 6


async def test_weekends_and_weeks_without_trade_end_nothing() -> None:
    days = [date(2026, 10, 1), date(2026, 10, 2), MONDAY]
    exchange = Exchange(days=days, now=datetime(2026, 11, 24, 22, tzinfo=UTC))
    bars = await read(exchange, "1 min", datetime(2026, 9, 1, tzinfo=UTC), datetime(2026, 11, 24, 15, tzinfo=UTC))
    assert len(bars) == 3 * 390
    assert len(exchange.asked) <= 15


async def test_what_is_older_than_the_first_bar_ends_it() -> None:
    exchange = Exchange(days=[MONDAY], now=datetime(2026, 11, 24, 22, tzinfo=UTC))
    bars = await read(exchange, "1 min", datetime(2001, 1, 1, tzinfo=UTC), datetime(2026, 11, 24, 15, tzinfo=UTC))
    assert len(bars) == 390
    assert len(exchange.asked) < 10


async def test_the_night_the_clocks_change_loses_no_bar() -> None:
    friday, monday = date(2026, 10, 30), date(2026, 11, 2)
    exchange = Exchange(days=[friday, monday], now=datetime(2026, 11, 24, tzinfo=UTC))
    bars = await read(exchange, "30 secs", datetime(2026, 10, 30, tzinfo=UTC), datetime(2026, 11, 3, tzinfo=UTC))
    starts = [bar.start for bar in bars]
    assert len(starts) == len(set(starts)) == 2 * 780
    assert starts[0] == datetime(2026, 10, 30, 13, 30, tzinfo=UTC)
    assert starts[780] == datetime(2026, 11, 2, 14, 30, tzinfo=UTC)


async def test_a_half_day_has_half_the_bars() -> None:
    friday = date(2026, 11, 27)
    exchange = Exchange(days=[MONDAY, friday], now=datetime(2026, 11, 28, tzinfo=UTC), closes={friday: time(13)})
    bars = await read(exchange, "5 mins", datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 28, tzinfo=UTC))
    assert len(bars) == 78 + 42


def test_a_bar_ends_when_its_session_closes() -> None:
    hours = TradingHours.parse(HOURS, "US/Eastern")
    hour = timedelta(hours=1)
    last = datetime(2026, 11, 23, 20, 30, tzinfo=UTC)
    assert hours.end_of_bar(last, hour) == datetime(2026, 11, 23, 21, tzinfo=UTC)
    assert hours.end_of_bar(last - hour, hour) == last
    half = datetime(2026, 11, 27, 17, 30, tzinfo=UTC)
    assert hours.end_of_bar(half, hour) == datetime(2026, 11, 27, 18, tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "opens", "closes"),
    [
        (MONDAY, "2026-11-23T14:30", "2026-11-23T21:00"),
        (date(2026, 11, 27), "2026-11-27T14:30", "2026-11-27T18:00"),
        (date(2026, 10, 30), "2026-10-30T13:30", "2026-10-30T20:00"),  # not listed, and before the clocks change
    ],
)
def test_a_day_has_its_hours(day: date, opens: str, closes: str) -> None:
    span = TradingHours.parse(HOURS, "US/Eastern").span_of(day)
    assert span == tuple(datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (opens, closes))


async def test_a_long_range_of_small_bars_has_parts_that_follow_each_other() -> None:
    clock = ManualClock(datetime(2026, 11, 24, tzinfo=UTC))
    parameters = MarketBarsParameters.model_validate(
        {
            "bar_size": "5 secs",
            "start": datetime(2026, 11, 1, tzinfo=UTC),
            "end": datetime(2026, 11, 20, tzinfo=UTC),
        }
    )
    job = Job(request_id="r", symbol="SPY", priority=3, parameters=parameters, created_at=clock.now(), clock=clock)
    parts = await MarketBars().plan(job, None)  # type: ignore[arg-type]
    assert parts[0]["end"] == "2026-11-20T00:00:00+00:00"
    assert parts[-1]["start"] == "2026-11-01T00:00:00+00:00"
    assert all(later["start"] == earlier["end"] for later, earlier in pairwise(parts))
    assert len(parts) == 12
