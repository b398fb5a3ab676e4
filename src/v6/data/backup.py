"""Backups of a local lake while it is used; ``v6.data.restore`` brings them back.

The queue is pinned first and everything else after it: so whatever the copy of the queue calls a success has its rows
in the copies of the result tables. Rows of requests that were still open may be there already; recovery finds them.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl

from v6.data.delta import has_deletion_vectors
from v6.data.flush import LOG, flush_file_system, flush_paths
from v6.data.ib_request import REQUESTS
from v6.data.lake import Lake
from v6.data.lake_account import LakeAccount
from v6.data.lake_repair import all_tables
from v6.data.table_examination import examine_table
from v6.data.table_log import CHECKPOINT_NAME, COMMIT_NAME
from v6.errors import LakeError, TableIncompatible, UsageError

MANIFEST = "backup.json"
PARTIAL = ".partial-"
OURS = re.compile(re.escape(PARTIAL) + r"\d{8}T\d{12}Z")  # an unfinished backup; other tools have such names as well
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
        LakeError: a table is damaged, another backup to the target runs, or it cannot be written; nothing is left of
            the attempt.
    """
    _check_place(lake, target)
    final = target / f"{now:%Y%m%dT%H%M%S%fZ}"
    partial = target / f"{PARTIAL}{final.name}"
    try:
        target.mkdir(parents=True, exist_ok=True)
        with _alone(target):
            _clear(target)
            backup = _copy_tables(lake, partial, final)
            _write_manifest(partial, lake, backup.tables, now)
            _check_copies(lake, partial, backup.tables)
            flush_file_system(partial)
            partial.rename(final)
            flush_paths([target])
    except OSError as error:
        raise LakeError(f"the backup to {target} failed: {reason_of(error)}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return backup


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """One backup to a folder at a time, as far as its file system has locks."""
    folder = os.open(target, os.O_RDONLY)
    try:
        with suppress(OSError):
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise LakeError(f"another backup to {target} is running: wait for its end") from error
        yield
    finally:
        os.close(folder)


def _clear(target: Path) -> None:
    """Take away what backups that were killed left."""
    for left in target.iterdir():
        if OURS.fullmatch(left.name):
            shutil.rmtree(left, ignore_errors=True)


def _copy_tables(lake: Lake, partial: Path, final: Path) -> Backup:
    before = _newest(final.parent)
    partial.mkdir()
    tables, copied, linked = [], 0, 0
    for name in sorted(lake.table_names(), key=lambda name: (name != REQUESTS.name, name)):
        table = _copy_table(lake, name, partial / name)
        places = [(Path(lake.uri(name)) / p, partial / name / p, before and before / name / p) for p in table.files]
        try:
            sizes = [take(*place) for place in places]
        except FileNotFoundError:
            lake.check_table(name)  # says what is missing; else it was vacuumed, and trying again helps
            raise
        copied, linked = copied + sum(sizes), linked + sizes.count(0)
        tables.append(table)
    return Backup(folder=final, tables=tuple(tables), copied=copied, linked=linked)


def _check_place(lake: Lake, target: Path) -> None:
    if not lake.is_local:
        raise UsageError(f"the lake {lake.url} is an object store: use its versions or its copies")
    names = all_tables(lake)
    for name in names:
        lake.check_not_lost(name)
    if not names:
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
    lake.check_filled(name)
    if has_deletion_vectors(table):
        raise TableIncompatible(
            f"the table {name} in {lake.url} has deletion vectors, which a backup would leave out: let the program "
            "that turned them on drop the feature, or move the table out of the lake"
        )
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


def take(source: Path, target: Path, earlier: Path | None) -> int:
    """Link a file to the earlier backup's, or copy it; bytes copied. A data file never changes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if earlier is not None and earlier.exists() and earlier.stat().st_size == source.stat().st_size:
        with suppress(OSError):  # a file system without links, or a file with too many
            target.hardlink_to(earlier)
            return 0
    shutil.copy2(source, target)
    return target.stat().st_size


def _newest(target: Path) -> Path | None:
    return max(_backups(target), default=None)


def _backups(target: Path) -> Iterator[Path]:
    """The finished backups in a folder."""
    found = (manifest.parent for manifest in target.glob(f"*/{MANIFEST}"))
    return (folder for folder in found if not folder.name.startswith(PARTIAL))


def _write_manifest(folder: Path, lake: Lake, tables: Iterable[PinnedTable], now: datetime) -> None:
    manifest = {
        "lake": lake.url,
        "account": LakeAccount(lake).account(),
        "created_at": now.isoformat(),
        "tables": {table.name: {"version": table.version, "rows": table.rows} for table in tables},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def read_manifest(backup: Path) -> dict[str, Any]:
    """What a backup says of itself: account, created_at, and its tables by name. Raises UsageError when it is none."""
    try:
        manifest: dict[str, Any] = json.loads((backup / MANIFEST).read_text(encoding="utf-8"))
        is_whole = {"account", "created_at", "tables"} <= manifest.keys() and isinstance(manifest["tables"], dict)
    except (OSError, ValueError, AttributeError):
        is_whole = False
    if not is_whole:
        near = max((folder.name for folder in _backups(backup)), default=None)
        advice = f": the newest of it is {backup / near}" if near else ""
        raise UsageError(f"{backup} is no backup of v6: it has no readable {MANIFEST}{advice}")
    return manifest


def _check_copies(lake: Lake, partial: Path, tables: Iterable[PinnedTable]) -> None:
    """What is wrong with a copy is wrong with the lake's own file, which the text names."""
    for table in tables:
        for fault in examine_table(partial, table.name).faults:
            where = fault.replace(str(partial), lake.url)
            raise LakeError(f"the table {table.name} in {lake.url} is damaged: {where}: run `v6 doctor --tables`")


def reason_of(error: OSError) -> str:
    """Why, and at which file."""
    return ": ".join(str(part) for part in (error.strerror or error, error.filename2 or error.filename) if part)
