"""``quality_reports``: daily quality reports, of all symbols or of one; of a date the newest count."""

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
    description="Daily quality reports as HTML and CSV, of all symbols or of one; the newest of a date counts.",
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
        Column(name="scope", dtype=pl.String, description="the symbol it was limited to", null_means="all symbols"),
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
        self,
        *,
        symbol: str | None = None,
        first: date | None = None,
        last: date | None = None,
        as_of: datetime | None = None,
    ) -> pl.LazyFrame:
        """The newest report of all symbols, or that of one alone, of each trading date first <= date <= last."""
        scope = pl.col("scope").is_null() if symbol is None else pl.col("scope") == symbol
        return self._newest(first, last, as_of).filter(scope).sort("date")

    def flags(
        self, *, first: date | None = None, last: date | None = None, as_of: datetime | None = None
    ) -> pl.LazyFrame:
        """The findings that count: of a date's newest report, but of a symbol those of a later report of it alone.

        Which reports count is read at the call; their findings when the frame is collected. Raises LakeError.
        """
        reports = self._newest(first, last, as_of).select("date", "request_id", "known_at", symbol="scope")
        with self.lake.reading(self.spec.name):
            newest = reports.collect()
        whole = newest.filter(pl.col("symbol").is_null())
        alone = newest.filter(pl.col("symbol").is_not_null()).join(whole, on="date", how="left", suffix="_whole")
        later = alone.filter((pl.col("known_at") > pl.col("known_at_whole")).fill_null(value=True)).lazy()
        flags = self.lake.scan(QUALITY_FLAGS).filter(*_dates(first, last))
        report = ["date", "request_id"]
        of_all = flags.join(whole.lazy(), on=report, how="semi").join(later, on=["date", "symbol"], how="anti")
        return pl.concat([of_all, flags.join(later, on=report, how="semi")]).sort(QUALITY_FLAGS.sort_by)

    def _newest(self, first: date | None, last: date | None, as_of: datetime | None) -> pl.LazyFrame:
        """Of each date the newest report of all symbols, and of each that was examined alone."""
        rows = self.scan().filter(*_dates(first, last), *known_by(as_of)).sort("known_at", "request_id")
        return rows.unique(["date", "scope"], keep="last", maintain_order=True)


def _dates(first: date | None, last: date | None) -> list[pl.Expr]:
    within = [] if first is None else [pl.col("date") >= first]
    return within if last is None else [*within, pl.col("date") <= last]
