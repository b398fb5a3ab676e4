"""One commit of a table's log, read as the file it is, and whether it is whole.

The storage library takes an emptied commit, or one cut off between two lines, for a commit that did little: rows
disappear without a word. So wholeness is judged here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

WRITER = "delta-rs"  # ends no commit with a line break
TRANSACTIONS = "transactions"  # in our commits: how many app transactions they carry
MERE_APPENDS = frozenset({"WRITE"})


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
        if not isinstance(action, dict):
            fault = f"is garbled in line {number}"
            break
        actions.append(action)
    return CommitFile(path=path, version=version, actions=tuple(actions), fault=fault or _missing(content, actions))


def _missing(content: bytes, actions: list[dict[str, Any]]) -> str:
    """What a commit whose lines all parse lacks; empty when it lacks nothing that can be told."""
    infos = [action["commitInfo"] for action in actions if "commitInfo" in action]
    info = infos[0] if infos and isinstance(infos[0], dict) else {}
    if not str(info.get("engineInfo", "")).startswith(WRITER):
        return ""
    if content.endswith(b"\n") or len(actions) < 2:
        return "is cut off after a line"
    adds, transactions = (sum(kind in action for action in actions) for kind in ("add", "txn"))
    metrics = info.get("operationMetrics") or {}
    promised = metrics.get("num_added_files") if info.get("operation") in MERE_APPENDS else None
    if (promised is not None and adds != int(promised)) or transactions != int(info.get(TRANSACTIONS, transactions)):
        return "lacks lines at its end"
    return ""
