"""The facts that the worker reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from v6.events import Event


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerStarted(Event):
    """A worker holds its lock, is connected, and begins to claim."""

    name: ClassVar[str] = "worker.started"
    worker: str
    account: str


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerRecovered(Event):
    """Claims that a predecessor of this name left: how many had landed and were settled, how many were put back (and of
    those, how many had sent something: ``crashed``), how many failed as poison, how many had been cancelled."""

    name: ClassVar[str] = "worker.recovered"
    worker: str
    landed: int
    put_back: int
    crashed: int = 0
    poisoned: int = 0
    cancelled: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerTookOver(Event):
    """This worker took over the claims of another, ``dead`` or suspended, that gave no sign of life for so many machine
    seconds; the counts are those of worker.recovered."""

    name: ClassVar[str] = "worker.took_over"
    level: ClassVar[str] = "warning"
    worker: str
    dead: str
    silent_seconds: float
    landed: int
    put_back: int
    crashed: int
    poisoned: int
    cancelled: int


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerLeaseLost(Event):
    """This worker was silent past its lease and another took over its claims: it drops what it runs, writes nothing and
    starts over."""

    name: ClassVar[str] = "worker.lease_lost"
    level: ClassVar[str] = "warning"
    worker: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TakeOverHeld(Event):
    """Other workers' claims could not be looked after; said once for each cause, tried again every so many machine
    seconds."""

    name: ClassVar[str] = "worker.take_over_held"
    level: ClassVar[str] = "warning"
    message: str
    retry_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerStopping(Event):
    """A worker claims nothing more and waits for what runs."""

    name: ClassVar[str] = "worker.stopping"
    worker: str
    running: int


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerStopped(Event):
    """A worker has settled or put back everything and is disconnected. ``error`` is why, unless it was told to."""

    name: ClassVar[str] = "worker.stopped"
    worker: str
    put_back: int
    error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestClaimed(Event):
    """A request is this worker's and begins."""

    name: ClassVar[str] = "request.claimed"
    level: ClassVar[str] = "debug"
    request_id: str
    request_type: str
    symbol: str
    priority: int
    waited_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestFinished(Event):
    """A run of a request has been settled: ``outcome`` is done, retry, snoozed, failed or cancelled. Clock seconds."""

    name: ClassVar[str] = "request.finished"
    request_id: str
    request_type: str
    symbol: str
    priority: int
    outcome: str
    seconds: float
    rows: int | None = None
    message: str | None = None
    category: str | None = None
    code: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestRefused(Event):
    """An outcome came too late: the request is no longer this worker's. ``status`` is its state now, where open."""

    name: ClassVar[str] = "request.refused"
    level: ClassVar[str] = "warning"
    request_id: str
    status: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestsHeld(Event):
    """A type is held back, or free again: then ``reason`` is None. Nothing of it is claimed and no attempt is spent."""

    name: ClassVar[str] = "requests.held"
    request_type: str
    reason: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TableHeld(Event):
    """A table is damaged, or of another version, and what needs it is held; or it can be used again: then ``reason`` is
    None. Others go on."""

    name: ClassVar[str] = "table.held"
    level: ClassVar[str] = "warning"
    table: str
    reason: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LakeWriteResumed(Event):
    """What was held because a commit failed is written. Seconds are the machine's."""

    name: ClassVar[str] = "lake.write_resumed"
    level: ClassVar[str] = "warning"
    table: str
    held_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LakeWriteHeld(Event):
    """A commit failed; what was to be written is kept in memory and tried again. Said once for each cause."""

    name: ClassVar[str] = "lake.write_held"
    level: ClassVar[str] = "warning"
    table: str
    message: str
    retry_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultsAppended(Event):
    """Rows of finished requests landed in one commit."""

    name: ClassVar[str] = "results.appended"
    level: ClassVar[str] = "debug"
    table: str
    rows: int
    requests: int
    version: int
