"""The facts that maintenance reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from v6.events import Event


@dataclass(frozen=True, kw_only=True, slots=True)
class TableMaintained(Event):
    """A table was maintained: files before and after, rows folded and expired, files and log entries deleted."""

    name: ClassVar[str] = "table.maintained"
    level: ClassVar[str] = "debug"
    table: str
    files_before: int
    files_after: int
    joined: int
    folded_rows: int
    expired_rows: int
    deleted_files: int
    deleted_bytes: int
    log_files: int
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class MaintenanceFailed(Event):
    """A table could not be maintained, or the process that does it ended; it is tried again at the next round."""

    name: ClassVar[str] = "maintenance.failed"
    level: ClassVar[str] = "warning"
    table: str | None
    message: str
