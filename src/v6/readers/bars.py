"""Bars, as they were stored or adjusted for dividends when they are read.

What is stored is never changed. IB's TRADES bars are adjusted for splits alone; its ADJUSTED_LAST daily bars for
dividends too. The ratio of the two closes of a trading date is the factor of that date, for bars of any size.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl

from v6.data.lake import Lake
from v6.data.market_bars import MarketBarsTable
from v6.errors import RequestError
from v6.readers.asked import checked
from v6.readers.quality import without_quarantined
from v6.readers.where import lake_of

PRICES = ("open", "high", "low", "close", "wap")
DAILY = "1 day"


@checked
def bars(
    symbol: str,
    *,
    bar_size: str = DAILY,
    adjusted: bool = False,
    what_to_show: str = "TRADES",
    regular_hours: bool | None = None,
    con_id: int | None = None,
    sec_type: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    final: bool | None = None,
    clean: bool = False,
    as_of: datetime | None = None,
    lake: Lake | str | Path | None = None,
) -> pl.LazyFrame:
    """One row a bar, the last one known, for start <= timestamp < end (UTC), by contract and time.

    ``adjusted`` multiplies the prices by the factor of their trading date, which stands beside them in ``factor``
    (adjusted close / close of that date's daily bars; volume stays as it is). From the newest adjusted bar on it is 1;
    before the oldest one, factor and prices are null. ``final`` True leaves out unfinished bars, ``clean`` those that a
    quality report has quarantined. ``as_of`` is machine time. Columns are those of market_bars (docs/lake.md).

    Raises:
        RequestError: adjusted bars are wanted, and no daily ADJUSTED_LAST bars of the symbol are stored.
        LakeError: the lake is not there or cannot be read.
    """
    table = MarketBarsTable(lake_of(lake))
    found = table.current(
        symbol=symbol,
        bar_size=bar_size,
        what_to_show=what_to_show,
        regular_hours=regular_hours,
        con_id=con_id,
        sec_type=sec_type,
        start=start,
        end=end,
        final=final,
        as_of=as_of,
    )
    found = without_quarantined(found, table) if clean else found
    return found if not adjusted else _adjusted(found, _factors(table, symbol, as_of))


def _factors(table: MarketBarsTable, symbol: str, as_of: datetime | None) -> pl.LazyFrame:
    """con_id, date and the factor that adjusts that date's prices; from the same regular or all hours."""
    daily = table.current(symbol=symbol, bar_size=DAILY, as_of=as_of)
    key = ["con_id", "regular_hours", "date"]
    closes = daily.filter(pl.col("what_to_show") == "TRADES").select(*key, "close")
    adjusted = daily.filter(pl.col("what_to_show") == "ADJUSTED_LAST").select(*key, adjusted="close")
    both = adjusted.join(closes, on=key).select(*key[::2], factor=pl.col("adjusted") / pl.col("close"))
    factors = both.unique(["con_id", "date"], keep="first", maintain_order=True).collect()
    if factors.is_empty():
        wish = '{"bar_size": "1 day", "what_to_show": "ADJUSTED_LAST", "duration": "10 Y"}'
        raise RequestError(
            f"{symbol} has no daily ADJUSTED_LAST bars beside its TRADES bars to adjust by: "
            f"v6 submit market_bars {symbol} --parameters '{wish}'"
        )
    return factors.lazy()


def _adjusted(found: pl.LazyFrame, factors: pl.LazyFrame) -> pl.LazyFrame:
    newest = factors.group_by("con_id").agg(newest=pl.col("date").max())
    beside = found.join(factors, on=["con_id", "date"], how="left", maintain_order="left")
    beside = beside.join(newest, on="con_id", how="left", maintain_order="left")
    is_later = pl.col("date") > pl.col("newest")
    factor = pl.when(is_later).then(1.0).otherwise(pl.col("factor"))
    return (
        beside.with_columns(factor=factor)
        .drop("newest")
        .with_columns(pl.col(name) * pl.col("factor") for name in PRICES)
    )
