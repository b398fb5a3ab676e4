"""Deleting files that no reader can need any more.

A reader that opened a table reads the files of that moment. So a file that was removed stays as long as readers are
promised, counted from its removal; a file that no commit ever named stays a week, for its writer may be asleep.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow.fs as pafs

from v6.maintenance.table_log import delete_file

ORPHAN_AGE = timedelta(days=7)


@dataclass(frozen=True, kw_only=True, slots=True)
class Deletable:
    """A data file that may go."""

    path: str
    size_bytes: int


def removed_long_ago(
    files: pafs.FileSystem, removed: Mapping[str, int], live: Collection[str], before: datetime
) -> list[Deletable]:
    """The files that were removed (when, ms) before an instant, are not in the table again, and are there still.

    The log tells of many more removed files than are there, so their folders are listed.
    """
    limit = before.timestamp() * 1000
    due = {path for path, at in removed.items() if at < limit and path not in live}
    return [
        Deletable(path=info.path, size_bytes=info.size)
        for folder in sorted({path.rpartition("/")[0] for path in due})
        for info in files.get_file_info(pafs.FileSelector(folder, allow_not_found=True))
        if info.is_file and info.path in due
    ]


def never_committed(files: pafs.FileSystem, known: Collection[str], now: datetime) -> list[Deletable]:
    """Data files that neither the table nor its log know and that have not changed for a week."""
    return [
        Deletable(path=info.path, size_bytes=info.size)
        for info in _data_files(files)
        if info.path not in known and info.mtime < now - ORPHAN_AGE
    ]


def delete(files: pafs.FileSystem, deletable: Collection[Deletable]) -> int:
    """Delete files; how many were there."""
    return sum(delete_file(files, file.path) for file in deletable)


def _data_files(files: pafs.FileSystem) -> Iterator[pafs.FileInfo]:
    for info in files.get_file_info(pafs.FileSelector("", recursive=True)):
        hidden = any(part.startswith(("_", ".")) for part in info.path.split("/"))
        if info.is_file and info.extension == "parquet" and not hidden:
            yield info
