"""The worker: takes due requests off the queue, runs them side by side, and settles what finished.

The loop is dull. Every poll, and whenever something finished: settle what finished and claim into the free places in
one commit, start a task for each claim, wait. Requests overlap; rows land before their request is settled.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from v6.clock import Clock
from v6.core.derivation_processes import derivation_processes
from v6.core.executor import Connection, Executor, RequestTypes
from v6.core.in_flight import Finished, InFlight
from v6.core.lake_derivations import LakeDerivations
from v6.core.landed import landed_rows
from v6.core.pauses import Pauses
from v6.core.result_writer import ResultWriter
from v6.core.retry import message_of
from v6.core.sent_record import SentRecord, sent_path
from v6.core.settlement_events import settlement_event
from v6.core.table_health import TableHealth
from v6.core.take_over import TakeOver
from v6.core.worker_events import (
    RequestClaimed,
    RequestsHeld,
    WorkerLeaseLost,
    WorkerStarted,
    WorkerStopped,
    WorkerStopping,
)
from v6.core.worker_lock import WorkerLock, lock_folder
from v6.core.worker_reporter import WorkerReporter
from v6.core.write_holds import Holds
from v6.data.ib_request import REQUESTS, IBRequest
from v6.data.ib_request_queue import IBRequestQueue, Turn
from v6.data.lake import Lake
from v6.data.lake_account import LakeAccount
from v6.data.outcome import Cancelled, Outcome, SnoozeUntil
from v6.data.queue_state import ClaimLimits
from v6.data.table import Table, tables
from v6.data.worker_state import WorkerState
from v6.errors import DiskRefuses, LakeError, LeaseLost, NotDurable, SettingsError, TableDamaged
from v6.events import EventBus
from v6.request_types.base import NO_GATEWAY
from v6.request_types.policy import Policies

GATHER_SECONDS = 0.05  # machine seconds in which others may join a settlement; priority 1 does not wait
HOLD_SECONDS = 1.0  # machine seconds before a queue that could not be written is tried again
PUT_BACK = "put back: the worker stopped"


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
        if queue.worker_id != worker_name:
            raise SettingsError(f"the queue is opened for worker {queue.worker_id!r}, not for {worker_name!r}")
        self._queue = queue
        self._connection = connection
        self._catalogue = catalogue
        self._lake = lake
        self._clock = clock
        self._events = events
        self._name = worker_name
        self._poll_seconds = poll_seconds
        self._batch_size = batch_size
        self._urgent_places = urgent_places
        self._grace_seconds = grace_seconds
        self._upkeep = upkeep
        self._policies = policies or Policies()
        self._crash_limit = crash_limit
        self._aging = timedelta(seconds=aging_seconds)
        self._tables = tables() if result_tables is None else result_tables
        folder = lock_dir or lock_folder(lake)
        self._lock = WorkerLock(folder, worker_name, clock)
        self._sent = sent or SentRecord(sent_path(folder, worker_name))
        self._writer = ResultWriter(lake=lake, clock=clock, events=events, app_id=worker_name, tables=self._tables)
        self._derivations = LakeDerivations(lake, derivation_executor)
        names = catalogue.names()
        self._health = TableHealth(
            lake=lake,
            clock=clock,
            events=events,
            result_tables={name: catalogue.get(name).result_table for name in names},
            mended=self._mended,
        )
        self._executor = Executor(
            queue=queue,
            connection=connection,
            catalogue=catalogue,
            writer=self._writer,
            tables=self._tables,
            clock=clock,
            derivations=self._derivations,
            health=self._health,
            policies=self._policies,
        )
        self._in_flight = InFlight(clock.monotonic)
        self._unsettled: deque[Finished] = deque()
        self._cancelling: dict[str, str] = {}
        self._held: dict[str, str] = {}
        self._holds = Holds(clock, events)
        self._reporter = WorkerReporter(
            lake=lake,
            clock=clock,
            events=events,
            state=self._state,
            worker_name=worker_name,
            lease_seconds=lease_seconds,
        )
        self._take_over = TakeOver(
            queue=queue,
            lake=lake,
            clock=clock,
            events=events,
            catalogue=catalogue,
            tables=self._tables,
            lock_folder=folder,
            lease_seconds=lease_seconds,
            crash_limit=crash_limit,
            is_damaged=self._health.is_damaged,
        )
        self._pauses = Pauses(lake=lake, clock=clock)
        self._side_tasks: list[asyncio.Task[None]] = []
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
        self._in_flight.news.set()
        self._in_flight.urgent_news.set()

    # Starting

    async def _start(self) -> None:
        await asyncio.to_thread(self._lake.check_file_system)
        await self._health.begin(self._tables)
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
        self._side_tasks = [asyncio.create_task(work, name=name) for name, work in side.items()]
        for task in self._side_tasks:
            task.add_done_callback(lambda _: self._in_flight.urgent_news.set())
            task.add_done_callback(lambda _: self._in_flight.news.set())
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
        while not self._stopping.is_set():
            try:
                epoch = await self._take_over.take_own(is_alone=self._lake.is_local)
            except DiskRefuses as error:
                self._holds.note(REQUESTS.name, message_of(error), HOLD_SECONDS)
                await self._pause(HOLD_SECONDS, self._stopping)
                continue
            self._holds.over(REQUESTS.name)
            self._sent.open()
            self._writer.begin(epoch)
            self._reporter.begin(epoch)
            return

    async def _mended(self, table: str) -> None:
        """A damaged table is whole again: open it anew, and recover what waited for it."""
        await self._writer.call(self._writer.forget, table)
        self._health.mend(table)
        await self._take_over.recover_own_left()

    # Working

    async def _work(self, drain: bool) -> None:
        while not self._stopping.is_set():
            self._check_side_tasks()
            await self._turn()
            await self._cancel_asked()
            if drain and await self._is_drained():
                return
            await self._wait_for_news()

    def _check_side_tasks(self) -> None:
        for task in self._side_tasks:
            if task.done():
                task.result()
                raise RuntimeError(f"the worker's task {task.get_name()} ended")

    async def _turn(self) -> None:
        """Settle and claim in one commit; an idle turn only looks."""
        await self._collect()
        limits = self._claim_limits()
        try:
            if not self._unsettled and not await self._queue.has_work(limits):
                return
            turn = await self._settle_and_claim(limits)
        except (LeaseLost, NotDurable, TableDamaged):
            raise
        except LakeError as error:
            self._holds.note(REQUESTS.name, message_of(error), HOLD_SECONDS)
            await self._pause(HOLD_SECONDS, self._stopping)
            return
        self._holds.over(REQUESTS.name)
        for request in turn.claimed:
            self._begin(request)

    async def _collect(self) -> None:
        collected = self._in_flight.collect()
        self._unsettled.extend(collected.finished)
        for failure in collected.failures:
            raise failure
        for request in collected.cancelled:
            outcome = await self._cancelled(request)
            self._unsettled.append(Finished(request=request, outcome=outcome, seconds=0.0))
        for finished in self._unsettled:
            self._cancelling.pop(finished.request.request_id, None)

    async def _cancel_asked(self) -> None:
        """End the runs that a person wants cancelled."""
        for request_id, reason in (await self._queue.cancels_asked()).items():
            if request_id not in self._cancelling and self._in_flight.cancel(request_id):
                self._cancelling[request_id] = reason

    async def _cancelled(self, request: IBRequest) -> Outcome:
        """The end of a run that was cancelled, by the worker's stop or for a person: says when parts had landed."""
        reason = self._cancelling.get(request.request_id)
        if reason is None:
            return SnoozeUntil(at=self._clock.now(), reason=PUT_BACK)
        rows = await self._rows_of(request)
        return Cancelled(reason=f"{reason}; {rows} rows of it had landed before" if rows else reason)

    async def _rows_of(self, request: IBRequest) -> int:
        """How many rows of a request are stored; none where its table cannot be read now."""
        spec = self._tables[self._catalogue.get(request.request_type).result_table].spec
        try:
            rows = await self._writer.call(landed_rows, self._lake, spec, [request.request_id])
        except LakeError:
            return 0
        return int(rows.height)

    async def _settle_and_claim(self, limits: ClaimLimits) -> Turn:
        finished = list(self._unsettled)
        turn = await self._queue.turn({f.request.request_id: f.outcome for f in finished}, limits)
        self._unsettled.clear()
        for f in finished:
            self._events.emit(settlement_event(f, turn))
        return turn

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

    def _claim_limits(self) -> ClaimLimits:
        running = self._in_flight.by_type()
        types = [self._catalogue.get(name) for name in self._catalogue.names()]
        self._note_held({t.name: reason for t in types if (reason := self._obstacle(t.name, t.pacing)) is not None})
        normal_places = self._batch_size - self._urgent_places
        places = 0 if self._in_flight.runs_alone(self._crash_limit) else self._batch_size
        return ClaimLimits(
            limit=max(0, places - len(self._in_flight)),
            normal_limit=max(0, normal_places - self._in_flight.normal()),
            type_limits={t.name: max(0, self._policies.of(t).concurrency - running[t.name]) for t in types},
            skip_types=frozenset(self._held),
            crash_limit=self._crash_limit,
            running=len(self._in_flight),
            aging=self._aging,
        )

    def _obstacle(self, request_type: str, pacing: str) -> str | None:
        """Why no request of a type may begin; None when it may."""
        session = None if pacing == NO_GATEWAY else self._connection.admits(pacing)
        return self._pauses.of_type(request_type) or self._health.of_type(request_type) or session

    def _note_held(self, held: dict[str, str]) -> None:
        for name in sorted(held.keys() | self._held.keys()):
            if held.get(name) != self._held.get(name):
                self._events.emit(RequestsHeld(request_type=name, reason=held.get(name)))
        self._held = held

    async def _is_drained(self) -> bool:
        if self._unsettled or not self._in_flight.is_idle:
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
            if self._side_tasks:
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
        collected = self._in_flight.collect()
        if is_lost:
            return 0
        finished = [*self._unsettled, *collected.finished]
        outcomes = {f.request.request_id: f.outcome for f in finished}
        now = self._clock.now()
        outcomes |= {r.request_id: SnoozeUntil(at=now, reason=PUT_BACK) for r in collected.cancelled}
        if outcomes:
            turn = await self._queue.settle(outcomes)
            self._unsettled.clear()
            for f in finished:
                self._events.emit(settlement_event(f, turn))
        return len(collected.cancelled)

    async def _close(self) -> None:
        self._writer.close()
        for task in self._side_tasks:
            if task.get_name() != "result writer":
                task.cancel()
        await asyncio.gather(*self._side_tasks, return_exceptions=True)
        self._phase = "stopped"
        if self._side_tasks:
            with suppress(LeaseLost):  # said already
                await self._reporter.look()
        await self._connection.stop()
        self._sent.close()
        await self._reporter.release()
        await self._writer.release()
        self._derivations.close()

    # Seen from outside

    async def _state(self) -> WorkerState:
        reasons = sorted(set(self._held.values()))
        return WorkerState(
            worker_id=self._name,
            state=str(self._connection.state) if self._phase == "working" else self._phase,
            in_flight=len(self._in_flight),
            reason="; ".join(reasons) or None,
            waiting=await self._waiting(),
            limits_in_use=self._connection.usage(),
            account=self._connection.account,
            started_at=self._started_at,
        )

    async def _waiting(self) -> dict[str, int]:
        """How many requests wait for each reason; what waits for a free place only has none."""
        reasons = {**await self._queue.limits_reached(), **self._held}
        if not reasons:
            return {}
        counts = Counter[str]()
        for request_type, count in (await self._queue.waiting_by_type()).items():
            if request_type in reasons:
                counts[reasons[request_type]] += count
        return dict(counts)
