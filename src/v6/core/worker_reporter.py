"""Appends the worker's state to ``worker_state`` on every change and every few seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from v6.clock import Clock
from v6.core.retry import message_of
from v6.core.write_holds import Holds
from v6.data.delta import Lake
from v6.data.worker_state import WORKER_STATE, WorkerState, WorkerStateTable
from v6.errors import LakeError
from v6.events import EventBus

LOOK_SECONDS = 0.5  # machine seconds between looks at what may have changed
HEARTBEAT_SECONDS = 5.0  # machine seconds between rows when nothing changes


class WorkerReporter:
    """Looks at the worker and writes down how it is."""

    def __init__(
        self, *, lake: Lake, clock: Clock, events: EventBus, state: Callable[[], Awaitable[WorkerState]]
    ) -> None:
        self._table = WorkerStateTable(lake, clock=clock)
        self._clock = clock
        self._holds = Holds(clock, events)
        self._state = state
        self._reported: object = None
        self._reported_at = float("-inf")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="worker-state")

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(LOOK_SECONDS * self._clock.speed)

    async def look(self) -> None:
        """Write the state down when it changed or a heartbeat is due; a lake that refuses is reported, not fatal."""
        state = await self._state()
        essence = (state.state, state.reason, sorted(state.waiting), state.account)
        now = self._clock.machine_monotonic()
        if essence == self._reported and now - self._reported_at < HEARTBEAT_SECONDS:
            return
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._table.record, state)
        except LakeError as error:
            self._holds.note(WORKER_STATE.name, message_of(error), HEARTBEAT_SECONDS)
        else:
            self._holds.over(WORKER_STATE.name)
        self._reported, self._reported_at = essence, now

    async def release(self) -> None:
        """Let go of the thread."""
        await asyncio.to_thread(self._thread.shutdown)
