"""Statistics that were derived from the other tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import polars as pl

from v6.data.derived_statistics import DerivedStatisticsTable
from v6.data.lake import Lake
from v6.readers.where import lake_of


def statistics(
    symbol: str | None = None,
    statistic: str | None = None,
    *,
    start: date | None = None,
    end: date | None = None,
    as_of: datetime | None = None,
    lake: Lake | str | Path | None = None,
) -> pl.LazyFrame:
    """One row a symbol, statistic, tenor, window and date: the last value known, for start <= date < end.

    Raises:
        LakeError: the lake is not there or cannot be read.
    """
    table = DerivedStatisticsTable(lake_of(lake))
    return table.current(symbol=symbol, statistic=statistic, start=start, end=end, as_of=as_of)


def statistics_wide(
    symbol: str | None = None,
    statistics: Sequence[str] | None = None,
    *,
    start: date | None = None,
    end: date | None = None,
    as_of: datetime | None = None,
    lake: Lake | str | Path | None = None,
) -> pl.LazyFrame:
    """One row a symbol and date, a column a statistic, for start <= date < end.

    A column is named by statistic, tenor in days and window in sessions: ``iv_constant_maturity_30d``,
    ``drawdown_252s``. Values by strike are left out, and those by expiry too unless ``statistics`` names them.

    Raises:
        LakeError: the lake is not there or cannot be read.
    """
    table = DerivedStatisticsTable(lake_of(lake))
    return table.wide(symbol=symbol, statistics=statistics, start=start, end=end, as_of=as_of)
