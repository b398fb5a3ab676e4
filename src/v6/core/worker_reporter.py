"""Appends the worker's state to ``worker_state`` on every change and every few seconds.

Each row is a heartbeat: its commit carries the worker's app transaction, and renews the lease on the worker's claims.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from v6.clock import Clock
from v6.core.retry import message_of
from v6.core.write_holds import Holds
from v6.data.lake import Lake
from v6.data.table_writer import TableWriter
from v6.data.worker_state import WORKER_STATE, WorkerState, WorkerStateTable
from v6.errors import LakeError, LeaseLost
from v6.events import EventBus

Result = TypeVar("Result")

LOOK_SECONDS = 0.5  # machine seconds between looks at what may have changed
HEARTBEAT_SECONDS = 5.0  # machine seconds between rows when nothing changes, at most
HEARTBEATS = 5  # in the length of a lease, at least


class WorkerReporter:
    """Looks at the worker and writes down how it is."""

    def __init__(
        self,
        *,
        lake: Lake,
        clock: Clock,
        events: EventBus,
        state: Callable[[], Awaitable[WorkerState]],
        worker_name: str,
        lease_seconds: float,
    ) -> None:
        self._lake = lake
        self._worker_name = worker_name
        self._heartbeat_seconds = min(HEARTBEAT_SECONDS, lease_seconds / HEARTBEATS)
        self._table = WorkerStateTable(lake, clock=clock)
        self._writer: TableWriter | None = None
        self._epoch = 0
        self._clock = clock
        self._holds = Holds(clock, events)
        self._state = state
        self._reported: object = None
        self._reported_at = float("-inf")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="worker-state")

    def begin(self, epoch: int) -> None:
        """Report as the worker of that epoch: from the first row on nobody of an earlier one can report any more."""
        self._epoch = epoch

    async def run(self) -> None:
        """Report until cancelled. Raises LeaseLost when another took over this worker's place."""
        while True:
            await self.look()
            await self._clock.sleep(min(LOOK_SECONDS, self._heartbeat_seconds) * self._clock.speed)

    async def look(self) -> None:
        """Write the state down when it changed or a heartbeat is due; a lake that refuses is reported, not fatal.

        Raises:
            LeaseLost: another took over this worker's place.
        """
        state = await self._state()
        essence = (state.state, state.reason, sorted(state.waiting), state.account)
        now = self._clock.machine_monotonic()
        if essence == self._reported and now - self._reported_at < self._heartbeat_seconds:
            return
        try:
            await self._call(self._record, state)
        except LeaseLost:
            raise
        except LakeError as error:
            self._holds.note(WORKER_STATE.name, message_of(error), self._heartbeat_seconds)
        else:
            self._holds.over(WORKER_STATE.name)
        self._reported, self._reported_at = essence, now

    def _record(self, state: WorkerState) -> None:
        if self._writer is None:
            self._writer = TableWriter(self._lake, WORKER_STATE, app_id=self._worker_name, epoch=self._epoch)
        self._writer.append(self._table.row(state))

    async def _call(self, work: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def release(self) -> None:
        """Let go of the thread."""
        await asyncio.to_thread(self._thread.shutdown)
