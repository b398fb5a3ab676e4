"""A load: inserts what is not loaded yet, and looks until every request of it has ended.

Nothing is kept but the queue itself: a load that runs again finds by the requests' keys what is done and what is under
way, so it may be stopped or killed at any moment. The requests stay in the queue and run without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from v6.clock import Clock
from v6.data.ib_request import REQUESTS, IBRequest, RequestStatus
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.lake import Lake
from v6.data.queue_log import current, requests_of
from v6.data.worker_state import WorkerStateTable
from v6.loading.load_ledger import LoadLedger
from v6.loading.load_progress import LoadProgress
from v6.loading.series import LoadRequest

LOOK_SECONDS = 1.0  # machine seconds between two looks
INSERT_AT_ONCE = 5_000  # requests in one commit
RECORD_AT_ONCE = 50  # ended requests whose coverage is written down in one commit
SILENT_SECONDS = 60.0  # machine seconds after which a worker that said nothing is taken for gone

Show = Callable[[LoadProgress], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadResult:
    """What came of it: the last look, how much had been loaded before, and the requests that failed."""

    progress: LoadProgress
    loaded_before: int
    failed: Sequence[IBRequest]

    @property
    def is_complete(self) -> bool:
        """Whether everything that was asked for has arrived."""
        return not self.failed


class Load:
    """One run of a loader."""

    def __init__(self, *, queue: IBRequestQueue, clock: Clock, requests: Sequence[LoadRequest], show: Show) -> None:
        self._queue = queue
        self._lake = queue.lake
        self._clock = clock
        self._wanted = {request.key: request for request in requests}
        self._show = show
        self._ledger = LoadLedger(queue.lake, clock)
        self._began = clock.machine_monotonic()
        self._ended_at_start = 0

    async def run(self) -> LoadResult:
        """Insert what is missing and wait for all of it. Raises RequestError, LakeError."""
        known = await asyncio.to_thread(newest_by_key, self._lake, list(self._wanted))
        loaded = {key for key, request in known.items() if self._is_loaded(key, request)}
        await self._insert([self._wanted[key] for key in self._wanted.keys() - loaded])
        await self._record([known[key] for key in loaded])
        watched = [key for key in self._wanted if key not in loaded]
        states = await self._watch(watched)
        failed = [request for request in states.values() if request.status is not RequestStatus.SUCCESS]
        return LoadResult(progress=self._progress(states, len(watched)), loaded_before=len(loaded), failed=failed)

    def _is_loaded(self, key: str, request: IBRequest) -> bool:
        """A success that began after the piece's end had passed holds all of it, for ever."""
        return request.status is RequestStatus.SUCCESS and request.created_at >= self._wanted[key].until

    async def _insert(self, missing: Sequence[LoadRequest]) -> None:
        ordered = sorted(missing, key=lambda request: request.until, reverse=True)  # the newest data first
        for first in range(0, len(ordered), INSERT_AT_ONCE):
            await self._queue.insert_many([request.new for request in ordered[first : first + INSERT_AT_ONCE]])

    async def _watch(self, keys: Sequence[str]) -> Mapping[str, IBRequest]:
        states: dict[str, IBRequest] = {}
        ended: dict[str, IBRequest] = {}
        unwritten: list[IBRequest] = []
        while len(ended) < len(keys):
            states = await asyncio.to_thread(newest_by_key, self._lake, [key for key in keys if key not in ended])
            first_look = not ended
            new = {key: request for key, request in states.items() if not request.status.is_open}
            ended.update(new)
            unwritten += new.values()
            if first_look:
                self._ended_at_start = len(ended)
            self._show(self._progress({**states, **ended}, len(keys), worker=await self._worker()))
            if len(unwritten) >= RECORD_AT_ONCE:
                await self._record(unwritten)
                unwritten = []
            if len(ended) < len(keys):
                await self._clock.sleep(LOOK_SECONDS * self._clock.speed)
        await self._record(unwritten)
        return ended

    async def _record(self, ended: Sequence[IBRequest]) -> None:
        """Let the ledger know what came of them; a run that was killed before is made up for by the next."""
        ordered = sorted(ended, key=lambda request: request.created_at)
        for first in range(0, len(ordered), RECORD_AT_ONCE):
            await asyncio.to_thread(self._ledger.record, ordered[first : first + RECORD_AT_ONCE])

    async def _worker(self) -> str | None:
        """What the liveliest worker says it does; None where none is alive."""
        return await asyncio.to_thread(worker_in_words, self._lake, self._clock)

    def _progress(self, states: Mapping[str, IBRequest], total: int, *, worker: str | None = None) -> LoadProgress:
        seconds = self._clock.machine_monotonic() - self._began
        return LoadProgress.of(
            states.values(), total=total, seconds=seconds, ended_at_start=self._ended_at_start, worker=worker
        )


def newest_by_key(lake: Lake, keys: Sequence[str]) -> dict[str, IBRequest]:
    """The last request of each idempotency key that has one."""
    rows = lake.scan(REQUESTS).filter(pl.col("idempotency_key").is_in(list(keys)))
    requests = requests_of(current(rows).sort("created_at", "request_id").collect())
    return {request.idempotency_key: request for request in requests if request.idempotency_key is not None}


def worker_in_words(lake: Lake, clock: Clock) -> str | None:
    """State and reason of a worker that was heard of lately, None where there is none."""
    rows = WorkerStateTable(lake, clock=clock).latest().collect()
    for row in rows.sort("known_at", descending=True).iter_rows(named=True):
        is_alive = (clock.machine_now() - row["known_at"]).total_seconds() < SILENT_SECONDS
        if is_alive and row["state"] != "stopped":
            return f"{row['state']}: {row['reason']}" if row["reason"] else str(row["state"])
    return None
