"""A table's log read as the files it is, so that it can be judged when the storage library refuses it.

``read_log`` looks at every commit and checkpoint that is needed to open the newest version and plays them, leaving out
what is torn. Local folders only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from v6.data.commit_file import CommitFile, commit_path, read_commit
from v6.data.flush import HINT_NAME, LOG, mark_of

BEGINS_ANEW = "_begins_anew"  # in a table's folder while a repair gives it a new log: until it goes, rows are lacking
COMMIT_NAME = re.compile(r"(\d{20})\.json")
# What is played of an action; a checkpoint may hold a hundred thousand, so the rest of them is not made into objects.
PLAYED = {
    "metaData": ("id",),
    "add": ("path", "size", "stats"),
    "remove": ("path",),
    "txn": ("appId", "version"),
}
CHECKPOINT_NAME = re.compile(r"(\d{20})\.checkpoint\.parquet")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataFile:
    """One live file as the log describes it. ``path`` is below the table's folder, ``rows`` None where not recorded."""

    path: str
    size: int
    rows: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LogFault:
    """One file of the log that is not as it must be. ``version`` is the commit's or the checkpoint's."""

    path: Path
    version: int
    what: str
    is_checkpoint: bool = False

    def __str__(self) -> str:
        return f"{self.path} {self.what}"


@dataclass(kw_only=True)
class TableLog:
    """The newest version that the log's sound files make, and what is wrong with the others."""

    log: Path
    checkpoint: int | None = None  # where playing began
    version: int = -1
    files: dict[str, DataFile] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)  # every data file that any sound commit names, live or not
    transactions: dict[str, int] = field(default_factory=dict)
    has_metadata: bool = False
    faults: list[LogFault] = field(default_factory=list)
    is_lost: bool = False  # the log was cleaned and its only checkpoint is torn: no version can be made
    written_at: float = 0.0  # when the last sound commit before the first torn one was written, by the writer's machine
    torn_transactions: dict[str, int] = field(default_factory=dict)  # as far as torn commits still tell

    @property
    def torn_commits(self) -> list[LogFault]:
        """Commits that are torn or missing."""
        return [fault for fault in self.faults if not fault.is_checkpoint]

    def last_transactions(self) -> dict[str, int]:
        """The newest version of every app transaction, those of torn commits included where they can be read."""
        ids = self.transactions | self.torn_transactions
        return {i: max(self.transactions.get(i, -1), self.torn_transactions.get(i, -1)) for i in ids}

    def remember(self, transactions: Mapping[str, int]) -> None:
        """Keep the newest version of each app transaction of a log that is not played."""
        for app_id, version in transactions.items():
            self.transactions[app_id] = max(version, self.transactions.get(app_id, -1))

    def play(self, action: Mapping[str, Any]) -> None:
        """Apply one action of a commit or checkpoint."""
        if action.get("add"):
            self._add(action["add"])
        elif action.get("remove"):
            path = unquote(str(action["remove"]["path"]))
            self.named.add(path)
            self.files.pop(path, None)
        elif action.get("txn"):
            self.transactions[str(action["txn"]["appId"])] = int(action["txn"]["version"])
        elif action.get("metaData"):
            self.has_metadata = True

    def _add(self, add: Mapping[str, Any]) -> None:
        path = unquote(str(add["path"]))
        self.named.add(path)
        self.files[path] = DataFile(path=path, size=int(add["size"]), rows=_row_count(add.get("stats")))


def read_log(lake: Path, table: str) -> TableLog:
    """Read and judge a table's log. Raises OSError when the folder itself cannot be read."""
    log = TableLog(log=lake / table / LOG)
    commits, checkpoints = _versions(log.log)
    log.checkpoint = _play_checkpoint(log, checkpoints)
    start = 0 if log.checkpoint is None else log.checkpoint + 1
    newest = max([_flushed(lake, table), *commits, *checkpoints, 0])
    if log.checkpoint is None and 0 not in commits and checkpoints:
        log.is_lost = True
    _judge_new_log(log)
    repairs: list[int] = []
    for version in range(start, newest + 1):
        commit = _commit(log, version)
        if commit is None:
            continue
        if log.is_lost:
            log.remember(commit.transactions)
            continue
        for action in commit.actions:
            log.play(action)
        repairs = [] if commit.ends_repair else [*repairs, version] if commit.begins_repair else repairs
    _judge_repairs(log, repairs)
    _judge_tip(log, newest)
    _judge_hint(log, checkpoints)
    log.version = newest
    return log


def _versions(log: Path) -> tuple[set[int], set[int]]:
    try:
        names = [entry.name for entry in log.iterdir()]
    except FileNotFoundError:  # gone with all its commits
        names = []
    return (
        {int(match[1]) for name in names if (match := COMMIT_NAME.fullmatch(name))},
        {int(match[1]) for name in names if (match := CHECKPOINT_NAME.fullmatch(name))},
    )


def _flushed(lake: Path, table: str) -> int:
    mark = mark_of(lake, table)
    return mark.read() if mark.log.is_dir() else -1


def _judge_new_log(log: TableLog) -> None:
    """A log that a repair began, and did not come to fill, has no version worth playing; its marker has the fences."""
    marker = log.log.parent / BEGINS_ANEW
    if marker.exists():
        log.is_lost = True
        log.remember(_fences(marker))
        what = "tells of a repair that was not finished"
        log.faults.append(LogFault(path=marker, version=-1, what=what, is_checkpoint=True))


def _fences(marker: Path) -> dict[str, int]:
    try:
        return {str(app_id): int(version) for app_id, version in json.loads(marker.read_bytes()).items()}
    except (ValueError, TypeError, AttributeError):  # of an older version: a sentence
        return {}


def _play_checkpoint(log: TableLog, checkpoints: set[int]) -> int | None:
    """Play the newest sound checkpoint; its version, None where there is none.

    Removes before adds: a file that was given another deletion vector stands in both, and it is live.
    """
    for version in sorted(checkpoints, reverse=True):
        path = log.log / f"{version:020d}.checkpoint.parquet"
        try:
            actions = sorted(_checkpoint_actions(path), key=lambda action: "add" in action)
        except (pa.ArrowException, OSError) as error:
            what = f"is torn ({_first_line(error)})"
            log.faults.append(LogFault(path=path, version=version, what=what, is_checkpoint=True))
            continue
        for action in actions:
            log.play(action)
        return version
    return None


def _checkpoint_actions(path: Path) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=[name for name in PLAYED if name in file.schema_arrow.names]):
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                rows = column.drop_null()
                fields = [field for field in PLAYED[name] if rows.type.get_field_index(field) >= 0]
                for values in zip(*(rows.field(field).to_pylist() for field in fields), strict=True):
                    if values[0] is not None:  # some writers fill in the structs of other actions with nulls
                        yield {name: dict(zip(fields, values, strict=True))}


def _commit(log: TableLog, version: int) -> CommitFile | None:
    try:
        commit = read_commit(log.log, version)
    except FileNotFoundError:
        _note(log, version, "is missing")
        return None
    if commit.fault:
        _note(log, version, commit.fault)
        log.torn_transactions |= commit.transactions
        return None
    if not log.torn_commits and not commit.begins_repair:
        log.written_at = max(log.written_at, commit.written_at)
    return commit


def _note(log: TableLog, version: int, what: str) -> None:
    log.faults.append(LogFault(path=commit_path(log.log, version), version=version, what=what))


def _judge_repairs(log: TableLog, versions: list[int]) -> None:
    for version in versions:
        _note(log, version, "belongs to a repair that was not finished")


def _judge_tip(log: TableLog, newest: int) -> None:
    """The storage library needs the newest commit as a file even where a checkpoint holds it."""
    if newest >= 0 and newest == log.checkpoint:
        _commit(log, newest)


def _judge_hint(log: TableLog, checkpoints: set[int]) -> None:
    """A hint that cannot be read is passed over by every reader; one that leads nowhere stops them all."""
    path = log.log / HINT_NAME
    try:
        version = int(json.loads(path.read_bytes())["version"])
    except (ValueError, TypeError, KeyError, FileNotFoundError):
        return
    if version not in checkpoints:
        what = f"points to checkpoint {version}, which is missing"
        log.faults.append(LogFault(path=path, version=version, what=what, is_checkpoint=True))


def _row_count(stats: object) -> int | None:
    try:
        return int(json.loads(str(stats))["numRecords"])
    except (ValueError, TypeError, KeyError):
        return None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
