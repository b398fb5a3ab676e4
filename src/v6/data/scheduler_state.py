"""``scheduler_state``: how each scheduler is, appended every few seconds; the newest row is its last word."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import ClassVar

import polars as pl

from v6.data.table import Table
from v6.data.table_spec import UTC_MICROSECONDS, Column, TableSpec, Upkeep

SCHEDULER_STATE = TableSpec(
    name="scheduler_state",
    description="State of each scheduler; the newest row of one is how it is.",
    columns=(
        Column(name="scheduler_id", dtype=pl.String, description="the scheduler's name"),
        Column(name="state", dtype=pl.String, description="running or stopped"),
        Column(name="schedules", dtype=pl.Int64, description="schedules in force", unit="schedules"),
        Column(name="slots_asked", dtype=pl.Int64, description="slots asked since it started", unit="slots"),
        Column(
            name="next_slot",
            dtype=UTC_MICROSECONDS,
            description="the next slot of any schedule",
            unit="UTC",
            null_means="none comes within a week",
        ),
        Column(name="timestamp", dtype=UTC_MICROSECONDS, description="when it was seen (clock time)", unit="UTC"),
        Column(
            name="known_at",
            dtype=UTC_MICROSECONDS,
            description="when it was written (machine time): older than a minute, the scheduler is gone",
            unit="UTC",
        ),
        Column(name="date", dtype=pl.Date, description="UTC day of timestamp"),
    ),
    partition_by=("date",),
    sort_by=("scheduler_id", "known_at"),
    key=("scheduler_id", "known_at"),
    configuration={
        "delta.dataSkippingStatsColumns": "scheduler_id,known_at",
        "delta.deletedFileRetentionDuration": "interval 1 days",
    },
    upkeep=Upkeep(keep_days=30, log_seconds=60.0, for_readers=False),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SchedulerState:
    """What one scheduler says of itself."""

    scheduler_id: str
    state: str
    schedules: int
    slots_asked: int
    next_slot: datetime | None


class SchedulerStateTable(Table):
    """States as reported."""

    spec: ClassVar[TableSpec] = SCHEDULER_STATE

    def record(self, state: SchedulerState) -> int:
        """Append one state; the table's version afterwards. Blocks. Raises LakeError when the commit failed."""
        now = self.clock.now()
        row = {**asdict(state), "timestamp": now, "known_at": self.clock.machine_now(), "date": now.date()}
        return self.append(pl.DataFrame([row], schema=self.spec.schema))

    def latest(self) -> pl.LazyFrame:
        """The newest row of each scheduler."""
        rows = self.scan().sort("known_at")
        return rows.unique("scheduler_id", keep="last", maintain_order=True).sort("scheduler_id")
