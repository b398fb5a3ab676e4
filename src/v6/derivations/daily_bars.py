"""Reads the daily bars of a symbol from a lake: one a trading date, whatever kinds of bars are stored."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from v6.data.continuous_futures import PRICES, Adjustment, ContinuousFutures, RollRule
from v6.data.lake import Lake
from v6.data.market_bars import MarketBarsTable
from v6.errors import RequestError

DAILY = "1 day"
CASH_TYPES = ("STK", "IND", "CASH")
KINDS = ("TRADES", "MIDPOINT")
# Of several bars of a date the first in this order counts.
PREFERENCE = ("what_to_show", "sec_type", "regular_hours", "con_id")
_FAR = timedelta(days=10)


def daily_bars(lake: Lake, symbol: str, first: date, last: date) -> pl.DataFrame:
    """date, timestamp, open, high, low, close of first <= date <= last, finished bars only, one a date.

    Of a stock, index or currency: TRADES before MIDPOINT, regular hours before all hours. Of a future: its continuous
    series by volume, adjusted by ratio to the level of the last date's month. Empty where none are stored.
    """
    bars = _cash_bars(lake, symbol, first, last)
    return bars if bars.height else _futures_bars(lake, symbol, first, last)


def _cash_bars(lake: Lake, symbol: str, first: date, last: date) -> pl.DataFrame:
    stored = MarketBarsTable(lake).current(
        symbol=symbol, bar_size=DAILY, start=_midnight(first), end=_midnight(last + timedelta(days=1)), final=True
    )
    fits = stored.filter(pl.col("sec_type").is_in(CASH_TYPES), pl.col("what_to_show").is_in(KINDS))
    ordered = fits.sort("date", *PREFERENCE, descending=[False, True, True, True, False])
    chosen = ordered.unique("date", keep="first", maintain_order=True)
    return chosen.select("date", "timestamp", "open", "high", "low", "close").collect()


def _futures_bars(lake: Lake, symbol: str, first: date, last: date) -> pl.DataFrame:
    rule = RollRule(adjustment=Adjustment.RATIO)
    names = ("date", "timestamp", "open", "high", "low", "close")
    try:
        series = ContinuousFutures(lake).bars(symbol, rule, start=_midnight(first), end=_midnight(last + _FAR))
        bars = series.filter(pl.col("date").is_between(first, last)).collect()
    except RequestError:  # a roll that no stored session can adjust: there is no series
        return pl.DataFrame(schema={"date": pl.Date})
    if bars.is_empty():
        return bars.select(names)
    level = bars.sort("date")["factor"][-1]  # what was stored later must not move the level of this date
    return bars.with_columns(pl.col(*(name for name in PRICES if name in names)) / level).select(names)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
