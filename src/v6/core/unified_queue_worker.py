"""The worker: takes due requests off the queue, runs them side by side, and settles what finished.

The loop is dull. Every poll, and whenever something finished: settle what finished and claim into the free places in
one commit, start a task for each claim, wait. Requests overlap; rows land before their request is settled.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from v6.clock import Clock
from v6.core.claim_gate import Places
from v6.core.derivation_processes import derivation_processes
from v6.core.executor import Connection, RequestTypes
from v6.core.in_flight import InFlight
from v6.core.lake_derivations import LakeDerivations
from v6.core.pauses import Pauses
from v6.core.retry import message_of
from v6.core.sent_record import SentRecord, sent_path
from v6.core.side_tasks import SideTasks
from v6.core.worker_events import (
    RequestClaimed,
    WorkerLeaseLost,
    WorkerStarted,
    WorkerStopped,
    WorkerStopping,
)
from v6.core.worker_lock import WorkerLock, lock_folder
from v6.core.workplace import Workplace
from v6.core.write_holds import Holds
from v6.data.ib_request import REQUESTS, IBRequest
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.lake import Lake
from v6.data.lake_account import LakeAccount
from v6.data.outcome import Outcome
from v6.data.table import Table, tables
from v6.data.worker_state import WorkerState
from v6.errors import DiskRefuses, LakeError, LeaseLost, NotDurable, TableDamaged
from v6.events import EventBus
from v6.request_types.policy import Policies

Result = TypeVar("Result")

GATHER_SECONDS = 0.05  # machine seconds in which others may join a settlement; priority 1 does not wait
HOLD_SECONDS = 1.0  # machine seconds before a queue that could not be written is tried again


class UnifiedQueueWorker:
    """Runs requests from one queue through one connection."""

    def __init__(
        self,
        *,
        queue: IBRequestQueue,
        connection: Connection,
        catalogue: RequestTypes,
        lake: Lake,
        clock: Clock,
        events: EventBus,
        worker_name: str = "worker",
        poll_seconds: float = 0.25,
        batch_size: int = 50,
        urgent_places: int = 5,
        grace_seconds: float = 20.0,
        lease_seconds: float = 30.0,
        crash_limit: int = 3,
        aging_seconds: float = 21_600.0,
        sent: SentRecord | None = None,
        result_tables: Mapping[str, type[Table]] | None = None,
        lock_dir: Path | None = None,
        derivation_executor: Callable[[], concurrent.futures.Executor] = derivation_processes,
        upkeep: Callable[[], Coroutine[Any, Any, None]] | None = None,
        policies: Policies | None = None,
    ) -> None:
        """``poll_seconds``, ``grace_seconds`` and ``lease_seconds`` are machine time; ``urgent_places`` of
        ``batch_size`` are kept for priority 1; after ``crash_limit`` crashes a request runs alone; ``sent`` is told by
        the connection whose message goes out; ``result_tables`` replaces the package's own. The queue's ``worker_id``
        is the worker's name. ``derivation_executor`` makes what statistics are computed on; ``upkeep`` maintains the
        lake beside the work; ``policies`` are the types' numbers, by default as they declare them."""
        place = Workplace(
            worker_name=worker_name,
            queue=queue,
            connection=connection,
            catalogue=catalogue,
            lake=lake,
            clock=clock,
            events=events,
            tables=tables() if result_tables is None else result_tables,
            folder=lock_dir or lock_folder(lake),
            policies=policies or Policies(),
        )
        places = Places(
            total=batch_size,
            urgent=urgent_places,
            crash_limit=crash_limit,
            aging=timedelta(seconds=aging_seconds),
        )
        self._name = worker_name
        self._queue = queue
        self._connection = connection
        self._lake = lake
        self._clock = clock
        self._events = events
        self._poll_seconds = poll_seconds
        self._grace_seconds = grace_seconds
        self._upkeep = upkeep
        self._lock = WorkerLock(place.folder, worker_name, clock)
        self._sent = sent or SentRecord(sent_path(place.folder, worker_name))
        self._pauses = Pauses(lake=lake, clock=clock)
        self._holds = Holds(clock, events)
        self._in_flight = InFlight(clock.monotonic)
        self._writer = place.result_writer()
        self._health = place.table_health(self._mended)
        self._derivations = LakeDerivations(lake, derivation_executor)
        self._executor = place.executor(writer=self._writer, derivations=self._derivations, health=self._health)
        self._gate = place.claim_gate(
            pauses=self._pauses, health=self._health, in_flight=self._in_flight, places=places
        )
        self._settling = place.settling(self._in_flight, self._executor)
        self._reporter = place.reporter(self._state, lease_seconds)
        self._take_over = place.take_over(health=self._health, lease_seconds=lease_seconds, crash_limit=crash_limit)
        self._side_tasks = SideTasks(self._wake)
        self._stopping = asyncio.Event()
        self._connecting: asyncio.Task[None] | None = None
        self._phase = "starting"
        self._started_at = clock.machine_now()

    async def run(self, *, drain: bool = False) -> None:
        """Work until stopped, or with ``drain`` until nothing is left to do.

        Raises:
            WorkerBusy: a worker of this name is running.
            GatewayUnavailable: the first connection was refused.
            AccountMismatch: the lake belongs to another account.
            LeaseLost: another took over this worker's place.
            NotDurable: the disk lost a write.
            LakeError: the lake cannot be used.
        """
        self._lake.check_usable()
        with self._lock:
            failure: BaseException | None = None
            try:
                await self._start()
                await self._work(drain)
            except LeaseLost as error:
                failure = error
                self._events.emit(WorkerLeaseLost(worker=self._name, message=message_of(error)))
                raise
            except BaseException as error:
                failure = error
                raise
            finally:
                await self._finish(failure)

    def stop(self) -> None:
        """Claim nothing more; ``run`` returns when what runs has finished or was put back. Twice: no grace."""
        if self._stopping.is_set():
            for task in self._in_flight.tasks():
                task.cancel()
        self._stopping.set()
        if self._connecting is not None:
            self._connecting.cancel()
        self._wake()

    def _wake(self) -> None:
        self._in_flight.news.set()
        self._in_flight.urgent_news.set()

    # Starting

    async def _start(self) -> None:
        await self._held_by_disk(lambda: asyncio.to_thread(self._lake.check_file_system))
        await self._health.begin()
        if not await self._connect():
            return
        account = self._connection.account
        await self._writer.call(LakeAccount(self._lake, clock=self._clock).check, account)
        await self._take_place()
        if self._stopping.is_set():
            return
        await self._pauses.look()
        side = {"result writer": self._writer.run(), "connection": self._connection.run()}
        side["worker reporter"] = self._reporter.run()
        side["pauses"] = self._pauses.run()
        side["table health"] = self._health.run()
        if self._upkeep is not None:
            side["upkeep"] = self._upkeep()
        side["take-over"] = self._take_over.run()
        self._side_tasks.begin(side)
        self._phase = "working"
        self._events.emit(WorkerStarted(worker=self._name, account=account))

    async def _connect(self) -> bool:
        """Open the session; False when the worker was stopped before it was open."""
        if self._stopping.is_set():
            return False
        self._connecting = asyncio.create_task(self._connection.start(), name="first connection")
        try:
            await self._connecting
        except asyncio.CancelledError:
            if not self._stopping.is_set():
                raise
            return False
        finally:
            self._connecting = None
        return True

    async def _take_place(self) -> None:
        """Settle what a predecessor of this name left claimed, and write in an epoch of one's own from here on."""
        epoch = await self._held_by_disk(lambda: self._take_over.take_own(is_alone=self._lake.is_local))
        if epoch is not None:
            self._sent.open()
            self._writer.begin(epoch)
            self._reporter.begin(epoch)

    async def _held_by_disk(self, step: Callable[[], Awaitable[Result]]) -> Result | None:
        """Take a step of the start, again and again while the disk is full; None when stopped before it was taken."""
        while not self._stopping.is_set():
            try:
                taken = await step()
            except DiskRefuses as error:
                self._holds.note(REQUESTS.name, message_of(error), HOLD_SECONDS)
                await self._pause(HOLD_SECONDS, self._stopping)
                continue
            self._holds.over(REQUESTS.name)
            return taken
        return None

    async def _mended(self, table: str) -> None:
        """A damaged table is whole again: open it anew, and recover what waited for it."""
        await self._writer.call(self._writer.forget, table)
        self._health.mend(table)
        await self._take_over.recover_own_left()

    # Working

    async def _work(self, drain: bool) -> None:
        while not self._stopping.is_set():
            self._side_tasks.check()
            await self._turn()
            await self._settling.cancel_asked()
            if drain and await self._is_drained():
                return
            await self._wait_for_news()

    async def _turn(self) -> None:
        """Settle and claim in one commit; an idle turn only looks."""
        await self._settling.collect()
        limits = self._gate.limits()
        try:
            if self._settling.is_idle and not await self._queue.has_work(limits):
                return
            turn = await self._settling.settle_and_claim(limits)
        except (LeaseLost, NotDurable, TableDamaged):
            raise
        except LakeError as error:
            self._holds.note(REQUESTS.name, message_of(error), HOLD_SECONDS)
            await self._pause(HOLD_SECONDS, self._stopping)
            return
        self._holds.over(REQUESTS.name)
        for request in turn.claimed:
            self._begin(request)

    def _begin(self, request: IBRequest) -> None:
        waited = (request.updated_at - request.created_at).total_seconds()
        self._events.emit(
            RequestClaimed(
                request_id=request.request_id,
                request_type=request.request_type,
                symbol=request.symbol,
                priority=request.priority,
                waited_seconds=round(waited, 3),
            )
        )
        self._in_flight.start(request, self._run(request))

    async def _run(self, request: IBRequest) -> Outcome:
        self._sent.begin(request.request_id)
        try:
            return await self._executor.run(request)
        finally:
            self._sent.end(request.request_id)

    async def _is_drained(self) -> bool:
        if not (self._settling.is_idle and self._in_flight.is_idle):
            return False
        stats = await self._queue.stats()
        return not (stats.due or stats.delayed)

    async def _wait_for_news(self) -> None:
        """Until the next poll; after a request finished, until others had a moment to join it."""
        await self._pause(self._poll_seconds, self._in_flight.news)
        if self._in_flight.news.is_set() and len(self._in_flight):
            await self._pause(GATHER_SECONDS, self._in_flight.urgent_news)

    async def _pause(self, machine_seconds: float, news: asyncio.Event) -> None:
        try:
            async with self._clock.timeout(machine_seconds * self._clock.speed):
                await news.wait()
        except TimeoutError:
            return

    # Stopping

    async def _finish(self, failure: BaseException | None) -> None:
        """Let what runs finish within the grace, put the rest back, settle, disconnect."""
        self._phase = "stopping"
        put_back = 0
        try:
            if self._side_tasks.have_begun:
                self._events.emit(WorkerStopping(worker=self._name, running=len(self._in_flight)))
                if failure is None:
                    await self._grace()
                put_back = await self._put_back(is_lost=isinstance(failure, LeaseLost))
        finally:
            await self._close()
            error = None if failure is None else message_of(failure)
            self._events.emit(WorkerStopped(worker=self._name, put_back=put_back, error=error))

    async def _grace(self) -> None:
        tasks = self._in_flight.tasks()
        if tasks:
            await asyncio.wait(tasks, timeout=self._grace_seconds)

    async def _put_back(self, *, is_lost: bool) -> int:
        """Cancel what still runs and settle everything; what is in doubt stays claimed for the restart to look at.

        With the lease lost nothing is settled: others speak for the claims."""
        tasks = self._in_flight.tasks()
        for task in tasks:
            task.cancel()
        self._writer.close()
        if tasks:
            await asyncio.wait(tasks)
        if is_lost:
            self._in_flight.collect()
            return 0
        return await self._settling.settle_all()

    async def _close(self) -> None:
        self._writer.close()
        await self._side_tasks.end(ends_by_itself="result writer")
        self._phase = "stopped"
        if self._side_tasks.have_begun:
            with suppress(LeaseLost):  # said already
                await self._reporter.look()
        await self._connection.stop()
        self._sent.close()
        await self._reporter.release()
        await self._writer.release()
        self._derivations.close()

    # Seen from outside

    async def _state(self) -> WorkerState:
        reasons = sorted(set(self._gate.held.values()))
        return WorkerState(
            worker_id=self._name,
            state=str(self._connection.state) if self._phase == "working" else self._phase,
            in_flight=len(self._in_flight),
            reason="; ".join(reasons) or None,
            waiting=await self._gate.waiting(self._queue),
            limits_in_use=self._connection.usage(),
            account=self._connection.account,
            started_at=self._started_at,
        )
