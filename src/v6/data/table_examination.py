"""Whether one table is whole: its log, and every live file's presence, size and footer, or with ``deep`` every row."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from v6.data.table_log import DataFile, TableLog, read_log


@dataclass(frozen=True, kw_only=True, slots=True)
class FileFault:
    """A live file that is missing, cut off or unreadable; its rows are lost."""

    file: DataFile
    path: Path
    what: str

    def __str__(self) -> str:
        rows = "an unknown number of" if self.file.rows is None else f"{self.file.rows:,}"
        return f"{self.path} {self.what}: {rows} rows"


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What was found of one table. ``files`` and ``rows`` are of its newest version."""

    table: str
    folder: Path
    log: TableLog
    file_faults: tuple[FileFault, ...]

    @property
    def is_sound(self) -> bool:
        """True when nothing is wrong."""
        return not (self.log.faults or self.file_faults)

    @property
    def faults(self) -> list[str]:
        """What is wrong, a line each, log first."""
        return [*map(str, self.log.faults), *map(str, self.file_faults)]

    @property
    def rows(self) -> int:
        """Rows of all live files, as the log counts them."""
        return sum(file.rows or 0 for file in self.log.files.values())


class Depth(IntEnum):
    """How much of each data file is looked at."""

    SIZES = 0
    FOOTERS = 1
    ROWS = 2


def examine_table(lake: Path, table: str, depth: Depth = Depth.FOOTERS) -> Examination:
    """Look at one table of a local lake and change nothing. Raises OSError when the folder cannot be read."""
    log = read_log(lake, table)
    faults = [fault for file in log.files.values() if (fault := _judge(lake / table, file, depth)) is not None]
    return Examination(table=table, folder=lake / table, log=log, file_faults=tuple(faults))


def first_fault(lake: Path, table: str, depth: Depth = Depth.SIZES) -> str | None:
    """The first thing that is wrong with a table, naming the file; None when nothing is found."""
    try:
        faults = examine_table(lake, table, depth).faults
    except OSError as error:
        return str(error)
    return faults[0] if faults else None


def orphans(examination: Examination) -> list[Path]:
    """Data files that no commit names, oldest first: what torn commits had written, or failed ones left behind."""
    named, folder = examination.log.named, examination.folder
    found = [path for path in data_files_in(folder) if str(path.relative_to(folder)) not in named]
    return sorted(found, key=lambda path: path.stat().st_mtime)


def data_files_in(folder: Path) -> Iterator[Path]:
    """Every data file below a table's folder, whether or not a commit names it."""
    return (path for path in folder.rglob("*.parquet") if not path.relative_to(folder).parts[0].startswith("_"))


def _judge(folder: Path, file: DataFile, depth: Depth) -> FileFault | None:
    path = folder / file.path
    what = wrong_size(path, file.size)
    if not what and depth >= Depth.FOOTERS:
        what = unreadable(path, file.rows)
    if not what and depth >= Depth.ROWS:
        what = unreadable_rows(path)
    return FileFault(file=file, path=path, what=what) if what else None


def wrong_size(path: Path | str, size: int) -> str:
    """What is wrong with a data file as a folder shows it; empty when nothing is."""
    try:
        found = os.stat(path).st_size  # noqa: PTH116 - thousands of files: a Path for each would take longer
    except FileNotFoundError:
        return "is missing"
    return "" if found == size else f"has {found:,} bytes, not {size:,}"


def unreadable(path: Path, rows: int | None = None) -> str:
    """What is wrong with a data file's footer; empty when nothing is."""
    try:
        counted = int(pq.read_metadata(path).num_rows)
    except FileNotFoundError:
        return "is missing"
    except (pa.ArrowException, OSError) as error:
        return f"cannot be read ({_first_line(error)})"
    return f"has {counted:,} rows, not {rows:,}" if rows is not None and counted != rows else ""


def unreadable_rows(path: Path) -> str:
    """What is wrong with a data file's rows, all read; empty when nothing is."""
    try:
        pl.read_parquet(path, hive_partitioning=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, OSError) as error:
        return f"has rows that cannot be read ({_first_line(error)})"
    return ""


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
