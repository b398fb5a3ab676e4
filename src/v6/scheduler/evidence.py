"""Gathers from the tables what a diagnosis needs, and how old the newest row of each expectation is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from v6.clock import Clock
from v6.data.coverage import COVERAGE, CoverageState, CoverageTable
from v6.data.ib_request import OPEN_STATES, REQUESTS
from v6.data.lake import Lake
from v6.data.queue_controls import QUEUE_CONTROLS, QueueControlsTable
from v6.data.queue_log import current
from v6.data.readable import UNREADABLE, damage_of
from v6.data.schedule_log import SCHEDULE_LOG, ScheduleLogTable
from v6.data.scheduler_state import SCHEDULER_STATE, SchedulerStateTable
from v6.data.table import tables
from v6.data.worker_state import WORKER_STATE, WorkerStateTable
from v6.scheduler.diagnosis import SILENT_SECONDS, Ended, Evidence
from v6.scheduler.expectations import Expectation

SILENT = timedelta(seconds=SILENT_SECONDS)
BACK = timedelta(days=4)  # a weekend and a holiday: older rows are as good as none
CHAIN = tuple(spec.name for spec in (REQUESTS, QUEUE_CONTROLS, WORKER_STATE, SCHEDULER_STATE, SCHEDULE_LOG, COVERAGE))

TRYING_AFTER = ("held", "degraded")

Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sightings:
    """The newest row of each (table, symbol), clock time, and the tables that could not be read, with the error.

    ``chain_damage`` is that of tables which requests pass through: daemons that run go on with what they have in
    memory, but none that starts can.
    """

    newest: Mapping[tuple[str, str], datetime]
    damage: Mapping[str, str]
    chain_damage: Mapping[str, str]


def sightings(lake: Lake, clock: Clock, expectations: Iterable[Expectation]) -> Sightings:
    """Look at each table once. Blocks."""
    newest: dict[tuple[str, str], datetime] = {}
    damage: dict[str, str] = {}
    since = (clock.now() - BACK).date()
    by_table: dict[str, list[Expectation]] = {}
    for expectation in expectations:
        by_table.setdefault(expectation.table, []).append(expectation)
    for name, group in by_table.items():
        wrong = damage_of(lake, name, lambda: newest.update(_newest(lake, clock, group, since)))  # noqa: B023 - called at once
        if wrong is not None:
            damage[name] = wrong
    return Sightings(newest=newest, damage=damage, chain_damage=_chain_damage(lake))


def _chain_damage(lake: Lake) -> dict[str, str]:
    """What is wrong with the files of the tables on the way, without reading them."""
    found = {name: damage_of(lake, name) for name in CHAIN}
    return {name: wrong for name, wrong in found.items() if wrong is not None}


def _newest(
    lake: Lake, clock: Clock, group: Sequence[Expectation], since: date
) -> Iterator[tuple[tuple[str, str], datetime]]:
    """The newest row of each expectation of one table that has one."""
    rows = tables()[group[0].table](lake, clock=clock).scan().filter(pl.col("date") >= since)
    found = dict(rows.group_by("symbol").agg(pl.col("timestamp").max()).collect().iter_rows())
    for expectation in group:
        at = found.get(expectation.symbol) if expectation.symbol else max(found.values(), default=None)
        answered = _answered(lake, clock, expectation, since) if expectation.may_bring_nothing else None
        instants = [instant for instant in (at, answered) if instant is not None]
        if instants:
            yield (expectation.table, expectation.symbol), max(instants)


def _answered(lake: Lake, clock: Clock, expectation: Expectation, since: date) -> datetime | None:
    """The newest slot that the ledger says was answered, with or without rows."""
    done = [str(CoverageState.FETCHED), str(CoverageState.EMPTY)]
    rows = CoverageTable(lake, clock=clock).current(
        request_type=expectation.request_type, symbol=expectation.symbol, first=since
    )
    found = rows.filter(pl.col("state").is_in(done)).select(pl.col("timestamp").max()).collect().item()
    return found if isinstance(found, datetime) else None


def began(lake: Lake, clock: Clock) -> dict[str, datetime]:
    """Since when each schedule is in force; nothing where its table cannot be read. Blocks."""
    try:
        return {i: known.since for i, known in ScheduleLogTable(lake, clock=clock).in_force().items()}
    except UNREADABLE:
        return {}


def gather(
    lake: Lake, clock: Clock, *, seen: Sightings, expectations: Sequence[Expectation], has_begun: bool
) -> Evidence:
    """What the tables say about the chain, and which of its tables cannot be read. Blocks.

    ``has_begun`` is false where no scheduler ever ran: then nobody misses one.
    """
    looked = _Chain(lake, clock)
    workers = looked.at(WORKER_STATE.name, looked.workers) or []
    schedulers = looked.at(SCHEDULER_STATE.name, looked.schedulers) or []
    rows = looked.at(REQUESTS.name, lambda: looked.requests({e.request_type for e in expectations}))
    ended, waiting = _ended_and_open(rows)
    return Evidence(
        free_bytes=shutil.disk_usage(lake.url).free if lake.is_local and Path(lake.url).is_dir() else None,
        damage=seen.damage,
        pauses=looked.at(QUEUE_CONTROLS.name, QueueControlsTable(lake, clock=clock).paused_now) or {},
        scheduler_alive=not has_begun or any(row["state"] == "running" for row in schedulers),
        workers=[row for row in workers if row["state"] != "stopped"],
        last_ended=ended,
        open_requests=waiting,
        chain_damage={**seen.chain_damage, **looked.damage},
    )


class _Chain:
    """Reads the tables that every request passes through, and remembers which of them cannot be read."""

    def __init__(self, lake: Lake, clock: Clock) -> None:
        self._lake = lake
        self._clock = clock
        self._since = clock.machine_now() - SILENT
        self.damage: dict[str, str] = {}

    def at(self, name: str, read: Callable[[], Found]) -> Found | None:
        """What reading a table gives; None where it is damaged."""
        found: list[Found] = []
        wrong = damage_of(self._lake, name, lambda: found.append(read()))
        if wrong is not None:
            self.damage[name] = wrong
        return found[0] if found else None

    def workers(self) -> list[dict[str, Any]]:
        """The last word of each worker that is not silent; one that was held a moment ago only tries again."""
        rows = WorkerStateTable(self._lake, clock=self._clock).scan().filter(pl.col("known_at") >= self._since)
        last: dict[str, dict[str, Any]] = {}
        for row in rows.sort("known_at", "timestamp").collect().iter_rows(named=True):
            before = last.get(row["worker_id"])
            is_trying = before is not None and row["state"] == "ready" and before["state"] in TRYING_AFTER
            last[row["worker_id"]] = before if before is not None and is_trying else row
        return list(last.values())

    def schedulers(self) -> list[dict[str, Any]]:
        """The last word of each scheduler that is not silent."""
        latest = SchedulerStateTable(self._lake, clock=self._clock).latest()
        return latest.filter(pl.col("known_at") >= self._since).collect().to_dicts()

    def requests(self, types: Collection[str]) -> pl.DataFrame:
        """The last days' requests of some types as they stand."""
        recent = self._lake.scan(REQUESTS).filter(pl.col("date") >= (self._clock.now() - BACK).date())
        rows = current(recent).filter(pl.col("request_type").is_in(sorted(types)))
        names = ("request_type", "symbol", "status", "error_category", "error_message", "updated_at")
        return rows.select(names).collect()


def _ended_and_open(
    rows: pl.DataFrame | None,
) -> tuple[dict[tuple[str, str], Ended], dict[tuple[str, str], int]]:
    """How the newest request of each type and symbol ended, and how many have not."""
    if rows is None:
        return {}, {}
    is_open = pl.col("status").is_in([str(state) for state in OPEN_STATES])
    ended = rows.filter(~is_open).sort("updated_at").unique(["request_type", "symbol"], keep="last")
    waiting = rows.filter(is_open).group_by("request_type", "symbol").len()
    return (
        {(row["request_type"], row["symbol"]): _ended(row) for row in ended.iter_rows(named=True)},
        {(row[0], row[1]): row[2] for row in waiting.iter_rows()},
    )


def _ended(row: Mapping[str, Any]) -> Ended:
    return Ended(status=row["status"], error_category=row["error_category"], error_message=row["error_message"])
