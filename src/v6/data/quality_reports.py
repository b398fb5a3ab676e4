"""``quality_reports``: the daily quality report, one row a report; of a date the newest counts."""

from __future__ import annotations

from datetime import date, datetime
from typing import ClassVar

import polars as pl

from v6.data import columns
from v6.data.quality_flags import QUALITY_FLAGS
from v6.data.table import Table, known_by
from v6.data.table_spec import Column, TableSpec

QUALITY_REPORTS = TableSpec(
    name="quality_reports",
    description="Daily quality reports as HTML and CSV; the newest of a date is its report.",
    columns=(
        Column(
            name="timestamp",
            dtype=columns.TIMESTAMP.dtype,
            description="when the report was made (clock time)",
            unit="UTC",
        ),
        Column(name="rows_examined", dtype=pl.Int64, description="rows that were looked at", unit="rows"),
        Column(name="flagged", dtype=pl.Int64, description="findings that are notes", unit="findings"),
        Column(name="quarantined", dtype=pl.Int64, description="findings that quarantine a row", unit="findings"),
        Column(name="html", dtype=pl.String, description="the report as a page that loads nothing from outside"),
        Column(name="csv", dtype=pl.String, description="every finding, one a line"),
        *columns.PROVENANCE,
        columns.DATE,
    ),
    partition_by=("date",),
    sort_by=("date", "known_at"),
    key=("request_id", "date"),
    configuration={"delta.dataSkippingStatsColumns": "timestamp,known_at,date"},
)


class QualityReportsTable(Table):
    """Reports by date, and the findings that count."""

    spec: ClassVar[TableSpec] = QUALITY_REPORTS

    def current(
        self, *, first: date | None = None, last: date | None = None, as_of: datetime | None = None
    ) -> pl.LazyFrame:
        """The newest report of each trading date first <= date <= last, by date."""
        within = [] if first is None else [pl.col("date") >= first]
        within += [] if last is None else [pl.col("date") <= last]
        rows = self.scan().filter(*within, *known_by(as_of)).sort("known_at", "request_id")
        return rows.unique("date", keep="last", maintain_order=True).sort("date")

    def flags(
        self, *, first: date | None = None, last: date | None = None, as_of: datetime | None = None
    ) -> pl.LazyFrame:
        """The findings of those reports."""
        reports = self.current(first=first, last=last, as_of=as_of).select("date", "request_id")
        within = [] if first is None else [pl.col("date") >= first]
        within += [] if last is None else [pl.col("date") <= last]
        flags = self.lake.scan(QUALITY_FLAGS).filter(*within)
        return flags.join(reports, on=["date", "request_id"], how="semi").sort(QUALITY_FLAGS.sort_by)
