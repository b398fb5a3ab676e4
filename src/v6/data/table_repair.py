"""Repairing one table of a local lake; nothing is deleted: what is taken away lies in ``.damaged/`` afterwards.

Versions are never taken back, for a writer that is still open would leave a hole in the log: a torn commit is replaced
by an empty one of the same number. What it had written is looked for among the data files that no commit names and
appended again, as far as it is not there and somebody was told that it is; whoever has it open must open it anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl

from v6.data.commit_file import REPAIR_END, REPAIR_OPERATION, commit_path
from v6.data.delta import DeltaError, DeltaTable, append, drop_missing_files, scan_table
from v6.data.flush import HINT_NAME, LOG, flush_paths
from v6.data.lake import Lake
from v6.data.table_examination import Examination, orphans, unreadable, unreadable_rows
from v6.data.table_log import BEGINS_ANEW
from v6.data.table_spec import TableSpec
from v6.data.table_writer import SEQUENCE_BITS
from v6.errors import LakeError, TableDamaged

ASIDE = ".damaged"  # folder of the lake
SLACK_SECONDS = 3600.0  # a data file is older than its commit, by less than this
SEQUENCE_END = (1 << SEQUENCE_BITS) - 1
FILES_AT_ONCE = 64


@dataclass(kw_only=True)
class Aside:
    """Where the files that a repair takes away are kept: a folder for each repair, laid out as the lake is."""

    lake: Path
    folder: Path

    @classmethod
    def at(cls, lake: Path, now: datetime) -> Aside:
        """For a repair that begins ``now``."""
        return cls(lake=lake, folder=lake / ASIDE / f"{now:%Y%m%dT%H%M%S%fZ}")

    def take(self, path: Path) -> None:
        """Move a file or a folder aside, if it is there."""
        if not path.exists():
            return
        target = self.folder / path.relative_to(self.lake)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
        flush_paths([path.parent, target.parent])


@dataclass(frozen=True, kw_only=True, slots=True)
class Acknowledged:
    """What the queue says of the requests of one result table.

    ``rows`` is how many rows each that ended as a success has written; ``others`` are those that did not end so.
    """

    rows: Mapping[str, int] = field(default_factory=dict)
    others: frozenset[str] = frozenset()


@dataclass(kw_only=True)
class Repaired:
    """What was done to one table. ``short`` are finished requests and how many of their rows are lost."""

    table: str
    done: list[str] = field(default_factory=list)
    rows_found: int = 0
    rows_lost: int = 0
    short: dict[str, int] = field(default_factory=dict)


class TableRepair:
    """The repair of one table, as examined. Safe to repeat, also after a crash in its middle."""

    def __init__(
        self, lake: Lake, spec: TableSpec | None, examination: Examination, *, aside: Aside, acknowledged: Acknowledged
    ) -> None:
        """``spec`` is None for a table that v6 does not know: then what torn commits had written is not found again."""
        self._lake = lake
        self._spec = spec
        self._found = examination
        self._log = examination.log
        self._aside = aside
        self._acknowledged = acknowledged
        self._is_new = self._log.is_lost or not self._log.has_metadata
        self._done = Repaired(table=examination.table)
        self._marker = examination.folder / BEGINS_ANEW

    def run(self) -> Repaired:
        """Make the table usable again, losing as little as can be.

        Raises:
            LakeError: it cannot be repaired; what was done so far stays, and the files taken away are kept.
        """
        try:
            self._mend()
            table = self._lake.open(self._found.table) if self._spec is None else self._lake.ensure(self._spec)
            if self._log.torn_commits or self._is_new:
                if self._spec is not None:
                    self._restore_rows(table, self._spec)
                self._end(table)
            if self._acknowledged.rows and (self._log.torn_commits or self._is_new or self._done.rows_lost):
                self._done.short = _lacking(table, self._acknowledged)
            self._lake.flush(self._found.table, int(table.version()))
            self._marker.unlink(missing_ok=True)
            flush_paths([self._found.folder])
        except (DeltaError, OSError, pl.exceptions.PolarsError) as error:
            raise LakeError(f"the table {self._found.table} could not be repaired: {error}") from error
        return self._done

    # The log and the files it names

    def _mend(self) -> None:
        if self._is_new:
            self._start_anew()
            return
        for fault in self._log.faults:
            self._aside.take(fault.path)
            if fault.is_checkpoint:
                self._aside.take(self._log.log / HINT_NAME)
                self._note(f"took away {fault.path.name}, which {fault.what}")
            else:
                _write_empty_commit(self._log.log, fault.version, fault.what)
                self._note(f"replaced commit {fault.version}, which {fault.what}, by an empty one")
        self._drop_lost_files()

    def _start_anew(self) -> None:
        """No version can be made any more. The data files are found as if their commits were torn."""
        if self._spec is None:
            raise TableDamaged(
                f"the table {self._found.table} lost its columns with its log and is none of v6: restore a backup"
            )
        _write_whole(self._marker, json.dumps(self._fences()))
        self._aside.take(self._found.folder / LOG)
        self._lake.make(self._spec)
        self._log.named.clear()
        self._log.written_at = 0.0
        self._note("its log could not be read any more: began a new one")

    def _drop_lost_files(self) -> None:
        if not self._found.file_faults:
            return
        for fault in self._found.file_faults:
            self._aside.take(fault.path)
            self._note(f"dropped {fault}")
        drop_missing_files(self._lake.open(self._found.table))
        self._done.rows_lost = sum(fault.file.rows or 0 for fault in self._found.file_faults)

    # What torn commits had written

    def _restore_rows(self, table: DeltaTable, spec: TableSpec) -> None:
        paths = self._readable_orphans()
        for start in range(0, len(paths), FILES_AT_ONCE):
            self._append_missing(table, spec, paths[start : start + FILES_AT_ONCE])
        if self._done.rows_found:
            self._note(f"appended {self._done.rows_found:,} rows again that torn commits had written")

    def _end(self, table: DeltaTable) -> None:
        """The commit that ends a repair makes every writer that is open begin anew."""
        append(table, scan_table(table).head(0).collect(), app_transactions=self._fences(), token=REPAIR_END)

    def _fences(self) -> dict[str, int]:
        torn = len(self._log.torn_commits)
        return {app_id: _fence(version, torn) for app_id, version in self._log.last_transactions().items()}

    def _readable_orphans(self) -> list[Path]:
        readable = []
        since = self._log.written_at - SLACK_SECONDS
        for path in [path for path in orphans(self._found) if path.stat().st_mtime >= since]:
            if what := unreadable(path) or unreadable_rows(path):
                self._aside.take(path)
                self._note(f"took away {path}, which a torn commit had written and which {what}")
            else:
                readable.append(path)
        return readable

    def _append_missing(self, table: DeltaTable, spec: TableSpec, paths: Sequence[Path]) -> None:
        rows = _missing_rows(table, spec, pl.concat(_read(path, self._found.folder, spec) for path in paths))
        if not self._is_new:
            rows = self._told(table, rows)
        if rows.height:
            append(table, rows)
            self._done.rows_found += rows.height
        for path in paths:
            self._aside.take(path)

    def _told(self, table: DeltaTable, rows: pl.DataFrame) -> pl.DataFrame:
        """Leave out rows of requests that will be fetched again, and of those that have all their rows already."""
        if not (self._acknowledged.rows or self._acknowledged.others):
            return rows
        complete = self._acknowledged.rows.keys() - _lacking(table, self._acknowledged).keys()
        left_out = pl.col("request_id").is_in([*self._acknowledged.others, *complete])
        return rows.filter(~left_out.fill_null(value=False))

    def _note(self, text: str) -> None:
        self._done.done.append(text)


def _write_empty_commit(log: Path, version: int, what: str) -> None:
    path = commit_path(log, version)
    info: dict[str, Any] = {"timestamp": 0, "operation": REPAIR_OPERATION, "engineInfo": "v6 doctor"}
    info["operationParameters"] = {"commit": what}
    _write_whole(path, json.dumps({"commitInfo": info}))


def _write_whole(path: Path, line: str) -> None:
    """The file is there with its line, on the disk, or not at all."""
    draft = path.with_name(f"{path.name}.repair")
    draft.write_text(f"{line}\n", encoding="utf-8")
    flush_paths([draft])
    draft.rename(path)
    flush_paths([path.parent])


def _fence(version: int, torn: int) -> int:
    """A version beyond what any open writer can have or try; the last of an epoch fences that epoch, and stays."""
    is_last = version > SEQUENCE_END and version & SEQUENCE_END == SEQUENCE_END
    return version if is_last else version + torn + 2


def _read(path: Path, folder: Path, spec: TableSpec) -> pl.DataFrame:
    """The rows of a data file, with the columns that its folders stand for."""
    frame = pl.read_parquet(path, hive_partitioning=False)
    for part in path.relative_to(folder).parts[:-1]:
        name, _, text = part.partition("=")
        value = None if text == "__HIVE_DEFAULT_PARTITION__" else unquote(text)
        if name in spec.schema:
            frame = frame.with_columns(_partition_value(value, spec.schema[name]).alias(name))
    return spec.conform(frame.select(name for name in frame.columns if name in spec.schema))


def _partition_value(text: str | None, dtype: pl.DataType) -> pl.Expr:
    if text is not None and dtype == pl.Date:
        return pl.lit(date.fromisoformat(text))
    return pl.lit(text, pl.String).cast(dtype)


def _missing_rows(table: DeltaTable, spec: TableSpec, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows whose key and request are not in the table, each once."""
    identity = list(dict.fromkeys([*spec.key, *(["request_id"] if "request_id" in spec.schema else [])]))
    stored = scan_table(table).select(identity).unique()
    missing = rows.lazy().join(stored, on=identity, how="anti", nulls_equal=True).collect()
    return missing.unique(identity, keep="first", maintain_order=True)


def _lacking(table: DeltaTable, acknowledged: Acknowledged) -> dict[str, int]:
    """How many rows each finished request lacks, where it lacks any."""
    counts = scan_table(table).group_by("request_id").len().collect()
    there = dict(counts.iter_rows())
    lacking = {request_id: rows - there.get(request_id, 0) for request_id, rows in acknowledged.rows.items()}
    return {request_id: rows for request_id, rows in lacking.items() if rows > 0}
