"""``schedule_log``: from when on each schedule was in force, one row each time one was first seen, changed or ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

import polars as pl

from v6.data.table import Table
from v6.data.table_spec import UTC_MICROSECONDS, Column, TableSpec

SCHEDULE_LOG = TableSpec(
    name="schedule_log",
    description="Schedules as they were in force; the newest row of a schedule is how it is.",
    columns=(
        Column(name="schedule_id", dtype=pl.String, description="the schedule's id"),
        Column(
            name="definition",
            dtype=pl.String,
            description="the schedule as a JSON object",
            null_means="it is no longer in force",
        ),
        Column(name="timestamp", dtype=UTC_MICROSECONDS, description="from when on (clock time)", unit="UTC"),
        Column(name="known_at", dtype=UTC_MICROSECONDS, description="when it was written (machine time)", unit="UTC"),
        Column(name="date", dtype=pl.Date, description="UTC day of timestamp"),
    ),
    partition_by=(),
    sort_by=("schedule_id", "timestamp"),
    key=("schedule_id", "known_at"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class InForce:
    """A schedule's definition and since when the schedule has been in force without a break (clock time)."""

    definition: str
    since: datetime


class ScheduleLogTable(Table):
    """Schedules in force."""

    spec: ClassVar[TableSpec] = SCHEDULE_LOG

    def in_force(self) -> dict[str, InForce]:
        """The schedules that are in force, by id. Blocks."""
        found: dict[str, InForce] = {}
        for row in self.scan().sort("known_at").collect().iter_rows(named=True):
            if row["definition"] is None:
                found.pop(row["schedule_id"], None)
                continue
            known = found.get(row["schedule_id"])
            since = row["timestamp"] if known is None else known.since
            found[row["schedule_id"]] = InForce(definition=row["definition"], since=since)
        return found

    def record(self, definitions: Mapping[str, str | None]) -> None:
        """Append the definitions that changed, valid from now on; None ends one. Blocks. Raises LakeError."""
        now, known_at = self.clock.now(), self.clock.machine_now()
        rows = [
            {"schedule_id": i, "definition": d, "timestamp": now, "known_at": known_at, "date": now.date()}
            for i, d in definitions.items()
        ]
        self.append(pl.DataFrame(rows, schema=self.spec.schema))
