"""The facts that the supervisor reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from v6.events import Event


@dataclass(frozen=True, kw_only=True, slots=True)
class DaemonStarted(Event):
    """A daemon's process runs."""

    name: ClassVar[str] = "daemon.started"
    daemon: str
    pid: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DaemonFell(Event):
    """A daemon's process ended by itself, for the ``falls``-th time in a row; it is started again after so many machine
    seconds. ``last_line`` is the last one of its log."""

    name: ClassVar[str] = "daemon.fell"
    level: ClassVar[str] = "warning"
    daemon: str
    exit_code: int
    falls: int
    retry_seconds: float
    last_line: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DaemonEnded(Event):
    """A daemon's process has ended and is not started again."""

    name: ClassVar[str] = "daemon.ended"
    daemon: str
    exit_code: int
