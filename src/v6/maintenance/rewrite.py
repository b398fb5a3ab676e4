"""Writes some files of a table anew and swaps them in: prepared and compared first, then one commit or none.

The new file is read back from the disk and compared with what it stands for by number of rows and by a digest of their
content, whatever their order. The swap starts from the newest snapshot, which must still have every file that was read.
"""

from __future__ import annotations

import json
import math
import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from v6.clock import Clock
from v6.data.delta import (
    GROUP_ROWS,
    DataFile,
    DeltaError,
    DeltaTable,
    data_files,
    filesystem,
    replace_files,
    scan_table,
    to_arrow,
)
from v6.data.lake import Lake
from v6.data.table_spec import TableSpec
from v6.errors import LakeError, TableIncompatible

PAGE_BYTES = 8192
TRIES = 40
STRICT_TRIES = 3  # after so many, appends may come in between: they touch none of the files
PATIENT_RETRIES = 100
LONGEST_PAUSE_SECONDS = 0.5
SEEDS = (1_779_033_703, 3_144_134_277)
STATISTICS_COLUMNS = "delta.dataSkippingStatsColumns"
STATISTICS_NUMBER = "delta.dataSkippingNumIndexedCols"
DEFAULT_STATISTICS = 32

Change = Callable[[pl.DataFrame], pl.DataFrame]


class ContentDiffers(LakeError):
    """What was written is not what was read: nothing was changed; the disk or the memory cannot be trusted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Digest:
    """Rows and a digest of their content that does not depend on their order; equal rows count as often as they are."""

    rows: int
    sums: tuple[int, ...]

    @classmethod
    def of(cls, frame: pl.DataFrame) -> Digest:
        """The digest of a frame; columns in any order."""
        ordered = frame.select(sorted(frame.columns))
        return cls(rows=frame.height, sums=tuple(_sum(ordered.hash_rows(seed=seed)) for seed in SEEDS))


@dataclass(frozen=True, kw_only=True, slots=True)
class Rewritten:
    """What a rewrite did. ``is_committed`` is False where others were at the same files first, or it is left so."""

    is_committed: bool
    files: int = 0
    rows_before: int = 0
    rows_after: int = 0
    size_before: int = 0
    size_after: int = 0


class Rewriter:
    """Rewrites files of one table."""

    def __init__(self, lake: Lake, spec: TableSpec, clock: Clock) -> None:
        self._lake = lake
        self._spec = spec
        self._clock = clock
        self._newest: DeltaTable | None = None  # never the object that was read from, which stays at its snapshot

    def rewrite(
        self,
        table: DeltaTable,
        sources: Sequence[DataFile],
        *,
        reason: str,
        change: Change | None = None,
        is_whole_partition: bool = False,
    ) -> Rewritten:
        """Put one sorted file in place of some files of one partition, after ``change`` has chosen rows from theirs.

        With ``is_whole_partition`` nothing is committed when the partition has got other files since.

        Raises:
            ContentDiffers: the new file does not hold what was to be written; nothing was committed.
            DiskRefuses: the disk has no room for the new file.
            TableDamaged: a file of the table is not as it must be.
            TableIncompatible: the table has deletion vectors: its files alone do not say which rows there are.
            LakeError: the files cannot be read or written.
        """
        _check_plain(table, self._spec.name)
        files = folder_of(self._lake, table)
        try:
            with self._lake.reading(self._spec.name):
                before = read_files(table, files, sources)
            wanted = before if change is None else change(before)
            done = Rewritten(
                is_committed=False,
                files=len(sources),
                rows_before=before.height,
                rows_after=wanted.height,
                size_before=sum(file.size_bytes for file in sources),
            )
            if change is not None and wanted.height == before.height and len(sources) == 1:
                return done
            added = self._write(table, files, sources, wanted)
            return self._swap(sources, added, files, done, reason=reason, is_whole_partition=is_whole_partition)
        except OSError as error:
            raise LakeError(f"the table {self._spec.name} could not be rewritten: {error}") from error

    def _write(
        self, table: DeltaTable, files: pafs.FileSystem, sources: Sequence[DataFile], wanted: pl.DataFrame
    ) -> list[tuple[DataFile, str]]:
        """Write the new file, read it back and compare; none where no row is left."""
        if wanted.is_empty():
            return []
        self._lake.check_room(wanted)
        partition = sources[0].partition
        ordered = wanted.sort([name for name in self._spec.sort_by if name in wanted.columns], nulls_last=True)
        stored = ordered.drop(name for name, _ in partition)
        path = str(PurePosixPath(sources[0].path).parent / f"part-00000-{uuid.uuid4()}-c000.zstd.parquet")
        with files.open_output_stream(path) as sink:
            write_sorted(stored, sink)
        file = DataFile(
            path=path,
            size_bytes=int(files.get_file_info(path).size),
            rows=stored.height,
            modified_ms=max(source.modified_ms for source in sources),
            partition=partition,
        )
        try:
            self._compare(files, path, stored)
        except ContentDiffers:
            _discard(files, [file])
            raise
        return [(file, statistics(stored, _statistics_columns(table, stored)))]

    def _compare(self, files: pafs.FileSystem, path: str, wanted: pl.DataFrame) -> None:
        written = Digest.of(read_file(files, path).cast(wanted.schema))
        expected = Digest.of(wanted)
        if written != expected:
            raise ContentDiffers(
                f"the table {self._spec.name}: {path} was written anew with {written.rows} rows and reads "
                f"otherwise than the {expected.rows} rows it stands for: nothing was changed; look at disk and memory"
            )

    def _swap(
        self,
        sources: Sequence[DataFile],
        added: Sequence[tuple[DataFile, str]],
        files: pafs.FileSystem,
        done: Rewritten,
        *,
        reason: str,
        is_whole_partition: bool,
    ) -> Rewritten:
        """Commit from the newest snapshot, again and again until no other commit comes in between; or give it up."""
        for attempt in range(TRIES):
            table = self._newest = self._lake.reopened(self._spec.name, None if attempt else self._newest)
            live = {file.path: file for file in data_files(table)}
            if added and added[0][0].path in live:  # a commit that failed had landed all the same
                return self._finished(table, done, added)
            if not _is_as_read(live, sources, is_whole_partition=is_whole_partition):
                if not attempt:  # later, a commit may be in doubt: then the file is left to the vacuum
                    _discard(files, [file for file, _ in added])
                return done
            try:
                retries = 0 if attempt < STRICT_TRIES else PATIENT_RETRIES
                replace_files(table, sources, added, deleted_ms=self._now_ms(), reason=reason, retries=retries)
            except (DeltaError, OSError):
                self._clock.pause(random.uniform(0, min(LONGEST_PAUSE_SECONDS, 0.005 * 2**attempt)))
                continue
            return self._finished(table, done, added)
        return done

    def _finished(self, table: DeltaTable, done: Rewritten, added: Sequence[tuple[DataFile, str]]) -> Rewritten:
        self._lake.flush(self._spec.name, int(table.version()))
        return Rewritten(
            is_committed=True,
            files=done.files,
            rows_before=done.rows_before,
            rows_after=done.rows_after,
            size_before=done.size_before,
            size_after=sum(file.size_bytes for file, _ in added),
        )

    def _now_ms(self) -> int:
        return int(self._clock.machine_now().timestamp() * 1000)


def _check_plain(table: DeltaTable, name: str) -> None:
    if "deletionVectors" in (table.protocol().reader_features or ()):
        raise TableIncompatible(
            f"the table {name} has deletion vectors, so its files are left as they are: let the program that turned "
            "them on drop the feature, or `v6 import` a plain copy into a new lake"
        )


def write_sorted(rows: pl.DataFrame, sink: BinaryIO | pa.NativeFile) -> None:
    """Rows, sorted and without their partition's columns, as one data file.

    Its pages are small, so that a reader of few rows unpacks little. A dictionary of measurements or instants would be
    as long as they are; instants are stored as differences, which takes a fifth off the file.
    """
    instants = [name for name, dtype in rows.schema.items() if isinstance(dtype, pl.Datetime)]
    repeated = [name for name, dtype in rows.schema.items() if name not in instants and not dtype.is_float()]
    pq.write_table(
        to_arrow(rows),
        sink,
        compression="zstd",
        compression_level=3,
        row_group_size=GROUP_ROWS,
        data_page_size=PAGE_BYTES,
        use_dictionary=repeated,
        column_encoding=dict.fromkeys(instants, "DELTA_BINARY_PACKED"),
    )


def folder_of(lake: Lake, table: DeltaTable) -> pafs.FileSystem:
    """The table's folder."""
    name = table.table_uri.rstrip("/").rpartition("/")[2]
    return pafs.SubTreeFileSystem(lake.uri(name), pafs.LocalFileSystem()) if lake.is_local else filesystem(table)


def read_files(table: DeltaTable, files: pafs.FileSystem, sources: Sequence[DataFile]) -> pl.DataFrame:
    """The rows of some files of one partition, with every column of the stored table."""
    schema = scan_table(table).collect_schema()
    partition = dict(sources[0].partition)
    frames = [read_file(files, source.path) for source in sources]
    rows = pl.concat(frames, how="diagonal_relaxed")
    return rows.select(
        _literal(partition[name], dtype).alias(name)
        if name in partition
        else (pl.col(name).cast(dtype) if name in rows.columns else pl.lit(None, dtype).alias(name))
        for name, dtype in schema.items()
    )


def _literal(value: str | None, dtype: pl.DataType) -> pl.Expr:
    """A partition's value, which the log has as text."""
    return pl.lit(date.fromisoformat(value) if value is not None and dtype == pl.Date else value, dtype)


def read_file(files: pafs.FileSystem, path: str) -> pl.DataFrame:
    """The rows of one file."""
    with files.open_input_file(path) as source:
        return pl.DataFrame(pq.ParquetFile(source).read())


def statistics(frame: pl.DataFrame, columns: Sequence[str]) -> str:
    """What the log says of a file: rows, and of these columns the least and greatest value and the nulls, as JSON."""
    present = [name for name in columns if frame[name].null_count() < frame.height]
    least = {name: _as_json(frame[name].min()) for name in present}
    greatest = {name: _as_json(frame[name].max(), is_greatest=True) for name in present}
    return json.dumps(
        {
            "numRecords": frame.height,
            "minValues": {name: value for name, value in least.items() if value is not None},
            "maxValues": {name: value for name, value in greatest.items() if value is not None},
            "nullCount": {name: frame[name].null_count() for name in columns},
        }
    )


def _is_as_read(live: dict[str, DataFile], sources: Sequence[DataFile], *, is_whole_partition: bool) -> bool:
    read = {file.path for file in sources}
    if not is_whole_partition:
        return read <= live.keys()
    return read == {path for path, file in live.items() if file.partition == sources[0].partition}


def _statistics_columns(table: DeltaTable, frame: pl.DataFrame) -> list[str]:
    configuration = table.metadata().configuration
    named = configuration.get(STATISTICS_COLUMNS)
    if named:
        return [name.strip() for name in named.split(",") if name.strip() in frame.columns]
    return frame.columns[: max(0, int(configuration.get(STATISTICS_NUMBER, DEFAULT_STATISTICS)))]


def _as_json(value: Any, *, is_greatest: bool = False) -> Any:
    """A bound as the log writes it; None where it has none: NaN, and texts too long to repeat."""
    match value:
        case datetime():
            micros = value.microsecond + (999 if is_greatest else 0)  # the log's bounds are in milliseconds
            whole = value.replace(microsecond=0).timestamp() + micros // 1000 / 1000
            return datetime.fromtimestamp(whole, tz=value.tzinfo).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        case date():
            return value.isoformat()
        case float() if not math.isfinite(value):
            return None
        case str() if len(value) > 64:
            return None
    return value


def _sum(hashes: pl.Series) -> int:
    return int(hashes.cast(pl.Int128).sum() or 0) if len(hashes) else 0


def _discard(files: pafs.FileSystem, discarded: Sequence[DataFile]) -> None:
    """Remove files that no commit names."""
    for file in discarded:
        files.delete_file(file.path)
