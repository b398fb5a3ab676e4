"""``quality_flags``: which stored rows a day's quality report doubts, one row a finding."""

from __future__ import annotations

from typing import ClassVar

import polars as pl

from v6.data import columns
from v6.data.columns import number
from v6.data.table import Table
from v6.data.table_spec import Column, TableSpec

KEY = ("request_id", "table_name", "check", "con_id", "timestamp", "row_request_id", "series", "detail")

QUALITY_FLAGS = TableSpec(
    name="quality_flags",
    description="Findings of quality reports; those of a date's newest report count; no row is changed.",
    columns=(
        Column(
            name="timestamp",
            dtype=columns.TIMESTAMP.dtype,
            description="the timestamp of the row that is doubted; of a gap, its start",
            unit="UTC",
        ),
        columns.SYMBOL,
        Column(name="table_name", dtype=pl.String, description="the table of the row"),
        Column(name="check", dtype=pl.String, description="what was found (docs/quality.md)"),
        Column(
            name="action",
            dtype=pl.String,
            description="flag: a note; quarantine: readers that are asked for clean rows leave it out",
        ),
        Column(name="con_id", dtype=pl.Int64, description="IB's contract id of the row", null_means="it has none"),
        Column(
            name="row_request_id",
            dtype=pl.String,
            description="the request that brought the row",
            null_means="none did: it is a gap",
        ),
        Column(
            name="series",
            dtype=pl.String,
            description="of bars, size and kind; of a gap, type and series",
            null_means="the table tells enough",
        ),
        number("value", "how far off it is, in the unit of its check", "of the check", "the check has no measure"),
        Column(name="detail", dtype=pl.String, description="what is wrong, in words and numbers"),
        *columns.PROVENANCE,
        columns.DATE,
    ),
    partition_by=("date",),
    sort_by=("table_name", "check", "symbol", "timestamp"),
    key=KEY,
)


class QualityFlagsTable(Table):
    """Findings, idempotent by report."""

    spec: ClassVar[TableSpec] = QUALITY_FLAGS

    def prepare(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The findings that this report has not written yet: a report that is made again after a crash doubles none."""
        rows = super().prepare(frame).unique(KEY, keep="first", maintain_order=True)
        if rows.is_empty():
            return rows
        days, reports = rows["date"].unique().to_list(), rows["request_id"].unique().to_list()
        stored = self.scan().filter(pl.col("date").is_in(days), pl.col("request_id").is_in(reports)).select(KEY)
        return rows.join(stored.collect(), on=KEY, how="anti", nulls_equal=True, maintain_order="left")
