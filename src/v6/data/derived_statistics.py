"""``derived_statistics``: numbers computed from other tables, one row a symbol, statistic, tenor, window, strike, date.

Nothing is replaced: a day that is derived again has newer rows, readers see the last, and as-of readers the past.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import ClassVar

import polars as pl

from v6.data import columns
from v6.data.table import Table, equals, known_by, last_known, on_dates
from v6.data.table_spec import Column, TableSpec

KEY = ("symbol", "statistic", "tenor_days", "window_days", "strike", "date")
BY_EXPIRY = "_by_expiry"  # how the names of statistics end that have one value an expiry

DERIVED_STATISTICS = TableSpec(
    name="derived_statistics",
    description="Statistics computed from the other tables; the last row of a key is the value.",
    columns=(
        Column(
            name="timestamp",
            dtype=columns.TIMESTAMP.dtype,
            description="the newest row that the value rests on: its timestamp; of a daily bar its start (clock time)",
            unit="UTC",
        ),
        columns.SYMBOL,
        Column(name="statistic", dtype=pl.String, description="what was computed, such as iv_constant_maturity"),
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
            name="strike",
            dtype=pl.Float64,
            description="the strike price that the value is for",
            unit="currency",
            null_means="the statistic is not by strike",
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
    sort_by=("statistic", "tenor_days", "window_days", "strike", "date"),
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
        rows = self.scan().filter(*equals(symbol=symbol, statistic=statistic), *on_dates(start, end), *known_by(as_of))
        return last_known(rows, KEY).sort(KEY)

    def wide(
        self,
        *,
        symbol: str | None = None,
        statistics: Sequence[str] | None = None,
        start: date | None = None,
        end: date | None = None,
        as_of: datetime | None = None,
    ) -> pl.LazyFrame:
        """One row a date and symbol, a column a statistic, for start <= date < end, in (symbol, date) order.

        A column is named by statistic, tenor and window: ``iv_constant_maturity_30d``, ``drawdown_252s``. Values by
        strike are left out, and so are those by expiry, whose tenor changes from day to day, unless ``statistics``
        names them. The names are read at the call; values when the frame is collected. Raises LakeError.
        """
        rows = self.current(symbol=symbol, start=start, end=end, as_of=as_of).filter(pl.col("strike").is_null())
        rows = rows.filter(~pl.col("statistic").str.ends_with(BY_EXPIRY) if statistics is None else
                           pl.col("statistic").is_in(list(statistics)))  # fmt: skip
        named = rows.with_columns(column=_column_name())
        with self.lake.reading(self.spec.name):
            names = named.select(pl.col("column").unique()).collect()["column"].sort().to_list()
        values = [pl.col("value").filter(pl.col("column") == name).first().alias(name) for name in names]
        return named.group_by("symbol", "date").agg(values).sort("symbol", "date")


def _column_name() -> pl.Expr:
    tenor = pl.format("_{}d", "tenor_days").fill_null("")
    window = pl.format("_{}s", "window_days").fill_null("")
    return pl.concat_str("statistic", tenor, window)
