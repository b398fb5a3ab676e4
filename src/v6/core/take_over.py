"""Takes a worker's place and settles what was left in it: its own at the start, and those of other workers that died.

Between workers the queue decides. Each holds its place in an epoch; whoever recovers raises the epoch in one
compare-and-swap, so of two who try at once one wins, and the one who lost the place can neither claim nor settle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from v6.clock import Clock
from v6.core.executor import RequestTypes
from v6.core.lease_watch import Dead, LeaseWatch
from v6.core.recovery import Left, Recovered, fence_all, last_epoch, outcomes_of_left
from v6.core.retry import message_of
from v6.core.sent_record import sent_by
from v6.core.worker_events import TakeOverHeld, WorkerRecovered, WorkerTookOver
from v6.core.worker_lock import Holder
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.lake import Lake
from v6.data.table import Table
from v6.data.table_spec import TableSpec
from v6.data.worker_state import WORKER_STATE
from v6.errors import LakeError, LeaseLost, WorkerBusy
from v6.events import EventBus


class TakeOver:
    """Recovery for one worker: what its predecessor left, and what other workers leave while it runs."""

    def __init__(
        self,
        *,
        queue: IBRequestQueue,
        lake: Lake,
        clock: Clock,
        events: EventBus,
        catalogue: RequestTypes,
        tables: Mapping[str, type[Table]],
        lock_folder: Path,
        lease_seconds: float,
        crash_limit: int,
        is_damaged: Callable[[str], bool] = lambda _table: False,
    ) -> None:
        """``tables`` are all that a worker can write; ``lease_seconds`` is machine time. Claims whose result table is
        damaged stay as they are until it is whole: only it knows what landed."""
        self._queue = queue
        self._lake = lake
        self._clock = clock
        self._events = events
        self._catalogue = catalogue
        self._tables = tables
        self._folder = lock_folder
        self._lease_seconds = lease_seconds
        self._crash_limit = crash_limit
        self._is_damaged = is_damaged
        self._own_left = Left(requests=())
        self._own_epoch = 0

    async def take_own(self, *, is_alone: bool) -> int:
        """Take this worker's own place and settle what was left in it; the epoch to write in.

        ``is_alone``: the lock proves that no worker of the name lives. Otherwise one may live on another machine, and
        its lease has to run out first.

        Raises:
            WorkerBusy: a worker of this name lives elsewhere.
            LakeError: a table cannot be read or written.
        """
        name = self._queue.worker_id
        if not is_alone:
            await self._await_end_of_lease(name)
        epoch = await self._queue.take_place(newer_than=await asyncio.to_thread(self._last_epoch, name))
        if not is_alone:
            await asyncio.to_thread(fence_all, self._lake, self._specs(), name, epoch)
        self._own_epoch, self._own_left = epoch, await self._left_by(name, counts_crashes=True)
        await self.recover_own_left()
        return epoch

    async def recover_own_left(self) -> None:
        """Settle what this worker's predecessor left, but for what waits for a damaged table."""
        left = self._own_left
        name, ready = self._queue.worker_id, self._ready(left)
        kept = [request for request in left.requests if request not in ready.requests]
        recovered = await self._settle(name, self._own_epoch, ready)
        self._own_left = replace(left, requests=kept)
        if recovered is not None and recovered != Recovered():
            self._events.emit(WorkerRecovered(worker=name, **asdict(recovered)))

    async def run(self) -> None:
        """Look after the claims of other workers, until cancelled. A lake that refuses is reported, once for each
        cause, and looked at again.

        Raises:
            LeaseLost: another took this worker's own place.
        """
        watch = self._watch()
        said = None
        while True:
            try:
                await self.look(watch)
            except LeaseLost:
                raise
            except LakeError as error:
                if message_of(error) != said:
                    said = message_of(error)
                    self._events.emit(TakeOverHeld(message=said, retry_seconds=watch.look_seconds))
            else:
                said = None
            await self._clock.sleep(watch.look_seconds * self._clock.speed)

    async def look(self, watch: LeaseWatch) -> None:
        """Take over from every worker that is dead. Raises LakeError."""
        waiting = [name for name, spec in self._landing_tables().items() if self._is_damaged(spec.name)]
        claimants = await self._queue.claimants(skip_types=waiting)
        for dead in await asyncio.to_thread(watch.dead, claimants):
            await self._take_over(dead)

    async def _take_over(self, dead: Dead) -> None:
        newest = await asyncio.to_thread(self._last_epoch, dead.worker)
        epoch = await self._queue.take_over_place(dead.worker, seen=dead.epoch, newer_than=newest)
        if epoch is None:
            return
        await asyncio.to_thread(fence_all, self._lake, self._specs(), dead.worker, epoch)
        left = await self._left_by(dead.worker, counts_crashes=dead.holder is not Holder.ALIVE)
        recovered = await self._settle(dead.worker, epoch, self._ready(left))
        if recovered is not None:
            self._events.emit(
                WorkerTookOver(
                    worker=self._queue.worker_id,
                    dead=dead.worker,
                    silent_seconds=dead.silent_seconds,
                    **asdict(recovered),
                )
            )

    async def _left_by(self, worker: str, *, counts_crashes: bool) -> Left:
        requests = await self._queue.unfinished(worker)
        sent = await asyncio.to_thread(sent_by, self._folder, worker) if counts_crashes else frozenset[str]()
        return Left(requests=requests, sent=sent, crash_limit=self._crash_limit)

    def _ready(self, left: Left) -> Left:
        """Without what waits for a damaged table."""
        tables = self._landing_tables()
        waiting = {name for name, spec in tables.items() if self._is_damaged(spec.name)}
        return replace(left, requests=[r for r in left.requests if r.request_type not in waiting])

    async def _settle(self, worker: str, epoch: int, left: Left) -> Recovered | None:
        """Settle what a worker left, while its place is held in the epoch; None when it no more is."""
        if not left.requests:
            return Recovered()
        landing = self._landing_tables()
        outcomes = await asyncio.to_thread(outcomes_of_left, left, self._lake, landing, self._clock.now())
        turn = await self._queue.settle_left(worker, epoch, outcomes)
        if turn is None:
            return None
        return Recovered.of([outcomes[request_id] for request_id in turn.settled])

    async def _await_end_of_lease(self, name: str) -> None:
        """Watch this name's own heartbeats for the length of a lease."""
        watch = self._watch()
        first = await asyncio.to_thread(watch.heartbeat, name)
        began = self._clock.machine_monotonic()
        while first is not None and self._clock.machine_monotonic() - began < self._lease_seconds:
            await self._clock.sleep(watch.look_seconds * self._clock.speed)
            if await asyncio.to_thread(watch.heartbeat, name) != first:
                raise WorkerBusy(f"a worker named {name} is running on another machine: stop it or rename this")

    def _watch(self) -> LeaseWatch:
        return LeaseWatch(
            lake=self._lake,
            lock_folder=self._folder,
            lease_seconds=self._lease_seconds,
            monotonic=self._clock.machine_monotonic,
        )

    def _last_epoch(self, worker: str) -> int:
        return last_epoch(self._lake, self._specs(), worker)

    def _specs(self) -> Collection[TableSpec]:
        """All that a worker can write but what is damaged: that is fenced when it is whole, before its claims are."""
        known = {table.spec.name: table.spec for table in self._tables.values()} | {WORKER_STATE.name: WORKER_STATE}
        return [spec for name, spec in known.items() if not self._is_damaged(name)]

    def _landing_tables(self) -> dict[str, TableSpec]:
        names = self._catalogue.names()
        return {name: self._tables[self._catalogue.get(name).result_table].spec for name in names}
