"""``queue_controls``: what people paused and resumed: the queue, a request type, a schedule, or all schedules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

import polars as pl

from v6.data.table import Table
from v6.data.table_spec import UTC_MICROSECONDS, Column, TableSpec

QUEUE = "queue"
SCHEDULES = "schedules"

QUEUE_CONTROLS = TableSpec(
    name="queue_controls",
    description="Pauses and resumptions; the newest row of a target is how it stands.",
    columns=(
        Column(
            name="target",
            dtype=pl.String,
            description="queue, type:REQUEST_TYPE, schedules, or schedule:ID",
        ),
        Column(name="action", dtype=pl.String, description="pause or resume"),
        Column(name="reason", dtype=pl.String, description="why, as the person said", null_means="none was given"),
        Column(name="source", dtype=pl.String, description="who did it: cli, web, …"),
        Column(name="timestamp", dtype=UTC_MICROSECONDS, description="from when on it holds (clock time)", unit="UTC"),
        Column(name="known_at", dtype=UTC_MICROSECONDS, description="when it was written (machine time)", unit="UTC"),
        Column(name="date", dtype=pl.Date, description="UTC day of timestamp"),
    ),
    partition_by=(),
    sort_by=("target", "timestamp"),
    key=("target", "known_at"),
)


class Action(StrEnum):
    """What is done to a target."""

    PAUSE = "pause"
    RESUME = "resume"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """One pause of a target: from ``start`` to ``end`` (clock time), None while it lasts."""

    target: str
    start: datetime
    end: datetime | None
    reason: str | None

    @property
    def resume_command(self) -> str:
        """What ends it."""
        if self.target in (QUEUE, SCHEDULES):
            return f"v6 {self.target.removesuffix('s')} resume"
        kind, _, name = self.target.partition(":")
        return f"v6 schedule resume {name}" if kind == "schedule" else f"v6 queue resume --type {name}"

    def covers(self, at: datetime) -> bool:
        """True when the target was paused at an instant."""
        return self.start <= at and (self.end is None or at < self.end)


class QueueControlsTable(Table):
    """Pauses as people made them."""

    spec: ClassVar[TableSpec] = QUEUE_CONTROLS

    def record(self, target: str, action: Action, *, reason: str | None = None, source: str) -> None:
        """Append one action, valid from now on. Blocks. Raises LakeError when the commit failed."""
        now = self.clock.now()
        row = {
            "target": target,
            "action": str(action),
            "reason": reason,
            "source": source,
            "timestamp": now,
            "known_at": self.clock.machine_now(),
            "date": now.date(),
        }
        self.append(pl.DataFrame([row], schema=self.spec.schema))

    def pauses(self) -> list[Pause]:
        """Every pause there was, by target and then time; those without an end hold now. Blocks."""
        open_since: dict[str, tuple[datetime, str | None]] = {}
        found: list[Pause] = []
        rows = self.scan().sort("known_at").select("target", "action", "reason", "timestamp").collect()
        for target, action, reason, at in rows.iter_rows():
            if action == Action.PAUSE:
                open_since.setdefault(target, (at, reason))
            elif target in open_since:
                start, why = open_since.pop(target)
                found.append(Pause(target=target, start=start, end=at, reason=why))
        found += [Pause(target=t, start=start, end=None, reason=why) for t, (start, why) in open_since.items()]
        return sorted(found, key=lambda pause: (pause.target, pause.start))

    def paused_now(self) -> dict[str, Pause]:
        """The pauses that hold now, by target. Blocks."""
        return {pause.target: pause for pause in self.pauses() if pause.end is None}
