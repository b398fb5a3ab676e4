"""``market_bars``: one row a bar, and one more each time its values changed.

A bar is identified by contract, bar size, what to show, regular hours and its start. The unfinished bar is stored with
``is_final`` false; that it was finished, or revised later, is a new row. Readers see the last.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

import polars as pl

from v6.data import columns
from v6.data.columns import number
from v6.data.table import Table, during, equals, known_by
from v6.data.table_spec import Column, TableSpec

KEY = ("con_id", "sec_type", "bar_size", "what_to_show", "regular_hours", "timestamp")
VALUES = ("open", "high", "low", "close", "volume", "wap", "trade_count", "is_final")
RANK = ("is_final", "known_at", "request_id")  # the last by this order is what a bar is: finished beats unfinished

MARKET_BARS = TableSpec(
    name="market_bars",
    description="Historical bars; the last row of a key is the bar, earlier ones are what it was before a revision.",
    columns=(
        Column(
            name="timestamp",
            dtype=columns.TIMESTAMP.dtype,
            description="start of the bar; for bars of a day and more, midnight UTC of the trading date",
            unit="UTC",
        ),
        columns.SYMBOL,
        columns.CON_ID,
        Column(name="sec_type", dtype=pl.String, description="IB's security type: STK, IND, FUT, CONTFUT, OPT"),
        Column(name="bar_size", dtype=pl.String, description="length of the bar in IB's words: 1 day, 5 mins, …"),
        Column(
            name="what_to_show", dtype=pl.String, description="what the bar is made of: TRADES, MIDPOINT, BID, ASK, …"
        ),
        Column(name="regular_hours", dtype=pl.Boolean, description="true where only regular trading hours count"),
        Column(name="open", dtype=pl.Float64, description="first price", unit="currency"),
        Column(name="high", dtype=pl.Float64, description="highest price", unit="currency"),
        Column(name="low", dtype=pl.Float64, description="lowest price", unit="currency"),
        Column(name="close", dtype=pl.Float64, description="last price", unit="currency"),
        number("volume", "traded volume in IB's unit: shares or contracts", "units", "this kind of bar has no volume"),
        number("wap", "average price weighted by volume", "currency", "this kind of bar has no volume"),
        Column(
            name="trade_count",
            dtype=pl.Int64,
            description="number of trades",
            unit="trades",
            null_means="this kind of bar has no trades",
        ),
        Column(
            name="is_final", dtype=pl.Boolean, description="true once the bar's time had passed when it was fetched"
        ),
        Column(
            name="expiry",
            dtype=pl.Date,
            description="last trading day of the contract",
            null_means="it does not expire",
        ),
        *columns.CONTRACT_TEXTS,
        *columns.PROVENANCE,
        Column(
            name="date",
            dtype=pl.Date,
            description="the exchange's trading date; for bars of more than a day, the one that names the bar",
        ),
    ),
    partition_by=("symbol", "bar_size"),
    sort_by=("con_id", "what_to_show", "regular_hours", "timestamp"),
    key=KEY,
)


class MarketBarsTable(Table):
    """Bars by key; ``prepare`` keeps only what is new or different."""

    spec: ClassVar[TableSpec] = MARKET_BARS

    def prepare(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The bars that are new, finished or revised, one row a key; unchanged ones are left out.

        A finished bar is never followed by an unfinished one. Only files of the frame's symbols, bar sizes and dates
        are read. Two workers that prepare one bar at the same instant both keep it: readers still see one.

        Raises:
            TableIncompatible: a column is unknown, or one that is never null is absent or has nulls.
        """
        bars = _last_of_each(super().prepare(frame).lazy()).collect()
        if bars.is_empty() or not self.lake.exists(self.spec.name):
            return self.spec.conform(bars)
        stored = self._stored_beside(bars).select(*KEY, *VALUES, pl.lit(value=True).alias("stored"))
        both = bars.lazy().join(stored, on=KEY, how="left", suffix="_stored", nulls_equal=True)
        changed = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_stored")) for name in VALUES)
        stale = pl.col("is_final_stored") & ~pl.col("is_final")
        news = both.filter(pl.col("stored").is_null() | (changed & ~stale)).select(self.spec.schema.names())
        return self.spec.conform(news.collect())

    def current(
        self,
        *,
        symbol: str | None = None,
        con_id: int | None = None,
        sec_type: str | None = None,
        bar_size: str | None = None,
        what_to_show: str | None = None,
        regular_hours: bool | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        final: bool | None = None,
        as_of: datetime | None = None,
    ) -> pl.LazyFrame:
        """One row a bar: the last one known (``as_of`` a moment in machine time), in key order.

        Conditions given here reach the files; those put on the frame afterwards are applied to the bars. ``final`` True
        leaves out the bars that are unfinished.
        """
        fits = equals(
            symbol=symbol,
            con_id=con_id,
            sec_type=sec_type,
            bar_size=bar_size,
            what_to_show=what_to_show,
            regular_hours=regular_hours,
        )
        bars = _last_of_each(self.scan().filter(*fits, *during(start, end), *known_by(as_of)))
        return bars.filter(*equals(is_final=final)).sort(KEY)

    def history(
        self, *, symbol: str | None = None, con_id: int | None = None, bar_size: str | None = None
    ) -> pl.LazyFrame:
        """Every stored row of the bars that fit, revisions included, by bar start and then by when it was known."""
        fits = equals(symbol=symbol, con_id=con_id, bar_size=bar_size)
        return self.scan().filter(*fits).sort(*KEY, "known_at")

    def _stored_beside(self, bars: pl.DataFrame) -> pl.LazyFrame:
        """The bars now stored with the symbols, sizes and times of these."""
        return _last_of_each(
            self.scan().filter(
                pl.col("symbol").is_in(bars["symbol"].unique().to_list()),
                pl.col("bar_size").is_in(bars["bar_size"].unique().to_list()),
                *(pl.col(name).is_between(bars[name].min(), bars[name].max()) for name in ("timestamp", "date")),
            )
        )


def _last_of_each(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.sort(*RANK, maintain_order=True).unique(subset=list(KEY), keep="last", maintain_order=True)
