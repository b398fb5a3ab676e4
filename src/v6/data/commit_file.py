"""One commit of a table's log, read as the file it is, and whether it is whole.

The storage library takes an emptied commit, or one cut off between two lines, for a commit that did little: rows
disappear without a word. So wholeness is judged here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

WRITER = "delta-rs"  # ends no commit with a line break
TRANSACTIONS = "transactions"  # in our commits: how many app transactions they carry
REPAIR_OPERATION = (
    "REPAIR"  # an empty commit in the place of a torn one; until a repair's end follows, it is unfinished
)
REPAIR_END = "repair-end"  # the token of the commit that ends a repair
NEVER_EMPTY = frozenset({"CREATE TABLE", "ADD COLUMN", "OPTIMIZE"})
WRITES = frozenset({"WRITE", "DELETE"})
# What an action must have for its commit to be played; every action is an object of objects.
NEEDED: Mapping[str, Mapping[str, type]] = {
    "add": {"path": str, "size": int},
    "remove": {"path": str},
    "txn": {"appId": str, "version": int},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class CommitFile:
    """What one version says. ``fault`` is empty for a whole commit, else it says what is wrong with the file."""

    path: Path
    version: int
    actions: tuple[dict[str, Any], ...] = ()
    fault: str = ""

    @property
    def adds(self) -> list[str]:
        """The data files that this version added, below the table's folder."""
        return [unquote(str(action["add"]["path"])) for action in self.actions if "add" in action]

    @property
    def begins_repair(self) -> bool:
        """True for the empty commit that a repair put in the place of a torn one."""
        return any(action.get("commitInfo", {}).get("operation") == REPAIR_OPERATION for action in self.actions)

    @property
    def ends_repair(self) -> bool:
        """True for the commit in which a repair ended."""
        return any(action.get("commitInfo", {}).get("token") == REPAIR_END for action in self.actions)

    @property
    def written_at(self) -> float:
        """When it was committed, in seconds since 1970 by the writer's machine; 0 where it does not say."""
        times = [action["commitInfo"].get("timestamp") for action in self.actions if "commitInfo" in action]
        return max((time for time in times if isinstance(time, int)), default=0) / 1000

    @property
    def transactions(self) -> dict[str, int]:
        """The versions of the app transactions that this version carries."""
        found = [action["txn"] for action in self.actions if "txn" in action]
        return {str(entry["appId"]): int(entry["version"]) for entry in found}


def commit_path(log: Path, version: int) -> Path:
    """Where a version's commit lies."""
    return log / f"{version:020d}.json"


def read_commit(log: Path, version: int) -> CommitFile:
    """Read one commit. Raises FileNotFoundError, OSError."""
    path = commit_path(log, version)
    content = path.read_bytes()
    actions: list[dict[str, Any]] = []
    fault = "" if content.strip() else "is empty"
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            action = json.loads(line)
        except ValueError:  # not JSON, or not even text
            fault = f"is cut off or garbled in line {number}"
            break
        if not _is_action(action):
            fault = f"is garbled in line {number}"
            break
        actions.append(action)
    return CommitFile(path=path, version=version, actions=tuple(actions), fault=fault or _missing(content, actions))


def _is_action(action: object) -> bool:
    return isinstance(action, dict) and all(
        isinstance(value, dict) and all(isinstance(value.get(n), kind) for n, kind in NEEDED.get(name, {}).items())
        for name, value in action.items()
    )


def _missing(content: bytes, actions: list[dict[str, Any]]) -> str:
    """What a commit whose lines all parse lacks; empty when it lacks nothing that can be told."""
    infos = [action["commitInfo"] for action in actions if "commitInfo" in action]
    info = infos[0] if infos else {}
    if not str(info.get("engineInfo", "")).startswith(WRITER):
        return ""
    if content.endswith(b"\n") or (len(actions) < 2 and info.get("operation") in NEVER_EMPTY):
        return "is cut off after a line"
    there = {kind: sum(kind in action for action in actions) for kind in ("add", "remove", "txn")}
    return "lacks lines at its end" if any(there[kind] != count for kind, count in _promised(info).items()) else ""


def _promised(info: dict[str, Any]) -> dict[str, int]:
    """How many actions of a kind the commit says it has, as far as it says so."""
    metrics = info.get("operationMetrics") or {}
    counts = {"txn": info.get(TRANSACTIONS)}
    if info.get("operation") in WRITES:
        counts |= {"add": metrics.get("num_added_files"), "remove": metrics.get("num_removed_files")}
    elif info.get("operation") == "OPTIMIZE":
        counts |= {"add": metrics.get("numFilesAdded"), "remove": metrics.get("numFilesRemoved")}
    return {kind: int(str(count)) for kind, count in counts.items() if str(count).isdecimal()}
