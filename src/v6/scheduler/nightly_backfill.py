"""Fills holes by itself, by a cron expression: each hole at most three times, and none older than a month."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from v6.clock import Clock
from v6.data.coverage import CoverageRow, CoverageState, CoverageTable
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.lake import Lake
from v6.data.readable import UNREADABLE, first_line
from v6.events import EventBus
from v6.scheduler.backfill import ask, plan_backfill
from v6.scheduler.cron import Cron
from v6.scheduler.ledger import Ledger
from v6.scheduler.schedule import Schedule
from v6.scheduler.scheduler_events import HolesAsked, SchedulerHeld

TRIES = 3
AGE = timedelta(days=30)
ZONE = ZoneInfo("America/New_York")


class NightlyBackfill:
    """Looks every second whether it is time."""

    def __init__(
        self,
        *,
        queue: IBRequestQueue,
        schedules: Sequence[Schedule],
        history_types: Sequence[str],
        lake: Lake,
        clock: Clock,
        events: EventBus,
        cron: Cron,
    ) -> None:
        self._queue = queue
        self._schedules = tuple(schedules)
        self._ledger = Ledger(lake, clock, history_types=history_types)
        self._clock = clock
        self._events = events
        self._cron = cron
        self._looked_at = clock.now()

    async def run(self) -> None:
        """Look until cancelled; a lake that refuses is reported and tried the next night."""
        while True:
            try:
                await self.look()
            except UNREADABLE as error:
                self._events.emit(SchedulerHeld(message=first_line(error)))
            await self._clock.sleep(self._clock.speed)

    async def look(self) -> None:
        """Ask for the holes there are, when the time has come since the last look."""
        now = self._clock.now()
        if now <= self._looked_at:
            return
        is_time = bool(self._cron.instants(self._looked_at, now, ZONE))
        self._looked_at = now
        if not is_time:
            return
        holes = await asyncio.to_thread(self._worth_asking, now)
        fills = plan_backfill(holes, self._schedules, now)
        if fills:
            await ask(fills, self._queue, self._ledger)
            self._events.emit(HolesAsked(requests=len(fills), intervals=sum(len(fill.holes) for fill in fills)))

    def _worth_asking(self, now: datetime) -> list[CoverageRow]:
        since = (now - AGE).date()
        failures = failures_by_interval(self._ledger.table, since=now - AGE)
        return [hole for hole in self._ledger.holes(first=since) if failures.get(hole.interval.key, 0) < TRIES]


def failures_by_interval(
    table: CoverageTable, *, since: datetime
) -> dict[tuple[str, str, str, datetime, datetime], int]:
    """How often each interval's requests have failed."""
    key = ["request_type", "symbol", "series", "timestamp", "interval_end"]
    failed = table.scan().filter(pl.col("state") == str(CoverageState.FAILED), pl.col("date") >= since.date())
    rows = failed.group_by(key).agg(pl.col("request_id").n_unique()).collect()
    return {row[:5]: row[5] for row in rows.iter_rows()}
