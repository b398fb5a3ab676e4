"""One table maintained once: its rows, then its files, then its log, each step whole by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import polars as pl

from v6.clock import Clock
from v6.data.delta import DataFile, DeltaTable, Partition, checkpoint, data_files, date_of
from v6.data.flush import flush_checkpoint
from v6.data.lake import Lake
from v6.data.table_spec import TableSpec
from v6.maintenance import compaction, folding, retention, vacuum
from v6.maintenance.report import TableReport
from v6.maintenance.rewrite import Change, Rewriter, folder_of, read_files
from v6.maintenance.table_log import LogFile, TableLog

CHECKPOINT_COMMITS = 50
SLOT_MARGIN_DAYS = 2  # a slot older than the queue's history is refused: its request is kept a little longer than that


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What holds for one table: days its rows are kept (None for ever) and hours that its readers may take.

    With ``thorough`` what is not worth a commit yet is done as well, and files that no commit named are looked for.
    """

    keep_days: int | None = None
    reader_hours: float = 24.0
    thorough: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """Files of one partition to be written anew, and why."""

    reason: str
    partition: Partition
    sources: Sequence[DataFile]
    change: Change | None = None
    whole: bool = False


class TableUpkeep:
    """Maintains one table."""

    def __init__(self, lake: Lake, spec: TableSpec, clock: Clock, policy: Policy) -> None:
        self._lake = lake
        self._spec = spec
        self._clock = clock
        self._policy = policy
        self._rewriter = Rewriter(lake, spec, clock)

    def plan(self) -> TableReport:
        """What there is to do: files that would be joined, rows that would go. Changes nothing.

        Raises:
            LakeError: the table cannot be read.
        """
        table = self._lake.open(self._spec.name)
        files = data_files(table)
        report = TableReport(table=self._spec.name, files_before=len(files), files_after=len(files))
        for task in self._tasks(table, files):
            report = self._foreseen(report, table, task)
        log = TableLog.listed(folder_of(self._lake, table))
        deletable = self._deletable(log, table)
        return replace(
            report,
            deleted_files=len(deletable),
            deleted_bytes=sum(file.size_bytes for file in deletable),
            log_files=len(self._superfluous(log, int(table.version()))),
        )

    def maintain(self) -> TableReport:
        """Do what there is to do.

        Raises:
            ContentDiffers: a rewritten file did not hold what it should; the table is as it was.
            LakeError: the table cannot be read or written; what was done before stays done.
        """
        table = self._lake.open(self._spec.name)
        files = data_files(table)
        report = TableReport(table=self._spec.name, files_before=len(files))
        report = self._carried_out(report, table, self._tasks(table, files))
        table = self._lake.reopened(self._spec.name, table)
        if report.folded_rows:  # that takes seconds, in which a busy queue gets new files
            report = self._carried_out(report, table, self._joins(compaction.by_partition(data_files(table))))
            table = self._lake.reopened(self._spec.name, table)
        report = replace(report, files_after=len(data_files(table)), checkpoint=self._checkpoint(table))
        return self._clean(report, table)

    # Rows

    def _tasks(self, table: DeltaTable, files: Sequence[DataFile]) -> Iterator[Task]:
        parts = compaction.by_partition(files)
        gone = set()
        for task in self._expiries(parts):
            gone.add(task.partition)
            yield task
        kept = {key: own for key, own in parts.items() if key not in gone}
        yield from self._joins(kept)
        for key, own in kept.items():
            if self._is_closed(key):
                yield from self._folds(table, key, own)

    def _joins(self, parts: dict[Partition, list[DataFile]]) -> Iterator[Task]:
        for key, own in parts.items():
            if not self._is_closed(key):
                for group in compaction.to_join(self._spec, own, self._now_ms, thorough=self._policy.thorough):
                    yield Task(reason="compaction", partition=key, sources=group)

    def _is_closed(self, key: Partition) -> bool:
        return retention.is_queue(self._spec) and folding.is_closed(key, self._clock.now().date())

    def _expiries(self, parts: dict[Partition, list[DataFile]]) -> Iterator[Task]:
        days = self._policy.keep_days
        if days is None:
            return
        margin = SLOT_MARGIN_DAYS if retention.is_queue(self._spec) else 0
        before = self._clock.machine_now() - timedelta(days=days + margin)
        if not retention.by_day(self._spec):
            for key, own in parts.items():
                for file in retention.files_with_old_rows(own, before):
                    change = partial(retention.since, moment=before)
                    yield Task(reason="retention", partition=key, sources=[file], change=change)
            return
        keep: Change = folding.without_finished if retention.is_queue(self._spec) else _nothing
        for key, own in retention.expired_days(parts, before):
            yield Task(reason="retention", partition=key, sources=own, change=keep, whole=True)

    def _folds(self, table: DeltaTable, key: Partition, files: Sequence[DataFile]) -> Iterator[Task]:
        if not folding.may_fold(files, self._now_ms, thorough=self._policy.thorough):
            return
        day = date_of(key)
        change = partial(_folded, table=table, day=day)
        yield Task(reason="fold", partition=key, sources=files, change=change, whole=True)

    def _carried_out(self, report: TableReport, table: DeltaTable, tasks: Iterator[Task]) -> TableReport:
        for task in tasks:
            report = self._carry_out(report, table, task)
        return report

    def _carry_out(self, report: TableReport, table: DeltaTable, task: Task) -> TableReport:
        done = self._rewriter.rewrite(
            table, task.sources, reason=task.reason, change=task.change, is_whole_partition=task.whole
        )
        if not done.is_committed:
            return report
        return _counted(report, task, done.files, done.rows_before - done.rows_after)

    def _foreseen(self, report: TableReport, table: DeltaTable, task: Task) -> TableReport:
        if task.change is None:
            return _counted(report, task, len(task.sources), 0)
        rows = read_files(table, folder_of(self._lake, table), task.sources)
        return _counted(report, task, len(task.sources), rows.height - task.change(rows).height)

    # Files and log

    def _checkpoint(self, table: DeltaTable) -> bool:
        """Write a checkpoint when the last one is far behind."""
        log = TableLog.listed(folder_of(self._lake, table))
        if log.since_checkpoint(int(table.version())) < CHECKPOINT_COMMITS:
            return False
        checkpoint(table)
        return True

    def _clean(self, report: TableReport, table: DeltaTable) -> TableReport:
        """Delete files first: the log that is deleted after them is what told of them."""
        log = TableLog.listed(folder_of(self._lake, table))
        deletable = self._deletable(log, table)
        deleted = vacuum.delete(log.files, deletable)
        size = sum(file.size_bytes for file in deletable)
        superfluous = self._superfluous(log, int(table.version()))
        return replace(report, deleted_files=deleted, deleted_bytes=size, log_files=log.delete(superfluous))

    def _deletable(self, log: TableLog, table: DeltaTable) -> list[vacuum.Deletable]:
        """The data files that may go; none for now where another maintainer shortens the log that tells of them."""
        live = {file.path for file in data_files(self._lake.reopened(self._spec.name, table))}
        now = self._clock.machine_now()
        try:
            removed = log.removed()
        except FileNotFoundError:
            return []
        found = vacuum.removed_long_ago(log.files, removed, live, now - timedelta(hours=self._policy.reader_hours))
        if self._policy.thorough:
            found += vacuum.never_committed(log.files, {*live, *removed}, now)
        return found

    def _superfluous(self, log: TableLog, version: int) -> list[LogFile]:
        """The log's files that may go, once the checkpoint that replaces them is known to be whole and on the disk."""
        upkeep = self._spec.upkeep
        before = self._clock.machine_now() - timedelta(seconds=upkeep.log_seconds)
        base = log.base(version, commits=upkeep.log_commits, written_before=before)
        if base is None or log.last_checkpoint() < base.version:
            return []
        log.check(base)
        if self._lake.flushes:
            flush_checkpoint(Path(self._lake.url), self._spec.name, base.version)
        return log.before(base)

    @property
    def _now_ms(self) -> int:
        return int(self._clock.machine_now().timestamp() * 1000)


def _nothing(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.clear()


def _folded(rows: pl.DataFrame, table: DeltaTable, day: date) -> pl.DataFrame:
    return folding.fold(rows, folding.moved(table, day, folding.newly_born(rows)))


def _counted(report: TableReport, task: Task, files: int, rows: int) -> TableReport:
    if task.reason == "retention":
        return replace(report, expired_rows=report.expired_rows + rows)
    folded = rows if task.reason == "fold" else 0
    return replace(report, joined=report.joined + files, folded_rows=report.folded_rows + folded)
