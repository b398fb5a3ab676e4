"""Quality reports, what they doubt, and rows without what they quarantined."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import polars as pl

from v6.data.lake import Lake
from v6.data.quality_reports import QualityReportsTable
from v6.data.table import Table, equals
from v6.quality.check import Action
from v6.quality.examine import CHECKS, EXAMINED
from v6.readers.asked import checked, one_of
from v6.readers.where import lake_of

ROW = ["date", "con_id", "timestamp", "request_id"]


@checked
def quality_reports(
    *,
    symbol: str | None = None,
    first: date | None = None,
    last: date | None = None,
    as_of: datetime | None = None,
    lake: Lake | str | Path | None = None,
) -> pl.LazyFrame:
    """The newest quality report of each trading date first <= date <= last: counts, the page (``html``), the ``csv``.

    Of all symbols, or those reports that were asked for a ``symbol`` alone.

    Raises:
        LakeError: the lake is not there or cannot be read.
    """
    return QualityReportsTable(lake_of(lake)).current(symbol=symbol, first=first, last=last, as_of=as_of)


@checked
def quality_flags(
    *,
    symbol: str | None = None,
    table_name: str | None = None,
    check: str | None = None,
    first: date | None = None,
    last: date | None = None,
    as_of: datetime | None = None,
    lake: Lake | str | Path | None = None,
) -> pl.LazyFrame:
    """What those reports doubt: one row a finding, with the row it names and what is wrong (docs/quality.md).

    Which reports count is read at the call: one that is made later counts for the next call.

    Raises:
        UsageError: there is no such check, or none looks at such a table.
        LakeError: the lake is not there or cannot be read.
    """
    one_of(dict.fromkeys(one.name for one in CHECKS), "check", check)
    one_of(EXAMINED, "examined table", table_name)
    flags = QualityReportsTable(lake_of(lake)).flags(first=first, last=last, as_of=as_of)
    return flags.filter(*equals(symbol=symbol, table_name=table_name, check=check))


def without_quarantined(rows: pl.LazyFrame, table: Table) -> pl.LazyFrame:
    """The rows of a table without those that the newest report of their date has quarantined."""
    flags = QualityReportsTable(table.lake).flags()
    quarantined = flags.filter(
        pl.col("table_name") == table.spec.name, pl.col("action") == str(Action.QUARANTINE)
    ).select("date", "con_id", "timestamp", request_id="row_request_id")
    return rows.join(quarantined, on=ROW, how="anti", maintain_order="left")
