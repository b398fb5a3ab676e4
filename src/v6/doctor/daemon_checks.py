"""Queue, worker and scheduler, by what they wrote into their tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from v6.clock import Clock
from v6.core.worker_lock import is_held
from v6.data.ib_request_queue import QueueStats
from v6.data.lake import Lake
from v6.data.queue_controls import QUEUE, SCHEDULES, QueueControlsTable
from v6.data.scheduler_state import SchedulerStateTable
from v6.data.worker_state import WorkerStateTable
from v6.doctor.finding import Finding, ok, problem, warning

SILENT_SECONDS = 20.0  # machine seconds since its last word, four heartbeats: it is gone
LATE_SECONDS = 300.0  # clock seconds that a due request may wait
WORKING = ("ready",)


def live_workers(lake: Lake, clock: Clock) -> list[dict[str, Any]]:
    """The last word of each worker that is alive: heard of lately, and its process is not known to be gone."""
    since = clock.machine_now() - timedelta(seconds=SILENT_SECONDS)
    rows = WorkerStateTable(lake, clock=clock).latest(since=since).collect().to_dicts()
    return [row for row in rows if row["state"] != "stopped" and is_held(lake, row["worker_id"]) is not False]


def hung_workers(lake: Lake, clock: Clock) -> list[dict[str, Any]]:
    """The last word of each worker that is silent though its process is there: stopped, or stuck."""
    last = WorkerStateTable(lake, clock=clock).latest().collect().to_dicts()
    silent = clock.machine_now() - timedelta(seconds=SILENT_SECONDS)
    return [row for row in last if row["known_at"] < silent and is_held(lake, row["worker_id"])]


def queue_checks(stats: QueueStats, lake: Lake, clock: Clock) -> Iterator[Finding]:
    """What waits, for how long, and whether somebody paused it."""
    for target, pause in QueueControlsTable(lake, clock=clock).paused_now().items():
        reason = f": {pause.reason}" if pause.reason else ""
        judge = problem if target in (QUEUE, SCHEDULES) else warning  # nothing at all begins
        yield judge("paused", f"{target} since {pause.start:%Y-%m-%d %H:%M} UTC{reason}", f"`{pause.resume_command}`")
    counts = ", ".join(f"{count:,} {status.lower()}" for status, count in stats.counts.items() if count)
    waited = stats.oldest_due_seconds or 0.0
    if waited > LATE_SECONDS:
        yield warning(
            "queue", f"{counts}; the oldest due request waits {waited:,.0f} s", "see worker and gateway below"
        )
    else:
        yield ok("queue", counts or "no request yet")


def worker_check(lake: Lake, clock: Clock) -> Iterator[Finding]:
    """Each worker that is alive, and what holds its requests back."""
    alive = live_workers(lake, clock)
    hung = hung_workers(lake, clock)
    for row in hung:
        seen = f"its process is there, but it has not been heard of since {row['known_at']:%Y-%m-%d %H:%M:%S} UTC"
        yield problem(f"worker {row['worker_id']}", seen, "it is stopped or hangs: continue it, or kill and start it")
    if not alive and not hung:
        yield problem("worker", "none is running", "start `v6 worker`, or `v6 up`")
    for row in alive:
        check = f"worker {row['worker_id']}"
        state = f"{row['state']}{': ' if row['reason'] else ''}{row['reason'] or ''}"
        if row["state"] not in WORKING:
            yield problem(check, state, "see gateway below; it goes on by itself when the cause is gone")
        else:
            yield ok(check, f"{state}, {row['in_flight']} requests in flight")
        for reason, count in json.loads(row["waiting"] or "{}").items():
            yield warning(check, f"{count} requests wait: {reason}", "they go on by themselves when the cause is gone")


def scheduler_check(lake: Lake, clock: Clock) -> Finding:
    """Whether a scheduler is alive, and its next slot."""
    rows = SchedulerStateTable(lake, clock=clock).latest().collect().to_dicts()
    since = clock.machine_now() - timedelta(seconds=SILENT_SECONDS)
    alive = [row for row in rows if row["known_at"] >= since and row["state"] == "running"]
    if not alive:
        advice = "start `v6 scheduler`, or `v6 up`; without one only what you submit is collected"
        last = max((row["known_at"] for row in rows), default=None)
        if last is None:
            return warning("scheduler", "none has ever run", advice)
        return problem("scheduler", f"none is running: the last word came at {last:%Y-%m-%d %H:%M:%S} UTC", advice)
    return ok(
        "scheduler", "; ".join(_schedule(row["scheduler_id"], row["schedules"], row["next_slot"]) for row in alive)
    )


def _schedule(name: str, schedules: int, next_slot: datetime | None) -> str:
    upcoming = "no slot within a week" if next_slot is None else f"next slot {next_slot:%Y-%m-%d %H:%M} UTC"
    return f"{name} has {schedules} schedules, {upcoming}"
