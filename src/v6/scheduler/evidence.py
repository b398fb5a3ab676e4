"""Gathers from the tables what a diagnosis needs, and how old the newest row of each expectation is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from v6.clock import Clock
from v6.data.coverage import CoverageState, CoverageTable
from v6.data.delta import Lake
from v6.data.ib_request import OPEN_STATES, REQUESTS
from v6.data.queue_controls import QueueControlsTable
from v6.data.queue_log import current
from v6.data.schedule_log import ScheduleLogTable
from v6.data.scheduler_state import SchedulerStateTable
from v6.data.table import tables
from v6.data.table_summary import wrong_file
from v6.data.worker_state import WorkerStateTable
from v6.errors import LakeError
from v6.scheduler.diagnosis import Ended, Evidence
from v6.scheduler.expectations import Expectation

SILENT = timedelta(seconds=60)  # machine time since a last word: it is gone
BACK = timedelta(days=4)  # a weekend and a holiday: older rows are as good as none


@dataclass(frozen=True, kw_only=True, slots=True)
class Sightings:
    """The newest row of each (table, symbol), clock time, and the tables that could not be read, with the error."""

    newest: Mapping[tuple[str, str], datetime]
    damage: Mapping[str, str]


def sightings(lake: Lake, clock: Clock, expectations: Iterable[Expectation]) -> Sightings:
    """Look at each table once. Blocks."""
    newest: dict[tuple[str, str], datetime] = {}
    damage: dict[str, str] = {}
    since = (clock.now() - BACK).date()
    by_table: dict[str, list[Expectation]] = {}
    for expectation in expectations:
        by_table.setdefault(expectation.table, []).append(expectation)
    for name, group in by_table.items():
        try:
            wrong = wrong_file(lake, name) if lake.exists(name) else None
            if wrong is not None:  # a file that is cut short makes polars panic
                damage[name] = wrong
                continue
            rows = tables()[name](lake, clock=clock).scan().filter(pl.col("date") >= since)
            found = dict(rows.group_by("symbol").agg(pl.col("timestamp").max()).collect().iter_rows())
        except (LakeError, pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            damage[name] = (str(error).strip().splitlines() or [type(error).__name__])[0]
            continue
        for expectation in group:
            at = found.get(expectation.symbol) if expectation.symbol else max(found.values(), default=None)
            answered = _answered(lake, clock, expectation, since) if expectation.may_bring_nothing else None
            instants = [instant for instant in (at, answered) if instant is not None]
            if instants:
                newest[name, expectation.symbol] = max(instants)
    return Sightings(newest=newest, damage=damage)


def _answered(lake: Lake, clock: Clock, expectation: Expectation, since: Any) -> datetime | None:
    """The newest slot that the ledger says was answered, with or without rows."""
    done = [str(CoverageState.FETCHED), str(CoverageState.EMPTY)]
    rows = CoverageTable(lake, clock=clock).current(
        request_type=expectation.request_type, symbol=expectation.symbol, first=since
    )
    found = rows.filter(pl.col("state").is_in(done)).select(pl.col("timestamp").max()).collect().item()
    return found if isinstance(found, datetime) else None


def began(lake: Lake, clock: Clock) -> dict[str, datetime]:
    """Since when each schedule is in force. Blocks."""
    return {i: known.since for i, known in ScheduleLogTable(lake, clock=clock).in_force().items()}


def gather(lake: Lake, clock: Clock, *, damage: Mapping[str, str], expectations: Sequence[Expectation]) -> Evidence:
    """What the tables say about the chain. Blocks. Raises LakeError when the queue itself cannot be read."""
    since = clock.machine_now() - SILENT
    workers = WorkerStateTable(lake, clock=clock).latest(since=since).collect().to_dicts()
    schedulers = SchedulerStateTable(lake, clock=clock).latest().filter(pl.col("known_at") >= since).collect()
    types = sorted({e.request_type for e in expectations})
    recent = current(lake.scan(REQUESTS).filter(pl.col("date") >= (clock.now() - BACK).date())).filter(
        pl.col("request_type").is_in(types)
    )
    rows = recent.select("request_type", "symbol", "status", "error_category", "error_message", "updated_at").collect()
    open_states = [str(state) for state in OPEN_STATES]
    is_open = pl.col("status").is_in(open_states)
    ended = rows.filter(~is_open).sort("updated_at").unique(["request_type", "symbol"], keep="last")
    waiting = rows.filter(is_open).group_by("request_type", "symbol").len()
    return Evidence(
        damage=damage,
        pauses=QueueControlsTable(lake, clock=clock).paused_now(),
        scheduler_alive=bool(schedulers.filter(pl.col("state") == "running").height),
        workers=[row for row in workers if row["state"] != "stopped"],
        last_ended={(row["request_type"], row["symbol"]): _ended(row) for row in ended.iter_rows(named=True)},
        open_requests={(row[0], row[1]): row[2] for row in waiting.iter_rows()},
    )


def _ended(row: Mapping[str, Any]) -> Ended:
    return Ended(status=row["status"], error_category=row["error_category"], error_message=row["error_message"])
