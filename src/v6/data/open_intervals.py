"""The intervals of the ledger that are expected still, remembered by day: only days whose files have changed are read.

What the log says of a file's states tells which days cannot have any, and the names of a day's files, which are never
used twice, whether it is as it was read: after a restart, compaction, deletion or a table put back from a backup too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from v6.data import delta
from v6.data.coverage import COVERAGE, CoverageRow, CoverageState, newest, row_of
from v6.data.delta import DeltaTable
from v6.data.lake import Lake


@dataclass(frozen=True, kw_only=True, slots=True)
class _Day:
    """The files of a day when it was read, and what was open in it."""

    files: Sequence[str]
    rows: Sequence[CoverageRow]


class OpenIntervals:
    """The open intervals of one lake. Blocks: one object belongs to one thread."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._days: dict[date, _Day] = {}

    def read(self) -> list[CoverageRow]:
        """All of them, in the order of their keys.

        Raises:
            LakeError: the table cannot be read.
        """
        if not self._lake.exists(COVERAGE.name):
            self._days = {}
            return []
        table = self._lake.opened_whole(COVERAGE.name)
        files = _files_by_day(table)
        known = {day: self._days[day] for day, names in files.items() if self._is_as_read(day, names)}
        changed = {day: names for day, names in files.items() if day not in known}
        self._days = known | self._read(table, changed)
        return sorted((row for day in self._days.values() for row in day.rows), key=lambda row: row.interval.key)

    def _is_as_read(self, day: date, files: Sequence[str]) -> bool:
        return day in self._days and self._days[day].files == files

    def _read(self, table: DeltaTable, days: Mapping[date, Sequence[str]]) -> dict[date, _Day]:
        if not days:
            return {}
        rows = self._lake.scan_opened(COVERAGE, table).filter(pl.col("date").is_in(list(days)))
        is_open = pl.col("state") == str(CoverageState.EXPECTED)
        with self._lake.reading(COVERAGE.name):
            found = newest(rows).filter(is_open).collect()
        by_day: dict[date, list[CoverageRow]] = {day: [] for day in days}
        for values in found.iter_rows(named=True):
            by_day[values["date"]].append(row_of(values))
        return {day: _Day(files=files, rows=by_day[day]) for day, files in days.items()}


def _files_by_day(table: DeltaTable) -> dict[date, list[str]]:
    """The files of each day that may have an open interval: a file's states reach over ``expected``, or are unknown."""
    state = str(CoverageState.EXPECTED)
    can_be_open = ((pl.col("least") <= state) & (pl.col("greatest") >= state)).fill_null(True)
    files = delta.bounds_by_file(table, "state")
    days = files.sort("path").group_by("date").agg("path", can_be_open.any().alias("open")).filter("open")
    return dict(days.select("date", "path").iter_rows())
