"""Statistics that were derived from the other tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import polars as pl

from v6.data.derived_statistics import DerivedStatisticsTable
from v6.data.lake import Lake
from v6.derivations.catalogue import all_statistics
from v6.readers.asked import checked, one_of
from v6.readers.where import lake_of


@checked
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
        UsageError: there is no such statistic; the error names all there are (docs/statistics.md).
        LakeError: the lake is not there or cannot be read.
    """
    table = DerivedStatisticsTable(lake_of(lake))
    _check_known(table, statistic)
    return table.current(symbol=symbol, statistic=statistic, start=start, end=end, as_of=as_of)


@checked
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
        UsageError: there is no such statistic; the error names all there are (docs/statistics.md).
        LakeError: the lake is not there or cannot be read.
    """
    names = None if statistics is None else list(statistics)
    table = DerivedStatisticsTable(lake_of(lake))
    _check_known(table, *(names or ()))
    return table.wide(symbol=symbol, statistics=names, start=start, end=end, as_of=as_of)


def _check_known(table: DerivedStatisticsTable, *names: str | None) -> None:
    """Of names that are not in the catalogue those count that are stored: of another version, or somebody's own."""
    known = [statistic.name for family in all_statistics().values() for statistic in family]
    if not {*names} - {*known, None}:
        return
    names_there = table.scan().select(pl.col("statistic").unique().sort())
    with table.lake.reading(table.spec.name):
        stored: list[str] = names_there.collect()["statistic"].to_list()
    one_of(dict.fromkeys([*known, *stored]), "statistic", *names)
