"""The one module that speaks to the storage library.

A ``TableSpec`` says what a table is; a ``Lake`` opens tables below one URL; a ``TableWriter`` is the only way to append
results: one object per table and worker, whose every commit carries the worker's app transaction, so that a worker
that lost its place cannot write (facts measured in docs/lake.md).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
import pyarrow.fs as pafs
from deltalake import (
    CommitProperties,
    DeltaTable,
    PostCommitHookProperties,
    QueryBuilder,
    Schema,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.fs import DeltaStorageHandler
from deltalake.transaction import AddAction, RemoveAction

__all__ = [
    "UTC_MICROSECONDS",
    "Column",
    "DataFile",
    "DeltaError",
    "DeltaTable",
    "Lake",
    "TableSpec",
    "TableWriter",
    "Upkeep",
    "add_columns",
    "append",
    "checkpoint",
    "data_files",
    "drop_missing_files",
    "fence",
    "filesystem",
    "has_landed",
    "missing_columns",
    "partition_dates",
    "query",
    "replace_files",
    "scan_table",
    "stored_epoch",
    "to_arrow",
]

from v6.data.commit_file import TRANSACTIONS
from v6.data.file_system import check_file_system
from v6.data.flush import flush_table, was_flushed
from v6.data.refusal import check_room, raise_refusal
from v6.data.table_examination import Depth, first_fault, wrong_size
from v6.errors import LakeError, LeaseLost, TableDamaged, TableIncompatible

UTC_MICROSECONDS = pl.Datetime("us", "UTC")
SEQUENCE_BITS = 32  # an app transaction's version is the epoch, then the number of the commit within it
COMMIT_TRIES = 8
RECENT_COMMITS = 100
MAINTENANCE = "maintenance"  # its app transaction keeps two maintainers from the same files
COMPRESSION = WriterProperties(compression="ZSTD", compression_level=3)
# What reading may raise; of a file that was cut off, polars makes a panic.
READ_ERRORS = (DeltaError, pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, OSError)
HOOKS = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)  # maintenance cleans the log


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


@dataclass(frozen=True, kw_only=True, slots=True)
class DataFile:
    """One file of a table: its path below the table's folder, what the log says of it, and its statistics by column.

    ``rows`` is None where the log has no number; ``modified_ms`` is when its youngest row was written, ms since 1970.
    """

    path: str
    size_bytes: int
    rows: int | None
    modified_ms: int
    partition: tuple[tuple[str, str | None], ...] = ()
    statistics: Mapping[str, Any] = field(default_factory=dict)


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


class Lake:
    """The tables below one URL: a folder by default, an object store with ``storage_options``."""

    def __init__(
        self, url: str | Path, *, storage_options: Mapping[str, str] | None = None, flushes: bool = True
    ) -> None:
        """With ``flushes`` a commit to a local lake counts only when it is on the disk (docs/durability.md)."""
        self.url = str(url).rstrip("/")
        self.flushes = flushes and self.is_local
        self.storage_options = dict(storage_options) if storage_options else None

    @property
    def is_local(self) -> bool:
        """True for a folder of this machine."""
        return "://" not in self.url

    def uri(self, name: str) -> str:
        """Where a table lies."""
        return f"{self.url}/{name}"

    def check_usable(self) -> None:
        """Make sure a local lake is a folder that can be written, creating it when absent.

        Raises:
            LakeError: the path is a file or cannot be written.
        """
        if not self.is_local:
            return
        folder = Path(self.url)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise LakeError(f"the lake {self.url} is a file, not a folder: set V6_LAKE to a folder") from error
        except NotADirectoryError as error:
            raise LakeError(f"the lake {self.url} lies below a file, not a folder: set V6_LAKE to a folder") from error
        except OSError as error:
            raise LakeError(
                f"the lake {self.url} cannot be made ({error.strerror}): set V6_LAKE to a folder"
            ) from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise LakeError(f"the lake {self.url} cannot be written: check its owner and mode, or set V6_LAKE")

    def check_file_system(self) -> None:
        """Make sure that a local lake lies where commits are safe. Blocks. Raises LakeError, DiskRefuses."""
        if self.is_local:
            check_room(Path(self.url), 0)
            check_file_system(Path(self.url))

    def exists(self, name: str) -> bool:
        """True when the table has been created; the folder alone, which a crash leaves behind, is no table.

        Raises:
            LakeError: the object store cannot be reached.
        """
        if self.is_local:
            return _has_versions(Path(self.url) / name / "_delta_log")
        try:
            return DeltaTable.is_deltatable(self.uri(name), self.storage_options)
        except (DeltaError, OSError) as error:
            reason = _cause(error)
            raise LakeError(
                f"the lake {self.url} cannot be reached ({reason}): check address and credentials"
            ) from error

    def table_names(self) -> list[str]:
        """The tables that exist, by name (local lakes)."""
        return sorted(log.parent.name for log in Path(self.url).glob("*/_delta_log") if _has_versions(log))

    def open(self, name: str, *, version: int | None = None) -> DeltaTable:
        """A fresh table object of the newest version, or of an older one.

        Raises:
            TableDamaged: the table is absent or its log cannot be read.
        """
        try:
            return DeltaTable(self.uri(name), version=version, storage_options=self.storage_options)
        except TableNotFoundError as error:
            raise TableDamaged(
                f"the table {name} is not in the lake {self.url}: run a worker once to make it"
            ) from error
        except (DeltaError, OSError, ValueError) as error:
            raise self.damaged(name, error) from error

    def damaged(self, name: str, error: BaseException) -> LakeError:
        """What to raise for a table that could not be read: it names the file that is wrong, where one is."""
        fault = first_fault(Path(self.url), name, Depth.FOOTERS) if self.is_local else None
        if fault is None and not isinstance(error, DeltaError):
            return LakeError(f"the table {name} in {self.url} could not be read: {_first_line(error)}")
        return TableDamaged(
            f"the table {name} in {self.url} is damaged: {fault or _first_line(error)}: run `v6 doctor --tables`",
            table=name,
        )

    @contextmanager
    def reading(self, name: str) -> Iterator[None]:
        """Turns what goes wrong while rows of a table are read into an error that names table and file.

        Raises:
            TableDamaged: a file of the table is not as it must be.
            LakeError: the table could not be read; trying again may help.
        """
        try:
            yield
        except READ_ERRORS as error:
            raise self.damaged(name, error) from error

    def check_files(self, name: str, table: DeltaTable) -> None:
        """Make sure that every file a table object names is there with its size. Local lakes. Blocks.

        Raises:
            TableDamaged: one is not; the text names it.
        """
        if not self.is_local:
            return
        files = pa.table(table.get_add_actions(flatten=True)).select(["path", "size_bytes"]).to_pydict()
        for encoded, size in zip(files["path"], files["size_bytes"], strict=True):
            path = f"{self.uri(name)}/{unquote(encoded)}"
            what = wrong_size(path, size)
            if what:
                text = f"the table {name} in {self.url} is damaged: {path} {what}: run `v6 doctor --tables`"
                raise TableDamaged(text, table=name)

    def check_table(self, name: str, *, deep: bool = False) -> None:
        """Look whether a table's log is whole and its files are there; an absent table is right. Local lakes. Blocks.

        With ``deep`` every row is read.

        The storage library opens a table whose last commit was emptied without a word.

        Raises:
            TableDamaged: something is wrong; the text names the file.
        """
        if not self.is_local or not (self.exists(name) or was_flushed(Path(self.url), name)):
            return
        fault = first_fault(Path(self.url), name, Depth.ROWS if deep else Depth.SIZES)
        if fault is not None:
            text = f"the table {name} in {self.url} is damaged: {fault}: run `v6 doctor --tables`"
            raise TableDamaged(text, table=name)

    def reopened(self, name: str, table: DeltaTable | None) -> DeltaTable:
        """A table at its newest version, from an object of it that was opened before. Raises TableDamaged."""
        if table is None:
            return self.open(name)
        try:
            table.update_incremental()
        except (DeltaError, OSError):  # its log was cleaned in between, or the table made anew
            return self.open(name)
        return table

    def ensure(self, spec: TableSpec) -> DeltaTable:
        """The table, created when absent; equal creations at the same instant make one table.

        Columns that a newer version of v6 added to the spec are added to the stored table; they are null in its rows.

        Raises:
            TableIncompatible: the stored columns differ from the spec otherwise; the text shows how.
        """
        self.check_usable()
        if not self.exists(spec.name):
            self.check_room(spec.empty())
            self._create(spec)
            self.flush(spec.name, 0)
        return self._fitting(spec, self.open(spec.name))

    def _fitting(self, spec: TableSpec, table: DeltaTable) -> DeltaTable:
        _check_compatible(spec, table)
        for _ in range(COMMIT_TRIES):
            lacking = missing_columns(table, spec)
            if not lacking:
                return table
            try:
                add_columns(table, lacking)
                self.flush(spec.name, int(table.version()))
            except (DeltaError, OSError) as error:  # a rival added them at the same moment, or the disk refuses
                raise_refusal(error, self.url)
                failure = error
            table = self.open(spec.name)
        raise LakeError(f"the table {spec.name} could not be given {lacking[0].name}: {_first_line(failure)}")

    def flush(self, name: str, version: int) -> None:
        """Bring every commit of a table up to a version to the disk, whoever wrote it. Blocks.

        Raises:
            NotDurable: the system could not write; nothing that waits for this may count.
            TableDamaged: a commit in between is torn.
        """
        if self.flushes:
            flush_table(Path(self.url), name, version)

    def check_room(self, frame: pl.DataFrame) -> None:
        """Make sure that a local disk has room for rows and their commit. Raises DiskRefuses."""
        if self.is_local:
            check_room(Path(self.url), int(frame.estimated_size()))

    def scan(self, spec: TableSpec) -> pl.LazyFrame:
        """All rows, lazily: filters and columns are pushed down to the files. No rows when the table is absent.

        Raises:
            TableDamaged: the log cannot be read, or a file is not there with its size.
        """
        if not self.exists(spec.name):
            return spec.empty().lazy()
        table = self.open(spec.name)
        self.check_files(spec.name, table)
        lacking = {c.name: pl.lit(None, c.dtype) for c in missing_columns(table, spec) if c.nullable}
        return scan_table(table).with_columns(**lacking).select(spec.schema.names())

    def _create(self, spec: TableSpec) -> None:
        try:
            DeltaTable.create(
                self.uri(spec.name),
                schema=spec.empty().to_arrow(compat_level=pl.CompatLevel.oldest()).schema,
                mode="ignore",
                partition_by=list(spec.partition_by),
                name=spec.name,
                description=spec.description,
                configuration=dict(spec.configuration),
                storage_options=self.storage_options,
            )
        except (DeltaError, OSError) as error:
            raise_refusal(error, self.url)
            if not self.exists(spec.name):  # a rival may have created it in between
                raise LakeError(f"the table {spec.name} cannot be made in {self.url}: {_first_line(error)}") from error


def scan_table(table: DeltaTable) -> pl.LazyFrame:
    """The rows of one table object at its version, lazily."""
    return pl.scan_delta(table)


def partition_dates(table: DeltaTable) -> list[date]:
    """The values of the partition ``date`` that have files at this table's version; reads the log only."""
    return [date.fromisoformat(partition["date"]) for partition in table.partitions()]


def query(lake: Lake, names: Sequence[str], sql: str) -> pl.DataFrame:
    """The answer to a SELECT over these tables, each under its own name, run by the library's DataFusion.

    Raises:
        DeltaError: the text cannot be run.
        TableDamaged: a table cannot be opened, or a file of it is not as it must be.
    """
    builder = QueryBuilder()
    for name in names:
        table = lake.open(name)
        lake.check_files(name, table)
        builder = builder.register(name, table)
    return pl.DataFrame(pa.table(builder.execute(sql)))


def missing_columns(table: DeltaTable, spec: TableSpec) -> list[Column]:
    """The spec's columns that the stored table does not have."""
    stored = scan_table(table).collect_schema()
    return [column for column in spec.columns if column.name not in stored]


def add_columns(table: DeltaTable, columns: Sequence[Column]) -> None:
    """Give the stored table columns, null in every row so far. Writers that are open commit once more.

    Raises:
        DeltaError: the commit did not land.
    """
    arrow = pl.DataFrame(schema={column.name: column.dtype for column in columns})
    table.alter.add_columns(Schema.from_arrow(to_arrow(arrow).schema).fields)


def drop_missing_files(table: DeltaTable) -> None:
    """Commit that the files which the table names and which are not there belong to it no more.

    Raises:
        DeltaError: the commit did not land.
    """
    table.repair()


def filesystem(table: DeltaTable) -> pafs.FileSystem:
    """The folder of a table as a pyarrow file system, on any store."""
    return pafs.PyFileSystem(DeltaStorageHandler.from_table(table._table))


def to_arrow(frame: pl.DataFrame) -> pa.Table:
    """A frame as Arrow with plain strings, which every Delta reader knows."""
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


def append(
    table: DeltaTable,
    frame: pl.DataFrame,
    *,
    app_transactions: Mapping[str, int] | None = None,
    token: str | None = None,
) -> int:
    """Append rows in one commit from this very table object and return the table's version afterwards.

    ``token`` is stored in the commit, so that its writer can find it again.

    Raises:
        DeltaError: the commit did not land, or it is unknown whether it did.
    """
    transactions = [Transaction(app_id, version) for app_id, version in (app_transactions or {}).items()]
    rows = _with_stored_columns(table, frame)
    metadata = {TRANSACTIONS: str(len(transactions)), **({"token": token} if token else {})}
    write_deltalake(
        table,
        to_arrow(rows),
        mode="append",
        writer_properties=COMPRESSION,
        commit_properties=CommitProperties(custom_metadata=metadata, app_transactions=transactions or None),
        post_commithook_properties=HOOKS,
    )
    return int(table.version())


def has_landed(table: DeltaTable, token: str) -> bool:
    """True when a commit with that token is among the last ones up to the object's version."""
    return any(commit.get("token") == token for commit in table.history(RECENT_COMMITS))


def data_files(table: DeltaTable) -> list[DataFile]:
    """The files of a table object's version."""
    rows = pl.DataFrame(pa.table(table.get_add_actions(flatten=True)))
    return [_data_file(row) for row in rows.iter_rows(named=True)]


def checkpoint(table: DeltaTable) -> None:
    """Write down all files of the object's version, so that readers need not read the commits before it.

    Raises:
        DeltaError: it could not be written.
    """
    table.create_checkpoint()


def _data_file(row: Mapping[str, Any]) -> DataFile:
    names = [name.removeprefix("partition.") for name in row if name.startswith("partition.")]
    values = [(name, row[f"partition.{name}"]) for name in names]
    return DataFile(
        path=unquote(row["path"]),  # the log has it encoded
        size_bytes=row["size_bytes"],
        rows=row["num_records"],
        modified_ms=row["modification_time"],
        partition=tuple((name, None if value is None else str(value)) for name, value in values),
        statistics={name: value for name, value in row.items() if name.startswith(("min.", "max."))},
    )


def replace_files(
    table: DeltaTable,
    removed: Sequence[DataFile],
    added: Sequence[tuple[DataFile, str]],
    *,
    deleted_ms: int,
    reason: str,
    retries: int = 0,
) -> int:
    """Put files in place of others, in one commit that brings nobody new rows; the table's version afterwards.

    ``added`` are files that lie in the table's folder already, each with its statistics as the log's JSON. Without
    ``retries`` the commit is refused unless it is the very next version after the object's; with them commits of
    others may come in between, but no other maintainer's. Appends of others, from whatever version, are never refused
    because of it (docs/maintenance.md).

    Raises:
        DeltaError: the commit did not land, or it is unknown whether it did.
    """
    adds = [
        AddAction(file.path, file.size_bytes, dict(file.partition), file.modified_ms, False, stats)
        for file, stats in added
    ]
    removes = [RemoveAction(f.path, False, deleted_ms, f.size_bytes, dict(f.partition)) for f in removed]
    table.create_write_transaction(
        [*adds, *removes],
        "append",
        table.schema(),
        table.metadata().partition_columns,
        commit_properties=CommitProperties(
            custom_metadata={"maintenance": reason, TRANSACTIONS: "1"},
            max_commit_retries=retries,
            app_transactions=[Transaction(MAINTENANCE, (table.transaction_version(MAINTENANCE) or 0) + 1)],
        ),
        post_commithook_properties=PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False),
    )
    table.update_incremental()  # the library leaves the object at the version before
    return int(table.version())


class TableWriter:
    """Appends results for one worker to one table; refused once somebody fenced the worker's app id."""

    def __init__(self, lake: Lake, spec: TableSpec, *, app_id: str, epoch: int) -> None:
        """Open the table and claim the app id for this epoch (an empty commit), fencing every earlier epoch.

        A second writer of one epoch goes on where the first left off.

        Raises:
            LeaseLost: a later epoch has been here, or somebody fenced this one.
            LakeError: the table cannot be opened or written.
        """
        self.spec = spec
        self._lake = lake
        self._app_id = app_id
        self._table = lake.ensure(spec)
        self._version = self._table.transaction_version(app_id) or 0
        first = epoch << SEQUENCE_BITS
        if self._version >= ((epoch + 1) << SEQUENCE_BITS) - 1:
            raise LeaseLost(self._fenced_text())
        if self._version < first:
            self._commit(spec.empty(), first)

    def append(self, frame: pl.DataFrame) -> int:
        """Append the rows, conformed to the table, in one commit that is on the disk; the table's version afterwards.

        Raises:
            TableIncompatible: the rows do not fit the table.
            NotDurable: the rows landed and could not be flushed.
            LeaseLost: a later epoch of this worker, or whoever took over from it, has fenced it; nothing was written.
            LakeError: the commit did not land.
        """
        return self._commit(self.spec.conform(frame), self._version + 1)

    def flush(self) -> int:
        """Make sure that whatever this object has seen of the table is on the disk; the table's version."""
        version = int(self._table.version())
        self._lake.flush(self.spec.name, version)
        return version

    def _commit(self, frame: pl.DataFrame, version: int) -> int:
        for _ in range(COMMIT_TRIES):
            self._check_not_fenced()
            self._lake.check_room(frame)
            try:
                append(self._table, frame, app_transactions={self._app_id: version})
            except (DeltaError, OSError) as error:
                failure = error
                self._table = self._lake.open(self.spec.name)  # a failed commit may have landed all the same
                if self._table.transaction_version(self._app_id) != version:
                    raise_refusal(error, self._lake.url)
                    continue
            self._version = version
            return self.flush()
        raise LakeError(f"rows for {self.spec.name} could not be appended: {_first_line(failure)}") from failure

    def _check_not_fenced(self) -> None:
        if (self._table.transaction_version(self._app_id) or 0) != self._version:
            raise LeaseLost(self._fenced_text())

    def _fenced_text(self) -> str:
        return f"worker {self._app_id} was fenced from {self.spec.name}: another has taken over; start it again"


def _has_versions(log: Path) -> bool:
    """Whether a log's folder holds a commit or a checkpoint; what was staged and never put in place is neither."""
    try:
        with os.scandir(log) as entries:
            return any(entry.name.endswith((".json", ".checkpoint.parquet")) for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return False


def stored_epoch(lake: Lake, spec: TableSpec, app_id: str) -> int:
    """The last epoch in which a worker wrote to a table, or was fenced from it; 0 when never. Blocks."""
    if not lake.exists(spec.name):
        return 0
    return ((lake.open(spec.name).transaction_version(app_id) or 0) + 1) >> SEQUENCE_BITS


def fence(lake: Lake, spec: TableSpec, *, app_id: str, epoch: int) -> None:
    """Refuse every commit that a worker makes in an epoch before ``epoch``, also by writers it has yet to open. Blocks.

    A table that is absent is made, so that the worker cannot make it either.

    Raises:
        LakeError: the commit did not land: nobody is fenced.
    """
    last = (epoch << SEQUENCE_BITS) - 1
    failure: Exception | None = None
    for _ in range(COMMIT_TRIES):
        table = lake.open(spec.name) if lake.exists(spec.name) else lake.ensure(spec)
        if (table.transaction_version(app_id) or 0) >= last:
            lake.flush(spec.name, int(table.version()))
            return
        try:
            append(table, scan_table(table).head(0).collect(), app_transactions={app_id: last})
        except (DeltaError, OSError) as error:
            failure = error
            continue
        lake.flush(spec.name, int(table.version()))
        return
    raise LakeError(f"worker {app_id} could not be fenced from {spec.name}: {failure}") from failure


def _check_compatible(spec: TableSpec, table: DeltaTable) -> None:
    stored = scan_table(table).collect_schema()
    different = [
        f"{name} is {stored[name]} and must be {dtype}"
        for name, dtype in spec.schema.items()
        if name in stored and stored[name] != dtype
    ]
    different += [f"{c.name} is not there and is never null" for c in missing_columns(table, spec) if not c.nullable]
    if different:
        raise TableIncompatible(
            f"the table {spec.name} does not fit this version: {'; '.join(different)}: use the version that wrote it, "
            "or `v6 import` it into a new lake"
        )


def _with_stored_columns(table: DeltaTable, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with null for columns that a newer version added while this writer was open."""
    if all(field.name in frame.columns for field in table.schema().fields):
        return frame
    stored = scan_table(table).collect_schema()
    return frame.select(
        pl.col(name) if name in frame.columns else pl.lit(None, dtype).alias(name) for name, dtype in stored.items()
    )


def _cause(error: BaseException) -> str:
    """The innermost of the causes that the object store's library lists, one a line behind a coloured arrow."""
    lines = re.sub(r"\x1b\[\d+m", "", str(error)).strip().splitlines()
    return lines[-1].strip(" ↳") if lines else type(error).__name__


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
