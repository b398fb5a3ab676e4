"""What people paused: the queue or a request type, as ``queue_controls`` says; looked at every second."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from v6.clock import Clock
from v6.data.lake import Lake
from v6.data.queue_controls import QUEUE, Pause, QueueControlsTable
from v6.errors import LakeError

LOOK_SECONDS = 1.0  # machine seconds


class Pauses:
    """The pauses that hold now."""

    def __init__(self, *, lake: Lake, clock: Clock) -> None:
        self._table = QueueControlsTable(lake, clock=clock)
        self._clock = clock
        self._paused: Mapping[str, Pause] = {}

    async def run(self) -> None:
        """Look until cancelled; while the table cannot be read what was known last holds on."""
        while True:
            with suppress(LakeError):
                await self.look()
            await self._clock.sleep(LOOK_SECONDS * self._clock.speed)

    async def look(self) -> None:
        """Look now. Raises LakeError when the table cannot be read."""
        self._paused = await asyncio.to_thread(self._table.paused_now)

    def of_type(self, request_type: str) -> str | None:
        """Why nothing of a type may begin; None when it may."""
        pause = self._paused.get(QUEUE) or self._paused.get(f"type:{request_type}")
        return None if pause is None else f"{pause.target} paused: {pause.reason or 'no reason given'}"
