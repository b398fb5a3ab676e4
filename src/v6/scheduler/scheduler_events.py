"""What the scheduler reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from v6.events import Event


@dataclass(frozen=True, kw_only=True, slots=True)
class SchedulerStarted(Event):
    """A scheduler runs: so many schedules, of which these are new or changed."""

    name: ClassVar[str] = "scheduler.started"

    scheduler: str
    schedules: int
    changed: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SchedulerStopped(Event):
    """A scheduler ended."""

    name: ClassVar[str] = "scheduler.stopped"

    scheduler: str
    slots_asked: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotsAsked(Event):
    """Requests were inserted for the slots of a schedule that were due."""

    name: ClassVar[str] = "slots.asked"

    schedule: str
    slots: int
    first: str
    last: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotsSkipped(Event):
    """Slots of a schedule were not asked, and why."""

    name: ClassVar[str] = "slots.skipped"
    level: ClassVar[str] = "warning"

    schedule: str
    slots: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class IntervalsLost(Event):
    """Intervals can never be had again: said once for each."""

    name: ClassVar[str] = "intervals.lost"
    level: ClassVar[str] = "warning"

    request_type: str
    series: str
    intervals: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SchedulesOverCapacity(Event):
    """The schedules ask for more than the gateway's limits allow; ``arithmetic`` shows how much."""

    name: ClassVar[str] = "schedules.over_capacity"
    level: ClassVar[str] = "warning"

    arithmetic: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SchedulerHeld(Event):
    """A tick could not read or write the lake; it is tried again at the next one."""

    name: ClassVar[str] = "scheduler.held"
    level: ClassVar[str] = "error"

    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class HolesAsked(Event):
    """Holes of the ledger were asked for again."""

    name: ClassVar[str] = "holes.asked"

    requests: int
    intervals: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FreshnessViolated(Event):
    """A table does not grow as expected; ``cause`` is the likely one, found along the chain."""

    name: ClassVar[str] = "freshness.violated"
    level: ClassVar[str] = "warning"

    table: str
    symbol: str
    age_minutes: float | None
    cause: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FreshnessRestored(Event):
    """A table grows again."""

    name: ClassVar[str] = "freshness.restored"

    table: str
    symbol: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertSent(Event):
    """A person was told; ``kind`` is opened or recovered."""

    name: ClassVar[str] = "alert.sent"

    by: str
    kind: str
    cause: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertFailed(Event):
    """A person could not be told by this way, after three tries."""

    name: ClassVar[str] = "alert.failed"
    level: ClassVar[str] = "error"

    by: str
    kind: str
    cause: str
    message: str
