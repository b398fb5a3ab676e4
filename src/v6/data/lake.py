"""The tables below one URL: opening, making, reading and flushing them, and what is said of one that is damaged."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import polars as pl
import pyarrow as pa

from v6.data.delta import (
    COMMIT_TRIES,
    DeltaError,
    DeltaTable,
    TableNotFoundError,
    add_columns,
    arrow_table,
    first_line,
    missing_columns,
    scan_table,
)
from v6.data.file_system import check_file_system
from v6.data.flush import flush_table, forget_mark, was_flushed
from v6.data.local_table import LocalTable, check_path, place_of
from v6.data.opened_table import OpenedTable
from v6.data.refusal import check_room, raise_refusal
from v6.data.table_examination import Depth, data_files_in, first_fault, wrong_size
from v6.data.table_log import BEGINS_ANEW
from v6.data.table_spec import TableSpec
from v6.errors import LakeError, TableDamaged, TableIncompatible

# What reading may raise; of a file that was cut off, polars makes a panic.
READ_ERRORS = (DeltaError, pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, OSError)
# How the storage library and polars name what a table uses and they do not know.
UNSUPPORTED = re.compile(r"Unsupported|does not support")


class Lake:
    """The tables below one URL: a folder by default, an object store with ``storage_options``."""

    def __init__(
        self, url: str | Path, *, storage_options: Mapping[str, str] | None = None, flushes: bool = True
    ) -> None:
        """With ``flushes`` a commit to a local lake counts only when it is on the disk (docs/durability.md).

        Raises:
            LakeError: a local folder's path has characters that the storage library does not read right.
        """
        self.url = place_of(str(url))
        if self.is_local:
            check_path(Path(self.url))
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

    def check_no_file(self) -> None:
        """Make sure that no file stands where a local lake's folder is or would be. Raises LakeError."""
        if not self.is_local:
            return
        folder = Path(self.url).absolute()
        try:
            standing = next(path for path in (folder, *folder.parents) if path.exists())
        except OSError as error:
            raise LakeError(f"the lake {self.url} cannot be looked at ({error.strerror}): set V6_LAKE") from error
        if not standing.is_dir():
            where = "is a file" if standing == folder else "lies below a file"
            raise LakeError(f"the lake {self.url} {where}, not a folder: set V6_LAKE to a folder")

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

    def is_lost(self, name: str) -> bool:
        """True for a table that was there and whose log has no version left: data files, or the mark of how far it was
        flushed, tell (local lakes)."""
        if not self.is_local or self.exists(name):
            return False
        folder = Path(self.url)
        was_there = was_flushed(folder, name) or next(data_files_in(folder / name), None) is not None
        return was_there and not self.exists(name)  # another may have made it, and written, in between

    def check_not_lost(self, name: str) -> None:
        """Make sure that a table which is absent never was there. Raises TableDamaged."""
        if self.is_lost(name):
            raise self.damage(name, f"{self.uri(name)}/_delta_log has no commit any more")

    def damage(self, name: str, fault: str) -> TableDamaged:
        """What to raise for a table of which that is wrong."""
        text = f"the table {name} in {self.url} is damaged: {fault}: run `v6 doctor --tables`"
        return TableDamaged(text, table=name)

    def table_names(self) -> list[str]:
        """The tables that exist, by name (local lakes)."""
        return sorted(log.parent.name for log in Path(self.url).glob("*/_delta_log") if _has_versions(log))

    def open(self, name: str, *, version: int | None = None) -> DeltaTable:
        """A fresh table object of the newest version, or of an older one.

        Raises:
            TableDamaged: the table is absent or its log cannot be read.
            TableIncompatible: it uses what this version does not know.
        """
        try:
            kind = LocalTable if self.is_local else DeltaTable
            return kind(self.uri(name), version=version, storage_options=self.storage_options)
        except TableNotFoundError as error:
            self.check_not_lost(name)
            raise TableDamaged(
                f"the table {name} is not in the lake {self.url}: run a worker once to make it"
            ) from error
        except (DeltaError, OSError, ValueError) as error:
            raise self.damaged(name, error) from error

    def damaged(self, name: str, error: BaseException) -> LakeError:
        """What to raise for a table that could not be read: it names the file that is wrong, where one is."""
        fault = first_fault(Path(self.url), name, Depth.FOOTERS) if self.is_local else None
        if fault is None and UNSUPPORTED.search(str(error)):
            return TableIncompatible(
                f"the table {name} in {self.url} uses what this version cannot read or write ({first_line(error)}): "
                "let the program that turned it on turn it off"
            )
        if fault is None and not isinstance(error, DeltaError):
            return LakeError(f"the table {name} in {self.url} could not be read: {first_line(error)}")
        return self.damage(name, fault or first_line(error))

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
        files = arrow_table(table.get_add_actions(flatten=True)).select(["path", "size_bytes"]).to_pydict()
        for encoded, size in zip(files["path"], files["size_bytes"], strict=True):
            path = f"{self.uri(name)}/{unquote(encoded)}"
            what = wrong_size(path, size)
            if what:
                raise self.damage(name, f"{path} {what}")

    def opened_whole(self, name: str) -> DeltaTable:
        """A table at its newest version with every file in its place. Blocks. Raises TableDamaged."""
        table = self.open(name)
        self.check_filled(name)
        self.check_files(name, table)
        return table

    def check_filled(self, name: str) -> None:
        """Make sure that a table just opened has no log that a repair began and did not fill. Raises TableDamaged."""
        if self.is_local and Path(self.uri(name), BEGINS_ANEW).exists():
            raise self.damage(name, f"{self.uri(name)}/{BEGINS_ANEW} tells of a repair that was not finished")

    def check_table(self, name: str, *, deep: bool = False) -> None:
        """Look whether a table's log is whole and its files are there; an absent table is right. Local lakes. Blocks.

        With ``deep`` every row is read.

        The storage library opens a table whose last commit was emptied without a word.

        Raises:
            TableDamaged: something is wrong; the text names the file.
        """
        if not self.is_local or not (self.exists(name) or self.is_lost(name)):
            return
        for depth in (Depth.SIZES, Depth.ROWS)[: 2 if deep else 1]:  # what sizes tell is not read for
            fault = first_fault(Path(self.url), name, depth)
            if fault is not None:
                raise self.damage(name, fault)

    def reopened(self, name: str, table: DeltaTable | None) -> DeltaTable:
        """A table at its newest version, from an object of it that was opened before. Raises TableDamaged."""
        if table is None:
            return self.open(name)
        try:
            table.update_incremental()
        except (DeltaError, OSError):  # its log was cleaned in between, or the table made anew
            return self.open(name)
        return table

    def renewed(self, name: str, opened: OpenedTable) -> OpenedTable:
        """The same table object, or a new one at the newest version where it is old."""
        if not opened.is_old:
            return opened
        try:
            return OpenedTable(self.open(name))
        except LakeError:  # the old object goes on, or meets with the reason itself
            opened.keep()
            return opened

    def caught_up(self, name: str, opened: OpenedTable) -> OpenedTable:
        """The table object at its newest version; a new one where it is old or cannot go on. Raises TableDamaged."""
        renewed = self.renewed(name, opened)
        table = self.reopened(name, renewed.table)
        return renewed if table is renewed.table else OpenedTable(table)

    def ensure(self, spec: TableSpec) -> DeltaTable:
        """The table, created when absent; equal creations at the same instant make one table.

        Columns that a newer version of v6 added to the spec are added to the stored table; they are null in its rows.

        Raises:
            TableIncompatible: the stored columns differ from the spec otherwise; the text shows how.
            TableDamaged: it was there, and its log is gone or cannot be read.
        """
        if not self.exists(spec.name):  # else nothing needs to be written
            self.check_usable()
            self.check_not_lost(spec.name)
            self.make(spec)
        return self._fitting(spec, self.open(spec.name))

    def make(self, spec: TableSpec) -> None:
        """Make a table that is absent, whatever lies in its folder. Raises LakeError."""
        self.check_room(spec.empty())
        if self.is_local:
            forget_mark(Path(self.url), spec.name)
        self._create(spec)
        self.flush(spec.name, 0)

    def check_fits(self, spec: TableSpec) -> None:
        """Make sure that a table, if it is there, is one of this version but for columns to be added. Blocks.

        Raises:
            TableIncompatible: its columns differ otherwise; the text shows how.
            TableDamaged: it cannot be opened.
        """
        if self.exists(spec.name):
            table = self.open(spec.name)
            with self.reading(spec.name):
                _check_compatible(spec, table)

    def _fitting(self, spec: TableSpec, table: DeltaTable) -> DeltaTable:
        with self.reading(spec.name):
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
        raise LakeError(f"the table {spec.name} could not be given {lacking[0].name}: {first_line(failure)}")

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
            self.check_not_lost(spec.name)
            return spec.empty().lazy()
        return self.scan_opened(spec, self.opened_whole(spec.name))

    def scan_opened(self, spec: TableSpec, table: DeltaTable) -> pl.LazyFrame:
        """The rows of one table object at its version, lazily, with every column of the spec."""
        with self.reading(spec.name):
            missing = missing_columns(table, spec)
        lacking = {c.name: pl.lit(None, c.dtype) for c in missing if c.nullable}
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
                raise LakeError(f"the table {spec.name} cannot be made in {self.url}: {first_line(error)}") from error


def _has_versions(log: Path) -> bool:
    """Whether a log's folder holds a commit or a checkpoint; what was staged and never put in place is neither."""
    try:
        with os.scandir(log) as entries:
            return any(entry.name.endswith((".json", ".checkpoint.parquet")) for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return False


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


def _cause(error: BaseException) -> str:
    """The innermost of the causes that the object store's library lists, one a line behind a coloured arrow."""
    lines = re.sub(r"\x1b\[\d+m", "", str(error)).strip().splitlines()
    return lines[-1].strip(" ↳") if lines else type(error).__name__
