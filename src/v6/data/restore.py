"""Restoring a backup to where a lake shall be: it appears whole or not at all, and never over another lake."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from v6.data.backup import PARTIAL, read_manifest, reason_of, take
from v6.data.flush import flush_file_system, flush_paths
from v6.data.ib_request import REQUESTS
from v6.data.lake import Lake
from v6.data.table_examination import examine_table
from v6.errors import LakeError, UsageError

LOST_AND_FOUND = "lost+found"  # of a file system's own: a fresh one is no less empty for it


def restore(backup: Path, lake: Lake) -> dict[str, Any]:
    """Copy a backup to where a lake shall be; its manifest. What is there must be no lake. Blocks.

    Raises:
        UsageError: there is a lake already, or the backup is none.
        LakeError: the backup is damaged, or the lake cannot be written; nothing is left of the attempt.
    """
    manifest = read_manifest(backup)
    if not lake.is_local:
        raise UsageError(f"{lake.url} is an object store: restore to a folder, and copy that")
    home = Path(lake.url).resolve()
    _check_empty(home, lake)
    _check_backup(backup, manifest["tables"])
    partial = _staging(home)
    try:
        shutil.rmtree(partial, ignore_errors=True)  # of a restore that was killed
        for name in manifest["tables"]:
            _copy_folder(backup / name, partial / name)
        flush_file_system(partial)
        _put_in_place(partial, home, manifest["tables"])
    except OSError as error:
        raise LakeError(f"the lake {lake.url} could not be restored: {reason_of(error)}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def _check_empty(home: Path, lake: Lake) -> None:
    lake.check_no_file()
    names = [entry.name for entry in home.iterdir()] if home.exists() else []
    if [name for name in names if name != LOST_AND_FOUND and not name.startswith(PARTIAL)]:
        raise UsageError(f"{lake.url} is no empty folder: move it away, or name another with --lake")


def _staging(home: Path) -> Path:
    """Where a lake is put together: beside it, so that it appears at once; within it where it cannot be replaced."""
    stays = home.exists() and (home.is_mount() or home == Path.cwd() or any(home.iterdir()))
    return home / f"{PARTIAL}restore" if stays else home.with_name(f"{PARTIAL}{home.name}")


def _put_in_place(partial: Path, home: Path, tables: Iterable[str]) -> None:
    if partial.parent == home:
        for name in sorted(tables, key=lambda name: name == REQUESTS.name):  # the queue last: it says what is there
            (partial / name).rename(home / name)
        flush_paths([home])
        return
    if home.exists():
        home.rmdir()
    partial.rename(home)
    flush_paths([home.parent])


def _copy_folder(source: Path, target: Path) -> None:
    for path in sorted(source.rglob("*")):
        if path.is_file():
            take(path, target / path.relative_to(source), None)


def _check_backup(backup: Path, names: Iterable[str]) -> None:
    for name in names:
        for fault in examine_table(backup, name).faults:
            raise LakeError(
                f"the table {name} in the backup {backup} is damaged: {fault}: restore another, or repair this one "
                f"with `v6 doctor --tables --lake {backup}`"
            )
