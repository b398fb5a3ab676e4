"""Making commits survive a power cut: the storage library leaves its files in the system's memory.

``flush_table`` brings every commit since the last one known to be on the disk there, whoever wrote it: first the data
files, then the commit files, then the folders that name them. A mark beside the tables remembers how far that was; it
may be lost, torn or behind, then more is flushed than needs be, but it is never ahead. Local folders only.
"""

from __future__ import annotations

import ctypes
import os
import sys
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from v6.data.commit_file import CommitFile, read_commit
from v6.errors import NotDurable, TableDamaged

MARKS = ".flushed"  # folder of the lake: one file a table
MOST_COMMITS = 1000  # with more to do than so many, the whole file system is flushed at once
LOG = "_delta_log"
HINT_NAME = "_last_checkpoint"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """How far one table's log is on the disk. It names the log's folder, so that a copied lake begins anew."""

    path: Path
    log: Path

    def read(self) -> int:
        """The last version known to be on the disk, -1 where none is."""
        try:
            words = self.path.read_bytes().split()
        except FileNotFoundError:
            return -1
        if len(words) != 3 or words[2] != _checksum(b" ".join(words[:2])) or words[0] != self._identity():
            return -1
        return int(words[1])

    def write(self, version: int) -> None:
        """Remember a version; nobody waits for this to be on the disk."""
        text = b"%s %d" % (self._identity(), version)
        self.path.parent.mkdir(exist_ok=True)
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(file, (b"%s %s" % (text, _checksum(text))).ljust(80) + b"\n", 0)
        finally:
            os.close(file)

    def _identity(self) -> bytes:
        found = self.log.stat()
        return f"{found.st_dev}:{found.st_ino}".encode()


def mark_of(lake: Path, table: str) -> Mark:
    """The mark of one table."""
    return Mark(path=lake / MARKS / table, log=lake / table / LOG)


def forget_mark(lake: Path, table: str) -> None:
    """A table of that name begins anew: the file system may give its log the very number of one that was deleted."""
    with suppress(OSError):  # a disk that refuses this refuses the table as well
        mark_of(lake, table).path.unlink(missing_ok=True)


def was_flushed(lake: Path, table: str) -> bool:
    """Whether a table was there once: with all its commits gone, its log is only a folder."""
    mark = mark_of(lake, table)
    return mark.log.is_dir() and mark.read() >= 0


def flush_table(lake: Path, table: str, version: int) -> int:
    """Bring every commit of a table up to ``version`` to the disk; how many were not known to be there. Blocks.

    Raises:
        NotDurable: the system could not write a file; what it holds in memory cannot be trusted any more.
        TableDamaged: a commit in between is torn; the text names its file.
    """
    mark = mark_of(lake, table)
    try:
        done = mark.read()
        if done >= version:
            return 0
        _flush(lake / table, done, version)
    except OSError as error:
        raise NotDurable(
            f"the table {table}: {error.filename or lake / table} could not be flushed to the disk ({error.strerror}): "
            "look at the disk, then start again"
        ) from error
    with suppress(OSError):  # a full disk: what counts is flushed, and without a mark it is only flushed again
        mark.write(version)
    return version - done


def flush_checkpoint(lake: Path, table: str, version: int) -> None:
    """Bring a checkpoint to the disk, before any commit that it replaces may be deleted. Blocks. Raises NotDurable."""
    log = lake / table / LOG
    try:
        flush_paths([*log.glob(f"{version:020d}.checkpoint*"), log / HINT_NAME])
        flush_paths([log])
    except OSError as error:
        raise NotDurable(f"the checkpoint {version} of {table} could not be flushed: {error.strerror}") from error


def _flush(folder: Path, done: int, version: int) -> None:
    log = folder / LOG
    if version - done > MOST_COMMITS:
        flush_file_system(folder)
        return
    try:
        commits = [_sound(read_commit(log, number), folder.name) for number in range(done + 1, version + 1)]
    except FileNotFoundError:  # the log was cleaned in between
        flush_file_system(folder)
        return
    data = [folder / path for commit in commits for path in commit.adds]
    flush_paths(data)
    flush_paths([commit.path for commit in commits])
    flush_paths(file for commit in commits for file in _checkpoint_files(log, commit.version))
    flush_paths(_folders(folder, data, is_new=done < 0))


def _sound(commit: CommitFile, table: str) -> CommitFile:
    if commit.fault:
        raise TableDamaged(
            f"the table {table}: its commit {commit.path} {commit.fault}: run `v6 doctor --tables`", table=table
        )
    return commit


def _checkpoint_files(log: Path, version: int) -> list[Path]:
    checkpoint = log / f"{version:020d}.checkpoint.parquet"
    return [checkpoint, log / HINT_NAME] if checkpoint.exists() else []


def _folders(folder: Path, data: Iterable[Path], *, is_new: bool) -> list[Path]:
    """The folders that name the files, innermost first; for a new table those that name the table as well."""
    inner = {parent for path in data for parent in path.parents if parent.is_relative_to(folder)}
    ordered = sorted(inner | {folder}, key=lambda path: -len(path.parts))
    above = [folder.parent, *list(folder.parent.absolute().parents)[:2]] if is_new else []
    return [*ordered, folder / LOG, *above]


def flush_paths(paths: Iterable[Path]) -> None:
    """Bring files and folders to the disk, in order; those that are gone are passed over. Blocks. Raises OSError."""
    for path in dict.fromkeys(paths):
        try:
            file = os.open(path, os.O_RDONLY)
        except FileNotFoundError:  # compacted and vacuumed since
            continue
        try:
            _flush_file(file)
        except OSError as error:
            error.filename = str(path)
            raise
        finally:
            os.close(file)


def _flush_file(file: int) -> None:
    if sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(file, fcntl.F_FULLFSYNC)  # there, fsync leaves the data in the drive's own memory
    else:
        os.fsync(file)


def flush_file_system(folder: Path) -> None:
    """Bring everything on a folder's file system to the disk. Blocks. Raises OSError."""
    if sys.platform != "linux":
        os.sync()
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(file) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(file)


def _checksum(text: bytes) -> bytes:
    return f"{zlib.crc32(text):08x}".encode()
