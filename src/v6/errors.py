"""Every error v6 raises on purpose, grouped by what the caller should do.

    V6Error
    ├── UsageError               correct what you asked
    │   ├── SettingsError        a setting is wrong
    │   └── RequestError         a request cannot be accepted or addressed
    │       ├── UnknownRequest   no request has that id
    │       └── RequestConflict  the request is not in a state that allows it
    ├── LakeError                look at the lake: folder, disk, table
    │   ├── TableDamaged         a table cannot be read
    │   ├── DiskRefuses          the disk is full or read-only
    │   ├── TableIncompatible    a table has columns or features this version cannot use
    │   ├── AccountMismatch      the lake belongs to another account
    │   ├── LeaseLost            another took over this worker's place: start again
    │   ├── NotDurable           the disk lost a write: start again
    │   └── CommitContended      rivals kept winning: try again
    ├── GatewayError             the session with the gateway; carries a category and IB's code
    │   └── GatewayUnavailable   nobody answers at that address, or the session was refused
    ├── DerivationLost           a process that derived statistics died: the request is tried again
    ├── RequestFailed            a request that was waited for ended as FAILED or CANCELLED
    └── WorkerBusy               a worker of that name is running already

``exit_code`` is what the command line returns; docs/cli.md lists them and a test compares.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import ClassVar


class ErrorCategory(StrEnum):
    """What kind of thing went wrong: serves the error catalogue, the queue's column, dead letters and metrics."""

    TIMEOUT = "timeout"
    NETWORK = "network"
    VALIDATION = "validation"
    CONTRACT = "contract"
    ENTITLEMENT = "entitlement"
    PACING = "pacing"
    SESSION = "session"
    RESOURCE = "resource"
    INTERNAL = "internal"
    UNKNOWN = "unknown"


class ExitCode(IntEnum):
    """Exit codes of the command ``v6``."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    LAKE = 3
    GATEWAY = 4
    REQUEST_FAILED = 5
    BUSY = 6
    UNHEALTHY = 7
    INTERRUPTED = 130


class V6Error(Exception):
    """Base of every error raised on purpose; its text is one line that names the thing and says what to do."""

    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL
    category: ErrorCategory = ErrorCategory.INTERNAL

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows (IPython asks for it): the line alone; where it was raised tells its reader nothing."""
        return [f"{type(self).__name__}: {self}"]


class UsageError(V6Error):
    """What was asked cannot be done as asked: correct it."""

    exit_code = ExitCode.USAGE
    category = ErrorCategory.VALIDATION


class SettingsError(UsageError):
    """A setting is missing, unknown or wrong."""


class RequestError(UsageError):
    """A request is refused; the text names the field."""


class UnknownRequest(RequestError):
    """No request has that id."""


class RequestConflict(RequestError):
    """The request is not in a state that allows what was asked."""


class LakeError(V6Error):
    """The lake or one of its tables cannot be used as it is."""

    exit_code = ExitCode.LAKE
    category = ErrorCategory.RESOURCE


class TableDamaged(LakeError):
    """A table cannot be read; the text names table and file, ``table`` the table where it is one of the lake."""

    def __init__(self, message: str, *, table: str = "") -> None:
        super().__init__(message)
        self.table = table


class DiskRefuses(LakeError):
    """The disk takes nothing more: it is full, read-only or out of quota. Nothing was written."""


class TableIncompatible(LakeError):
    """A table's schema or protocol is not one this version can use; the text shows the difference."""


class AccountMismatch(LakeError):
    """The gateway's account is not the one that first fed the lake; the text names both."""


class LeaseLost(LakeError):
    """Another worker has taken over this one's place; it cannot write any more."""


class NotDurable(LakeError):
    """A commit landed and could not be brought to the disk: nothing that waits for it may count; start again."""


class CommitContended(LakeError):
    """A commit lost against rivals too often; nothing was written and trying again is safe."""


class GatewayError(V6Error):
    """The gateway refused or failed one call.

    ``code`` is IB's error code, None where there is none; ``retry_seconds`` is when trying again makes sense (clock
    time), None where nobody knows; ``is_final`` says that asking again cannot help.
    """

    exit_code = ExitCode.GATEWAY

    def __init__(
        self,
        message: str,
        *,
        category: ErrorCategory = ErrorCategory.NETWORK,
        code: int | None = None,
        retry_seconds: float | None = None,
        is_final: bool = False,
    ) -> None:
        super().__init__(message)
        self.category = category
        self.code = code
        self.retry_seconds = retry_seconds
        self.is_final = is_final


class GatewayUnavailable(GatewayError):
    """Nobody answers at the gateway's address, or it refused the session."""


class DerivationLost(V6Error):
    """A process that derived statistics died; what it was at is lost and can be derived again."""

    category = ErrorCategory.RESOURCE


class RequestFailed(V6Error):
    """A request that somebody waited for ended without its rows."""

    exit_code = ExitCode.REQUEST_FAILED


class WorkerBusy(V6Error):
    """A worker of the same name holds the lock."""

    exit_code = ExitCode.BUSY
    category = ErrorCategory.RESOURCE
