"""What every table of the lake shares: its spec, preparing rows, appending them, and the readers by time.

A table class owns one ``TableSpec`` and never fetches. Readers give lazy frames whose filters reach the files; they
need neither worker nor gateway, and on a table that does not exist yet they give an empty frame of its columns.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import polars as pl

from v6.clock import Clock
from v6.data import delta
from v6.data.delta import DeltaError
from v6.data.lake import Lake
from v6.data.opened_table import OpenedTable
from v6.data.refusal import raise_refusal
from v6.data.table_spec import TableSpec
from v6.errors import LakeError

# A trading date and the UTC day of a timestamp differ by a night, a weekend or a holiday, never by more than this.
TRADING_DATE_MARGIN = timedelta(days=7)
APPEND_TRIES = 8


class Table:
    """One table of a lake. One object belongs to one thread; several objects may use one table at once."""

    spec: ClassVar[TableSpec]

    def __init__(self, lake: Lake | str | Path, *, clock: Clock | None = None) -> None:
        self.lake = lake if isinstance(lake, Lake) else Lake(lake)
        self.clock = clock or Clock()
        self._writing: OpenedTable | None = None

    def scan(self) -> pl.LazyFrame:
        """Every stored row, lazily; empty where the table is absent."""
        return self.lake.scan(self.spec)

    def prepare(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows to append for what was fetched: all columns present, typed, ordered and sorted.

        Raises:
            TableIncompatible: a column is unknown, or one that is never null is absent or has nulls.
        """
        return self.spec.conform(frame)

    def append(self, frame: pl.DataFrame) -> int:
        """Prepare the rows and append them in one commit that is on the disk; the table's version afterwards.

        The worker does not use this for results: its ``TableWriter`` appends exactly once.

        Raises:
            NotDurable: the rows landed and could not be flushed.
            DiskRefuses: the disk is full or read-only.
            TableIncompatible: the rows do not fit the table.
            LakeError: the commit did not land, however often it was tried.
        """
        rows = self.prepare(frame)
        if rows.is_empty():
            return self._open_for_writing().version
        self.lake.check_room(rows)
        version = self._append(rows)
        self.lake.flush(self.spec.name, version)
        return version

    def _append(self, rows: pl.DataFrame) -> int:
        """Commit; again where rivals kept coming first, or where this object slept until its part of the log was gone.

        What failed may have landed: the token in the commit tells.
        """
        token = uuid.uuid4().hex
        failure: Exception | None = None
        for attempt in range(APPEND_TRIES):
            opened, self._writing = self._open_for_writing(), None
            if failure is not None and delta.has_landed(opened.table, token):
                return opened.version
            try:
                opened.table.update_incremental()
                version = delta.append(opened.table, rows, token=token)
            except (DeltaError, OSError) as error:
                raise_refusal(error, self.lake.url)
                failure = error
                self.clock.pause(random.uniform(0, min(0.2, 0.005 * 2**attempt)))
                continue
            self._writing = opened  # kept only after a commit that went through
            return version
        raise LakeError(f"rows for {self.spec.name} could not be appended to {self.lake.url}: {failure}") from failure

    def _open_for_writing(self) -> OpenedTable:
        if self._writing is None:
            return OpenedTable(self.lake.ensure(self.spec))
        return self.lake.renewed(self.spec.name, self._writing)

    def as_of(self, moment: datetime) -> pl.LazyFrame:
        """The rows that were known at ``moment`` (machine time): what a reader would have seen then."""
        return self.scan().filter(pl.col("known_at") <= moment)

    def between(self, start: datetime, end: datetime) -> pl.LazyFrame:
        """The rows with start <= timestamp < end."""
        return self.scan().filter(*during(start, end))

    def _days_newest_first(self) -> Iterator[tuple[date, pl.LazyFrame]]:
        """Each trading date that has files, newest first, with its rows; all from one version of the table."""
        if not self.lake.exists(self.spec.name):
            return
        table = self.lake.opened_whole(self.spec.name)
        rows = self.lake.scan_opened(self.spec, table)
        for day in sorted(delta.partition_dates(table), reverse=True):
            yield day, rows.filter(pl.col("date") == day)


def during(start: datetime | None, end: datetime | None) -> list[pl.Expr]:
    """Filters for start <= timestamp < end that also leave out the days which cannot match; None is open."""
    filters: list[pl.Expr] = []
    if start is not None:
        filters += [pl.col("timestamp") >= start, pl.col("date") >= (start - TRADING_DATE_MARGIN).date()]
    if end is not None:
        filters += [pl.col("timestamp") < end, pl.col("date") <= (end + TRADING_DATE_MARGIN).date()]
    return filters


def equals(**values: object) -> list[pl.Expr]:
    """A filter ``column == value`` for each value that is not None."""
    return [pl.col(name).eq(value) for name, value in values.items() if value is not None]


def on_dates(start: date | None, end: date | None = None) -> list[pl.Expr]:
    """The filters for start <= date < end; None leaves that side open."""
    after = [] if start is None else [pl.col("date") >= start]
    return after if end is None else [*after, pl.col("date") < end]


def known_by(moment: datetime | None) -> list[pl.Expr]:
    """The filter for rows known at a moment (machine time); None is now."""
    return [] if moment is None else [pl.col("known_at") <= moment]


def last_known(rows: pl.LazyFrame, key: Sequence[str]) -> pl.LazyFrame:
    """One row a key: the last one known."""
    return rows.sort("known_at", "request_id").unique(list(key), keep="last", maintain_order=True)


def tables() -> dict[str, type[Table]]:
    """Every table of this package but the queue's, by name."""
    from v6.data.contracts import ContractsTable
    from v6.data.coverage import CoverageTable
    from v6.data.derived_statistics import DerivedStatisticsTable
    from v6.data.futures_snapshots import FuturesSnapshotsTable
    from v6.data.incidents import IncidentsTable
    from v6.data.lake_account import LakeAccount
    from v6.data.market_bars import MarketBarsTable
    from v6.data.option_snapshots import OptionSnapshotsTable
    from v6.data.position_updates import PositionUpdatesTable
    from v6.data.quality_flags import QualityFlagsTable
    from v6.data.quality_reports import QualityReportsTable
    from v6.data.queue_controls import QueueControlsTable
    from v6.data.schedule_log import ScheduleLogTable
    from v6.data.scheduler_state import SchedulerStateTable
    from v6.data.vol_surfaces import VolSurfacesTable
    from v6.data.worker_state import WorkerStateTable

    classes: tuple[type[Table], ...] = (
        OptionSnapshotsTable,
        FuturesSnapshotsTable,
        MarketBarsTable,
        PositionUpdatesTable,
        DerivedStatisticsTable,
        VolSurfacesTable,
        QualityReportsTable,
        QualityFlagsTable,
        WorkerStateTable,
        LakeAccount,
        ContractsTable,
        CoverageTable,
        ScheduleLogTable,
        SchedulerStateTable,
        QueueControlsTable,
        IncidentsTable,
    )
    return {table.spec.name: table for table in classes}
