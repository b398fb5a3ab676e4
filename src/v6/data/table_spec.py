"""What a table is: its columns with their units and what null means, its partitions, order and key, and its upkeep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

from v6.errors import TableIncompatible

UTC_MICROSECONDS = pl.Datetime("us", "UTC")


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column: what it holds, in which unit, and what null means. Without ``null_means`` it is never null."""

    name: str
    dtype: pl.DataType | type[pl.DataType]
    description: str
    unit: str = ""
    null_means: str = ""

    @property
    def nullable(self) -> bool:
        """True where the column may be null."""
        return bool(self.null_means)


@dataclass(frozen=True, kw_only=True, slots=True)
class Upkeep:
    """How a table is maintained (docs/maintenance.md).

    ``keep_days`` is how long its rows are kept, None for ever. A commit costs more with every file in the log, so the
    log of a table that is written all day is kept short: a version is given up when it is ``log_commits`` behind and
    was replaced ``log_seconds`` ago. ``for_readers`` says that people read it at length: removed files wait longer.
    """

    keep_days: int | None = None
    log_commits: int = 200
    log_seconds: float = 600.0
    for_readers: bool = True


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """One table: its columns, its folders on disk, the order of rows in a file and the key that identifies a row."""

    name: str
    description: str
    columns: tuple[Column, ...]
    partition_by: tuple[str, ...]
    sort_by: tuple[str, ...]
    key: tuple[str, ...]
    configuration: Mapping[str, str] = field(default_factory=dict)
    upkeep: Upkeep = field(default_factory=Upkeep)

    @cached_property
    def schema(self) -> pl.Schema:
        """Column names and polars types, in stored order."""
        return pl.Schema({column.name: column.dtype for column in self.columns})

    def empty(self) -> pl.DataFrame:
        """A frame of this table with no rows."""
        return pl.DataFrame(schema=self.schema)

    def conform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with every column of this table, typed, ordered and sorted; absent nullable columns become null.

        Raises:
            TableIncompatible: a column is unknown, or one that is never null is absent or has nulls.
        """
        unknown = [name for name in frame.columns if name not in self.schema]
        absent = [c.name for c in self.columns if not c.nullable and c.name not in frame.columns]
        if unknown or absent:
            raise TableIncompatible(f"rows for {self.name} do not fit: unknown columns {unknown}, missing {absent}")
        whole = frame.select(
            pl.col(c.name).cast(c.dtype) if c.name in frame.columns else pl.lit(None, c.dtype).alias(c.name)
            for c in self.columns
        )
        holes = [c.name for c in self.columns if not c.nullable and whole[c.name].null_count()]
        if holes:
            raise TableIncompatible(f"rows for {self.name} have nulls in columns that are never null: {holes}")
        return whole.sort(self.sort_by, nulls_last=True, maintain_order=True)
