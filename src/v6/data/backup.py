"""Backups of a local lake while it is used, and their restoration.

The queue is pinned first and everything else after it: so whatever the copy of the queue calls a success has its rows
in the copies of the result tables. Rows of requests that were still open may be there already; recovery finds them.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl

from v6.data.flush import LOG, flush_file_system, flush_paths
from v6.data.ib_request import REQUESTS
from v6.data.lake import Lake
from v6.data.lake_account import LakeAccount
from v6.data.table_examination import examine_table
from v6.data.table_log import CHECKPOINT_NAME, COMMIT_NAME
from v6.errors import LakeError, UsageError

MANIFEST = "backup.json"
PARTIAL = ".partial-"
TRIES = 5  # the log may be cleaned while it is copied


@dataclass(frozen=True, kw_only=True, slots=True)
class PinnedTable:
    """One version of one table: its live files by path below its folder, and their sizes."""

    name: str
    version: int
    rows: int
    files: dict[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Backup:
    """What was written: ``copied`` bytes; files that an earlier backup had are linked to it."""

    folder: Path
    tables: tuple[PinnedTable, ...]
    copied: int
    linked: int


def back_up(lake: Lake, target: Path, *, now: datetime) -> Backup:
    """Copy every table into a new folder below ``target``, named by the time. Blocks.

    Raises:
        UsageError: the target lies within the lake.
        LakeError: a table is damaged, or the target cannot be written; nothing is left of the attempt.
    """
    folder = Path(lake.url)
    _check_place(lake, target)
    final = target / f"{now:%Y%m%dT%H%M%S%fZ}"
    partial = target / f"{PARTIAL}{final.name}"
    try:
        partial.mkdir(parents=True)
        before = _newest(target)
        tables, copied, linked = [], 0, 0
        for name in sorted(lake.table_names(), key=lambda name: (name != REQUESTS.name, name)):
            table = _copy_table(lake, name, partial / name)
            sizes = [_take(folder / name / p, partial / name / p, before and before / name / p) for p in table.files]
            copied, linked = copied + sum(sizes), linked + sizes.count(0)
            tables.append(table)
        _write_manifest(partial, lake, tables, now)
        _check_sound(partial, [table.name for table in tables])
        flush_file_system(partial)
        partial.rename(final)
        flush_paths([target])
    except OSError as error:
        raise LakeError(f"the backup to {target} failed: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Backup(folder=final, tables=tuple(tables), copied=copied, linked=linked)


def restore(backup: Path, lake: Lake) -> dict[str, Any]:
    """Copy a backup to where a lake shall be; its manifest. What is there must be no lake. Blocks.

    Raises:
        UsageError: there is a lake already, or the backup is none.
        LakeError: the backup is damaged, or the lake cannot be written; nothing is left of the attempt.
    """
    folder = Path(lake.url)
    manifest = _read_manifest(backup)
    if not lake.is_local or (folder.exists() and any(folder.iterdir())):
        raise UsageError(f"{lake.url} is no empty folder: move it away, or name another with --lake")
    _check_sound(backup, manifest["tables"])
    partial = folder.absolute().with_name(f"{PARTIAL}{folder.name}")
    try:
        for name in manifest["tables"]:
            shutil.copytree(backup / name, partial / name)
        flush_file_system(partial)
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
        flush_paths([folder.absolute().parent])
    except OSError as error:
        raise LakeError(f"the lake {lake.url} could not be restored: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def _check_place(lake: Lake, target: Path) -> None:
    if not lake.is_local:
        raise UsageError(f"the lake {lake.url} is an object store: use its versions or its copies")
    if not lake.table_names():
        raise LakeError(f"there are no tables in {lake.url}: name the lake's folder")
    if target.resolve().is_relative_to(Path(lake.url).resolve()):
        raise UsageError(f"{target} lies within the lake: name a folder elsewhere, better on another disk")


def _copy_table(lake: Lake, name: str, target: Path) -> PinnedTable:
    """Pin a table's newest version and copy its log up to that one."""
    for attempt in range(TRIES):
        pinned = _pin(lake, name)
        try:
            _copy_log(Path(lake.uri(name)) / LOG, target / LOG, pinned.version)
        except FileNotFoundError:
            shutil.rmtree(target)
            if attempt == TRIES - 1:
                raise
        else:
            break
    return pinned


def _pin(lake: Lake, name: str) -> PinnedTable:
    table = lake.open(name)
    actions = pl.DataFrame(table.get_add_actions(flatten=True))
    files = {unquote(path): int(size) for path, size in actions.select("path", "size_bytes").iter_rows()}
    return PinnedTable(
        name=name, version=int(table.version()), rows=int(actions["num_records"].sum() or 0), files=files
    )


def _copy_log(log: Path, target: Path, version: int) -> None:
    target.mkdir(parents=True)
    checkpoints = [number for number, _ in _versioned(log, CHECKPOINT_NAME) if number <= version]
    newest = max(checkpoints, default=None)
    first = 0 if newest is None else newest
    for number, name in _versioned(log, COMMIT_NAME):
        if first <= number <= version:
            shutil.copy2(log / name, target / name)
    if newest is not None:
        name = f"{newest:020d}.checkpoint.parquet"
        shutil.copy2(log / name, target / name)


def _versioned(log: Path, pattern: Any) -> Iterator[tuple[int, str]]:
    for entry in sorted(os.scandir(log), key=lambda entry: entry.name):
        match = pattern.fullmatch(entry.name)
        if match:
            yield int(match[1]), entry.name


def _take(source: Path, target: Path, earlier: Path | None) -> int:
    """Link a file to the earlier backup's, or copy it; bytes copied. A data file never changes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if earlier is not None and earlier.exists() and earlier.stat().st_size == source.stat().st_size:
        target.hardlink_to(earlier)
        return 0
    shutil.copy2(source, target)
    return target.stat().st_size


def _newest(target: Path) -> Path | None:
    return max((manifest.parent for manifest in target.glob(f"*/{MANIFEST}")), default=None)


def _write_manifest(folder: Path, lake: Lake, tables: Iterable[PinnedTable], now: datetime) -> None:
    manifest = {
        "lake": lake.url,
        "account": LakeAccount(lake).account(),
        "created_at": now.isoformat(),
        "tables": {table.name: {"version": table.version, "rows": table.rows} for table in tables},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _read_manifest(backup: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((backup / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        near = sorted(path.parent.name for path in backup.glob(f"*/{MANIFEST}"))
        advice = f": the newest of it is {backup / near[-1]}" if near else ""
        raise UsageError(f"{backup} is no backup of v6: it has no readable {MANIFEST}{advice}") from error
    return manifest


def _check_sound(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        faults = examine_table(folder, name).faults
        if faults:
            raise LakeError(
                f"the table {name} in {folder} is damaged: {faults[0]}: run `v6 doctor --tables` on the lake"
            )
