"""Why a table does not grow: the likely cause, found by walking the chain from the lake to the gateway."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from v6.data.queue_controls import QUEUE, SCHEDULES, Pause
from v6.errors import ErrorCategory
from v6.scheduler.expectations import Expectation


class Cause(StrEnum):
    """The likely cause, in the order in which they are looked for."""

    DISK_FULL = "disk full"
    TABLE_DAMAGED = "table damaged"
    QUEUE_PAUSED = "queue paused"
    SCHEDULE_PAUSED = "schedule paused"
    SCHEDULER_DOWN = "scheduler down"
    WORKER_DOWN = "worker down"
    GATEWAY_DOWN = "gateway down"
    GATEWAY_HELD = "gateway held"
    GATEWAY_DEGRADED = "gateway degraded"
    NO_ENTITLEMENT = "no entitlement"
    REQUESTS_FAIL = "requests fail"
    BACKLOG = "queue too long"
    UNKNOWN = "unknown"


ADVICE = {
    Cause.DISK_FULL: "make room, run `v6 maintain`, or move the lake to a larger disk; the daemons go on by themselves",
    Cause.TABLE_DAMAGED: "run `v6 doctor --tables`",
    Cause.QUEUE_PAUSED: "`v6 queue resume` when it may go on",
    Cause.SCHEDULE_PAUSED: "`v6 schedule resume` when it may go on",
    Cause.SCHEDULER_DOWN: "start `v6 scheduler`, or `v6 up`",
    Cause.WORKER_DOWN: "start `v6 worker`, or `v6 up`",
    Cause.GATEWAY_DOWN: "start the gateway, or log it in; the worker connects by itself",
    Cause.GATEWAY_HELD: "end the other session of this user; the worker goes on by itself",
    Cause.GATEWAY_DEGRADED: "wait for the farm or the line to come back, or restart the gateway",
    Cause.NO_ENTITLEMENT: "subscribe to the market data, or set market_data_type to 3 for delayed data",
    Cause.REQUESTS_FAIL: "`v6 requests list --status failed` shows them",
    Cause.BACKLOG: "`v6 schedule list` shows whether the schedules fit the gateway's limits",
    Cause.UNKNOWN: "run `v6 doctor`",
}
# An outage of the gateway goes through all of these: it is one incident, called by what was seen first.
OUTAGE = frozenset({Cause.GATEWAY_DOWN, Cause.GATEWAY_HELD, Cause.GATEWAY_DEGRADED})
# Nothing explains it, or nothing yet: a daemon that has just died counts as alive until it has been silent for a while.
WEAK = frozenset({Cause.BACKLOG, Cause.UNKNOWN})
EXPIRED = "expired:"  # how the queue begins its message about a request that met its deadline before it began
SILENT_SECONDS = 20.0  # machine time since a last word, four heartbeats: it is gone, or it hangs
FULL_BYTES = 8 * 2**20  # free on the lake's disk: less, and a commit can fail


def is_same(one: str, other: str) -> bool:
    """Whether two causes make one incident."""
    return one == other or {one, other} <= OUTAGE


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a request of the type and symbol ended: the newest one."""

    status: str
    error_category: str | None
    error_message: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What the tables say. ``workers`` are the last words of those alive; ``damage`` the error on reading a table.

    ``chain_damage`` is damage of a table that requests pass through, whatever they bring.
    """

    free_bytes: int | None = None
    damage: Mapping[str, str] = field(default_factory=dict)
    chain_damage: Mapping[str, str] = field(default_factory=dict)
    pauses: Mapping[str, Pause] = field(default_factory=dict)
    scheduler_alive: bool = True
    workers: Sequence[Mapping[str, Any]] = ()
    last_ended: Mapping[tuple[str, str], Ended] = field(default_factory=dict)
    open_requests: Mapping[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """The likely cause and what was seen."""

    cause: Cause
    detail: str

    @property
    def advice(self) -> str:
        """What to do about it."""
        return ADVICE[self.cause]


def diagnose(expectation: Expectation, evidence: Evidence) -> Diagnosis:
    """The first cause along the chain that explains why nothing arrives."""
    found = next(_causes(expectation, evidence), None)
    return found or Diagnosis(cause=Cause.UNKNOWN, detail="every part says that it works")


def _causes(expectation: Expectation, evidence: Evidence) -> Iterator[Diagnosis]:
    yield from _of_disk(evidence.free_bytes)
    yield from _of_damage(expectation.table, evidence)
    yield from _of_pauses(expectation, evidence)
    if expectation.schedule_id is not None and not evidence.scheduler_alive:
        yield Diagnosis(cause=Cause.SCHEDULER_DOWN, detail=f"no scheduler has been heard of for {SILENT_SECONDS:g} s")
    yield from _of_workers(evidence.workers)
    yield from _of_requests(expectation, evidence)


def _of_disk(free_bytes: int | None) -> Iterator[Diagnosis]:
    if free_bytes is not None and free_bytes < FULL_BYTES:
        yield Diagnosis(cause=Cause.DISK_FULL, detail=f"the lake's disk has {free_bytes:,} bytes left")


def _of_damage(table: str, evidence: Evidence) -> Iterator[Diagnosis]:
    if table in evidence.damage:
        yield Diagnosis(cause=Cause.TABLE_DAMAGED, detail=evidence.damage[table])
    for detail in evidence.chain_damage.values():
        yield Diagnosis(cause=Cause.TABLE_DAMAGED, detail=detail)


def _of_pauses(expectation: Expectation, evidence: Evidence) -> Iterator[Diagnosis]:
    for target in (QUEUE, f"type:{expectation.request_type}"):
        if target in evidence.pauses:
            yield Diagnosis(cause=Cause.QUEUE_PAUSED, detail=_of_pause(evidence.pauses[target]))
    if expectation.schedule_id is not None:
        for target in (SCHEDULES, f"schedule:{expectation.schedule_id}"):
            if target in evidence.pauses:
                yield Diagnosis(cause=Cause.SCHEDULE_PAUSED, detail=_of_pause(evidence.pauses[target]))


def _of_pause(pause: Pause) -> str:
    return f"{pause.target} since {pause.start:%Y-%m-%d %H:%M} UTC: {pause.reason or 'no reason given'}"


def _of_workers(workers: Sequence[Mapping[str, Any]]) -> Iterator[Diagnosis]:
    """One worker that is ready is enough."""
    if not workers:
        yield Diagnosis(cause=Cause.WORKER_DOWN, detail=f"no worker has been heard of for {SILENT_SECONDS:g} s")
        return
    best = min(workers, key=lambda worker: _RANK.get(str(worker["state"]), len(_RANK)))
    cause = _CAUSE_BY_STATE.get(str(best["state"]), Cause.WORKER_DOWN)
    if cause is not None:
        detail = f"worker {best['worker_id']} says {best['state']}: {best['reason'] or 'no reason given'}"
        yield Diagnosis(cause=cause, detail=detail)


_CAUSE_BY_STATE: Mapping[str, Cause | None] = {
    "ready": None,
    "degraded": Cause.GATEWAY_DEGRADED,
    "held": Cause.GATEWAY_HELD,
    "connecting": Cause.GATEWAY_DOWN,
    "disconnected": Cause.GATEWAY_DOWN,
}
_RANK = {state: rank for rank, state in enumerate(_CAUSE_BY_STATE)}


def _of_requests(expectation: Expectation, evidence: Evidence) -> Iterator[Diagnosis]:
    key = (expectation.request_type, expectation.symbol)
    ended = evidence.last_ended.get(key)
    if ended is not None and ended.status == "FAILED":
        yield Diagnosis(cause=_of_failure(ended), detail=ended.error_message or "no reason given")
    waiting = evidence.open_requests.get(key, 0)
    if waiting:
        yield Diagnosis(cause=Cause.BACKLOG, detail=f"{waiting} of its requests have not ended")


def _of_failure(ended: Ended) -> Cause:
    if (ended.error_message or "").startswith(EXPIRED):
        return Cause.BACKLOG  # it never began: it did not fail by itself
    return Cause.NO_ENTITLEMENT if ended.error_category == ErrorCategory.ENTITLEMENT else Cause.REQUESTS_FAIL
