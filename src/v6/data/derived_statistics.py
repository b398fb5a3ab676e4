"""``derived_statistics``: numbers computed from other tables, one row a symbol, statistic, tenor, window and date."""

from __future__ import annotations

from datetime import date, datetime
from typing import ClassVar

import polars as pl

from v6.data import columns
from v6.data.delta import Column, TableSpec
from v6.data.table import Table, equals, known_by

KEY = ("symbol", "statistic", "tenor_days", "window_days", "date")

DERIVED_STATISTICS = TableSpec(
    name="derived_statistics",
    description="Statistics computed from the other tables; the last row of a key is the value.",
    columns=(
        Column(
            name="timestamp",
            dtype=columns.TIMESTAMP.dtype,
            description="the last instant of the data that the value rests on (clock time)",
            unit="UTC",
        ),
        columns.SYMBOL,
        Column(name="statistic", dtype=pl.String, description="what was computed, such as realized_volatility"),
        Column(
            name="tenor_days",
            dtype=pl.Int32,
            description="days from the date to the expiry that the value is for",
            unit="calendar days",
            null_means="the statistic has no tenor",
        ),
        Column(
            name="window_days",
            dtype=pl.Int32,
            description="sessions of data before the date that the value rests on, the date included",
            unit="sessions",
            null_means="the statistic looks at one session only",
        ),
        Column(
            name="value",
            dtype=pl.Float64,
            description="the value, in the unit its statistic is documented with",
            unit="of the statistic",
            null_means="it could not be computed; quality says why",
        ),
        Column(name="n_observations", dtype=pl.Int64, description="how many rows it rests on", unit="rows"),
        Column(
            name="quality",
            dtype=pl.String,
            description="ok, or in a few words what limits the value",
        ),
        *columns.PROVENANCE,
        columns.DATE,
    ),
    partition_by=("symbol",),
    sort_by=("statistic", "tenor_days", "window_days", "date"),
    key=KEY,
)


class DerivedStatisticsTable(Table):
    """Statistics by key."""

    spec: ClassVar[TableSpec] = DERIVED_STATISTICS

    def current(
        self,
        *,
        symbol: str | None = None,
        statistic: str | None = None,
        start: date | None = None,
        end: date | None = None,
        as_of: datetime | None = None,
    ) -> pl.LazyFrame:
        """One row a key: the last one known, for start <= date < end, in key order."""
        within = [pl.col("date") >= start] if start is not None else []
        within += [pl.col("date") < end] if end is not None else []
        rows = self.scan().filter(*equals(symbol=symbol, statistic=statistic), *within, *known_by(as_of))
        return rows.sort("known_at", "request_id").unique(list(KEY), keep="last", maintain_order=True).sort(KEY)
