"""Restoring a backup to where a lake shall be: it appears whole or not at all, and never over another lake."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from v6.data.backup import PARTIAL, read_manifest, reason_of, take
from v6.data.flush import flush_file_system, flush_paths
from v6.data.ib_request import REQUESTS
from v6.data.lake import Lake
from v6.data.table_examination import examine_table
from v6.errors import LakeError, UsageError

STAGED = f"{PARTIAL}restore"  # in a folder that cannot be replaced
LOST_AND_FOUND = "lost+found"  # of a file system's own: a fresh one is no less empty for it


def restore(backup: Path, lake: Lake) -> dict[str, Any]:
    """Copy a backup to where a lake shall be; its manifest. What is there must be no lake. Blocks.

    One that was killed is repeated with the same backup.

    Raises:
        UsageError: there is a lake already, or the backup is none.
        LakeError: the backup is damaged, or the lake cannot be written; nothing is left of the attempt.
    """
    manifest = read_manifest(backup)
    if not lake.is_local:
        raise UsageError(f"{lake.url} is an object store: restore to a folder, and copy that")
    home = Path(lake.url).resolve()
    there = _in_place(home, backup, manifest["tables"])
    _check_empty(home, lake, there)
    _check_backup(backup, manifest["tables"])
    lacking = manifest["tables"].keys() - there
    partial = _staging(home)
    try:
        for left in partial.glob("*"):  # of a restore that was killed; the folder tells of it until the end
            shutil.rmtree(left, ignore_errors=True)
        for name in lacking:
            _copy_folder(backup / name, partial / name)
        flush_file_system(partial)
        _put_in_place(partial, home, lacking)
    except OSError as error:
        raise LakeError(f"the lake {lake.url} could not be restored: {reason_of(error)}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def _in_place(home: Path, backup: Path, tables: Iterable[str]) -> set[str]:
    """The tables that a restore of the same backup had put in place when it was killed."""
    if not (home / STAGED).is_dir():
        return set()
    return {name for name in tables if (home / name).is_dir() and _sizes(home / name) == _sizes(backup / name)}


def _sizes(folder: Path) -> dict[Path, int]:
    return {path.relative_to(folder): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def _check_empty(home: Path, lake: Lake, there: Collection[str]) -> None:
    lake.check_no_file()
    names = [entry.name for entry in home.iterdir()] if home.exists() else []
    if [name for name in names if name not in {LOST_AND_FOUND, *there} and not name.startswith(PARTIAL)]:
        raise UsageError(f"{lake.url} is no empty folder: move it away, or name another with --lake")


def _staging(home: Path) -> Path:
    """Where a lake is put together: beside it, so that it appears at once; within it where it cannot be replaced."""
    is_fixed = home.is_mount() or home == Path.cwd() or not os.access(home.parent, os.W_OK)
    stays = home.exists() and (is_fixed or any(home.iterdir()))
    return home / STAGED if stays else home.with_name(f"{PARTIAL}{home.name}")


def _put_in_place(partial: Path, home: Path, tables: Iterable[str]) -> None:
    if partial.parent == home:
        _move_all(partial, home, sorted(tables, key=lambda name: (name == REQUESTS.name, name)))
        return
    if home.exists():
        home.rmdir()
    partial.rename(home)
    flush_paths([home.parent])


def _move_all(partial: Path, home: Path, tables: Iterable[str]) -> None:
    """The queue last, which says what is there; what fails in between is taken back."""
    moved: list[str] = []
    try:
        for name in tables:
            (partial / name).rename(home / name)
            moved.append(name)
        flush_paths([home])
    except BaseException:
        for name in moved:
            (home / name).rename(partial / name)
        raise


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
