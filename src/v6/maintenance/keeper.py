"""What lets a worker's lake be maintained beside its work: asks a helper process for a round when one is due.

A process of its own, because joining and folding take memory and whole cores for seconds at times, and an urgent
request must not wait for that. It is there only while there is something to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from v6.clock import Clock
from v6.events import EventBus
from v6.maintenance.events import MaintenanceFailed, TableMaintained
from v6.maintenance.report import TableReport
from v6.settings import Settings, as_environment

LOOK_SECONDS = 0.25  # machine seconds between looks at what is due
DUE_COMMITS = 50  # so many commits of the queue make a round due, for they come while it goes on too
IDLE_SECONDS = 20.0  # so long the helper waits for the next round before it is let go
THOROUGH_SECONDS = 86_400.0
LONGEST_ROUND_SECONDS = 3_600.0
END_SECONDS = 5.0
LINE_BYTES = 2**20


class Keeper:
    """Maintains a lake from time to time."""

    def __init__(self, *, settings: Settings, clock: Clock, events: EventBus, version: Callable[[], int]) -> None:
        """``version`` is the version of the queue's table that the worker has seen last."""
        self._settings = settings
        self._clock = clock
        self._events = events
        self._version = version
        self._seen = version()
        self._process: Process | None = None
        now = clock.machine_monotonic()
        self._round_at = now
        self._thorough_at = now - THOROUGH_SECONDS  # the first round of a worker is one

    async def run(self) -> None:
        """Maintain until cancelled."""
        try:
            while True:
                await self._clock.sleep(LOOK_SECONDS * self._clock.speed)
                await self._look()
        finally:
            await self._let_go()

    async def _look(self) -> None:
        now = self._clock.machine_monotonic()
        if self._version() - self._seen >= DUE_COMMITS or now - self._round_at >= self._settings.maintenance_seconds:
            await self._round(now)
        elif now - self._round_at >= IDLE_SECONDS:
            await self._let_go()

    async def _round(self, now: float) -> None:
        self._seen = self._version()
        thorough = now - self._thorough_at >= THOROUGH_SECONDS
        try:
            await self._ask(thorough)
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            self._events.emit(MaintenanceFailed(table=None, message=f"the helper process ended: {error!r}"))
            await self._let_go()
        else:
            self._thorough_at = now if thorough else self._thorough_at
        self._round_at = self._clock.machine_monotonic()

    async def _ask(self, thorough: bool) -> None:
        """Have one round done and report it."""
        process = self._process or await self._start()
        if process.stdin is None or process.stdout is None:
            raise EOFError("it has no pipes")
        process.stdin.write(json.dumps({"thorough": thorough}).encode() + b"\n")
        await process.stdin.drain()
        async with self._clock.timeout(LONGEST_ROUND_SECONDS * self._clock.speed):
            while (line := await process.stdout.readline()) != b"\n":
                if not line:
                    raise EOFError(f"exit code {await process.wait()}")
                self._report(json.loads(line))

    def _report(self, row: dict[str, Any]) -> None:
        report = TableReport.from_row(row)
        if report.error is not None:
            self._events.emit(MaintenanceFailed(table=report.table, message=report.error))
        elif report.did_anything:
            values = {f.name: getattr(report, f.name) for f in fields(TableMaintained)}
            self._events.emit(TableMaintained(**values))

    async def _start(self) -> Process:
        command = [sys.executable, "-m", "v6.maintenance.helper"]
        environment = {**os.environ, **as_environment(self._settings), "POLARS_MAX_THREADS": "1"}
        self._process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, env=environment, limit=LINE_BYTES
        )
        return self._process

    async def _let_go(self) -> None:
        """End the helper: it finishes what it is at, or is killed when that takes long."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with self._clock.timeout(END_SECONDS * self._clock.speed):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
