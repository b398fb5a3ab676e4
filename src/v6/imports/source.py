"""The table that is imported: a Delta table of any writer, read file by file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import polars as pl
import pyarrow.parquet as pq

from v6.data.delta import DeltaTable, filesystem, has_deletion_vectors, scan_table
from v6.data.lake import Lake
from v6.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """One data file and the values of the columns that its folders stand for."""

    path: str
    partitions: dict[str, str | None]
    modified_ms: int


class SourceTable:
    """A Delta table at its newest version. Unsigned integers and other types that Delta does not know are read too."""

    def __init__(self, url: str) -> None:
        """Open it.

        Raises:
            UsageError: there is no Delta table, or its files alone do not say which rows it has.
            LakeError: it cannot be read.
        """
        folder, _, name = url.rstrip("/").rpartition("/")
        self.url = url
        self.name = name
        self._lake = Lake(folder or ".")
        if not self._lake.exists(name):
            raise UsageError(f"{url} is no Delta table: name a folder that holds _delta_log")
        self._table: DeltaTable = self._lake.open(name)
        self.id = str(self._table.metadata().id)
        self._files = filesystem(self._table)
        self._check_features()

    @property
    def version(self) -> int:
        """The version that is read."""
        return int(self._table.version())

    def files(self) -> list[SourceFile]:
        """The files of that version, the newest first: what it says of a row is what holds."""
        actions = pl.DataFrame(self._table.get_add_actions(flatten=True))
        keys = [name for name in actions.columns if name.startswith("partition.")]
        found = [
            SourceFile(
                path=unquote(row["path"]),
                partitions={key.removeprefix("partition."): _text(row[key]) for key in keys},
                modified_ms=row["modification_time"],
            )
            for row in actions.iter_rows(named=True)
        ]
        return sorted(found, key=lambda file: (-file.modified_ms, file.path))

    def read(self, file: SourceFile) -> pl.DataFrame:
        """The rows of one file. Raises LakeError that names it."""
        with self._lake.reading(self.name), self._files.open_input_file(file.path) as stream:
            frame = pl.DataFrame(pq.ParquetFile(stream).read())
        absent = {name: pl.lit(text) for name, text in file.partitions.items() if name not in frame.columns}
        return frame.with_columns(**absent)

    def columns(self) -> dict[str, str]:
        """Every column of the table, partitions included, whichever files have it, with its type in the newest one."""
        declared = scan_table(self._table).collect_schema()
        files = self.files()
        stored = self.read(files[0]).schema if files else declared
        return {name: str(stored.get(name, dtype)) for name, dtype in declared.items()}

    def _check_features(self) -> None:
        mode = self._table.metadata().configuration.get("delta.columnMapping.mode", "none")
        uses = "column mapping" if mode != "none" else "deletion vectors" if has_deletion_vectors(self._table) else ""
        if uses:
            raise UsageError(
                f"{self.url} uses {uses}, so its files alone do not say which rows it has: let the program that wrote "
                "it write a plain copy (CREATE TABLE … AS SELECT) and import that"
            )


def source_tables(source: str) -> Iterator[str]:
    """The tables to import: the folder itself, or those in it. Raises UsageError when there are none."""
    if "://" in source or (Path(source) / "_delta_log").is_dir():
        yield source
        return
    found = sorted(str(log.parent) for log in Path(source).glob("*/_delta_log"))
    if not found:
        raise UsageError(f"{source} is no Delta table and holds none: name a folder that holds _delta_log")
    yield from found


def _text(value: object) -> str | None:
    return None if value is None else str(value)
