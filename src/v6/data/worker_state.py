"""``worker_state``: how each worker and its session are, appended on every change and every few seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

import polars as pl

from v6.data.table import Table, known_by
from v6.data.table_spec import UTC_MICROSECONDS, Column, TableSpec, Upkeep

WORKER_STATE = TableSpec(
    name="worker_state",
    description="State of each worker and its gateway session; the newest row of a worker is how it is.",
    columns=(
        Column(name="worker_id", dtype=pl.String, description="the worker's name"),
        Column(
            name="state", dtype=pl.String, description="ready, connecting, degraded, held, disconnected, stopped, …"
        ),
        Column(name="reason", dtype=pl.String, description="why it is in that state", null_means="nothing to explain"),
        Column(name="in_flight", dtype=pl.Int64, description="requests claimed and not yet settled", unit="requests"),
        Column(
            name="waiting",
            dtype=pl.String,
            description="what waits and why: a JSON object, reason → number of requests",
            null_means="nothing waits",
        ),
        Column(
            name="limits_in_use",
            dtype=pl.String,
            description="the gateway's limits as used now: a JSON object",
            null_means="there is no session",
        ),
        Column(
            name="account", dtype=pl.String, description="the account of the session", null_means="there is no session"
        ),
        Column(
            name="gateway",
            dtype=pl.String,
            description="address of the gateway, host:port",
            null_means="the worker has none",
        ),
        Column(
            name="started_at",
            dtype=UTC_MICROSECONDS,
            description="when the worker started (machine time)",
            unit="UTC",
            null_means="not recorded",
        ),
        Column(
            name="timestamp", dtype=UTC_MICROSECONDS, description="when the state was seen (clock time)", unit="UTC"
        ),
        Column(
            name="known_at",
            dtype=UTC_MICROSECONDS,
            description="when the state was written (machine time): older than a few heartbeats, the worker is gone",
            unit="UTC",
        ),
        Column(name="date", dtype=pl.Date, description="UTC day of timestamp"),
    ),
    partition_by=("date",),
    sort_by=("worker_id", "known_at"),
    key=("worker_id", "known_at"),
    configuration={
        "delta.dataSkippingStatsColumns": "worker_id,known_at",  # every commit carries all files' statistics along
        "delta.deletedFileRetentionDuration": "interval 1 days",
    },
    upkeep=Upkeep(keep_days=30, log_seconds=60.0, for_readers=False),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerState:
    """What one worker says of itself. ``waiting`` is reason → requests; ``limits_in_use`` is whatever JSON can hold."""

    worker_id: str
    state: str
    in_flight: int
    reason: str | None = None
    waiting: Mapping[str, int] = field(default_factory=dict)
    limits_in_use: Mapping[str, Any] = field(default_factory=dict)
    account: str | None = None
    gateway: str | None = None
    started_at: datetime | None = None


class WorkerStateTable(Table):
    """States as reported."""

    spec: ClassVar[TableSpec] = WORKER_STATE

    def record(self, state: WorkerState) -> int:
        """Append one state, stamped with the clock; the table's version afterwards. Blocks: call it off the event loop.

        Raises:
            LakeError: the commit failed.
        """
        return self.append(self.row(state))

    def row(self, state: WorkerState) -> pl.DataFrame:
        """One state as a row, stamped with the clock."""
        now = self.clock.now()
        row = {
            "worker_id": state.worker_id,
            "state": state.state,
            "reason": state.reason,
            "in_flight": state.in_flight,
            "waiting": json.dumps(dict(state.waiting), sort_keys=True) if state.waiting else None,
            "limits_in_use": json.dumps(dict(state.limits_in_use), sort_keys=True) if state.limits_in_use else None,
            "account": state.account,
            "gateway": state.gateway,
            "started_at": state.started_at,
            "timestamp": now,
            "known_at": self.clock.machine_now(),
            "date": now.date(),
        }
        return pl.DataFrame([row], schema=self.spec.schema)

    def latest(self, *, since: datetime | None = None, as_of: datetime | None = None) -> pl.LazyFrame:
        """The newest row of each worker, by worker_id; with ``since`` (machine time) of those that wrote one since."""
        recent = [] if since is None else [pl.col("known_at") >= since]
        rows = self.scan().filter(*recent, *known_by(as_of)).sort("known_at", "timestamp")
        return rows.unique("worker_id", keep="last", maintain_order=True).sort("worker_id")
