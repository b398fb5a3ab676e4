"""A process that dies at a chosen commit: ``python -m tests.drills.crash_points worker …``.

It runs any command of v6, or with ``producer PLAN ACKNOWLEDGED`` the drills' producer.

Every call that commits to a Delta table (append, creation, new columns, compaction, checkpoint, vacuum, …) is counted
for each table, written down in the file ``DRILL_COMMITS``, and where ``DRILL_CRASH`` says so the process kills itself
with SIGKILL right before or right after it: ``option_snapshots:2:before``. The package knows nothing of this: the
storage library's own functions are wrapped, before the package is imported.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import deltalake
from deltalake.table import DeltaTable, TableAlterer, TableOptimizer

CRASH = "DRILL_CRASH"
COMMITS = "DRILL_COMMITS"
STAGED = "staged"


@dataclass(frozen=True, kw_only=True, slots=True)
class CrashPoint:
    """Before or after the ``number``-th commit (from 1) of one process to one table.

    ``staged`` lies between: the commit's file is written and not yet in its place. A tracer of system calls (strace)
    kills there, and only in a table that the process itself makes, whose versions are counted from its first commit.
    """

    table: str
    number: int
    side: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``TABLE:NUMBER:SIDE``."""
        table, number, side = text.split(":")
        return cls(table=table, number=int(number), side=side)

    def __str__(self) -> str:
        return f"{self.table}:{self.number}:{self.side}"

    def tracer(self, lake: Path) -> list[str]:
        """The command that runs another and kills it when it puts the staged commit in its place."""
        staged = lake / self.table / "_delta_log" / f"{self.number - 1:020d}.json#1"
        kill = "inject=link,linkat,rename,renameat,renameat2:signal=KILL"
        return ["strace", "--follow-forks", "--quiet=all", f"--trace-path={staged}", "--output=/dev/null", "-e", kill]


class CommitWatch:
    """Counts the commits of this process and ends it at the point that was chosen."""

    def __init__(self, crash: CrashPoint | None, log: Path | None) -> None:
        self._crash = crash
        self._log = log
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def around(self, table: str, operation: str, commit: Callable[[], Any]) -> Any:
        """Run one commit."""
        with self._lock:
            self._counts[table] += 1
            number = self._counts[table]
        self._write(table, number, operation)
        self._pass(table, number, "before")
        result = commit()
        self._pass(table, number, "after")
        return result

    def _pass(self, table: str, number: int, side: str) -> None:
        if self._crash == CrashPoint(table=table, number=number, side=side):
            self._write(table, number, f"killed {side}")
            os.kill(os.getpid(), signal.SIGKILL)

    def _write(self, table: str, number: int, operation: str) -> None:
        if self._log is not None:
            line = json.dumps({"table": table, "number": number, "operation": operation}) + "\n"
            with self._log.open("a") as file:
                file.write(line)


def table_name(target: object) -> str:
    """The folder of a table, from its address or its object."""
    address = target.table_uri if isinstance(target, DeltaTable) else str(target)
    return address.rstrip("/").rsplit("/", 1)[-1]


def install(watch: CommitWatch) -> None:
    """Wrap the library's functions that commit."""
    write, create = deltalake.write_deltalake, DeltaTable.create

    @functools.wraps(write)
    def watched_write(table_or_uri: Any, *arguments: Any, **options: Any) -> Any:
        operation = str(options.get("mode", "write"))
        return watch.around(table_name(table_or_uri), operation, lambda: write(table_or_uri, *arguments, **options))

    def watched_create(table_uri: Any, *arguments: Any, **options: Any) -> Any:
        return watch.around(table_name(table_uri), "create", lambda: create(table_uri, *arguments, **options))

    deltalake.write_deltalake = watched_write
    DeltaTable.create = staticmethod(watched_create)  # type: ignore[method-assign]
    for owner, names in WATCHED.items():
        for name in names:
            setattr(owner, name, _watched(watch, getattr(owner, name), name))


# What else commits, or removes or writes files of a table's log.
WATCHED: dict[type, tuple[str, ...]] = {
    DeltaTable: (
        "create_write_transaction",
        "create_checkpoint",
        "cleanup_metadata",
        "vacuum",
        "delete",
        "restore",
        "repair",
        "compact_logs",
    ),
    TableAlterer: ("add_columns", "set_table_properties", "set_column_metadata"),
    TableOptimizer: ("compact", "z_order"),
}


def _watched(watch: CommitWatch, method: Callable[..., Any], operation: str) -> Callable[..., Any]:
    @functools.wraps(method)
    def watched(self: Any, *arguments: Any, **options: Any) -> Any:
        table = self if isinstance(self, DeltaTable) else self.table
        return watch.around(table_name(table), operation, lambda: method(self, *arguments, **options))

    return watched


def main() -> int:
    """Run a command of v6, or the drills' producer, under watch."""
    crash, log = os.environ.get(CRASH), os.environ.get(COMMITS)
    install(CommitWatch(CrashPoint.parse(crash) if crash else None, Path(log) if log else None))
    if sys.argv[1] == "producer":
        from tests.drills import producer

        producer.main(*sys.argv[2:])
        return 0
    from v6.cli import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
