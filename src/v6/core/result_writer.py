"""Appends what finished requests brought: one commit a table for whatever is ready, on the one thread with the writers.

Side tables go first. Every row is stamped with its request and with when it was known (machine time), and every commit
carries the worker's app transaction, so that rows land exactly once. Rows that do not fit fail alone; a disk that
refuses holds everything in memory until it accepts again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import polars as pl

from v6.clock import Clock
from v6.core.retry import message_of
from v6.core.worker_events import ResultsAppended
from v6.core.write_holds import Holds
from v6.data.lake import Lake
from v6.data.table import Table
from v6.data.table_spec import TableSpec
from v6.data.table_writer import TableWriter
from v6.errors import LakeError, LeaseLost, NotDurable, TableDamaged, TableIncompatible
from v6.events import EventBus
from v6.request_types.base import Fetched

GATHER_SECONDS = 0.05  # machine seconds in which others may join a commit; priority 1 does not wait
FIRST_HOLD_SECONDS = 0.5
LONGEST_HOLD_SECONDS = 30.0

Result = TypeVar("Result")


class LandingInDoubt(LakeError):
    """The rows are not known to have landed: the request must not be settled; a restart looks and decides."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Landed:
    """What became of one landing: rows written (after dropping what is stored already) and the table's version."""

    rows: int
    version: int | None


@dataclass(eq=False, kw_only=True, slots=True)
class _Landing:
    request_id: str
    table: str
    fetched: Fetched
    done: asyncio.Future[Landed]


@dataclass(frozen=True, kw_only=True)
class _Written:
    """What one commit did: rows and requests that landed, and those whose rows do not fit or whose table is damaged."""

    version: int | None
    rows: Mapping[str, int]
    misfits: Mapping[str, LakeError]
    height: int = 0


class ResultWriter:
    """Takes fetched rows from running requests and tells each when its own have landed."""

    def __init__(
        self, *, lake: Lake, clock: Clock, events: EventBus, app_id: str, tables: Mapping[str, type[Table]]
    ) -> None:
        self._lake = lake
        self._clock = clock
        self._events = events
        self._app_id = app_id
        self._epoch = 0
        self._classes = tables
        self._tables: dict[str, Table] = {}
        self._writers: dict[str, TableWriter] = {}
        self._holds = Holds(clock, events)
        self._waiting: deque[_Landing] = deque()
        self._news = asyncio.Event()
        self._urgent = asyncio.Event()
        self._closing = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="result-writer")

    def begin(self, epoch: int) -> None:
        """Write in this epoch of the worker from now on; before the first landing."""
        self._epoch = epoch

    async def land(self, request_id: str, table: str, fetched: Fetched, *, urgent: bool) -> Landed:
        """Append the rows and return when they are in the table.

        Cancelled while it waits its turn, nothing is written; cancelled while being written, it ends when that has.

        Raises:
            TableIncompatible: the rows do not fit the table; nothing of them was written.
            TableDamaged: the table or a side table cannot be read or written; nothing of them was written to it.
            LandingInDoubt: the worker stopped before it was known.
        """
        if fetched.rows.is_empty() and not fetched.side:
            return Landed(rows=0, version=None)
        landing = _Landing(
            request_id=request_id,
            table=table,
            fetched=fetched,
            done=asyncio.get_running_loop().create_future(),
        )
        self._waiting.append(landing)
        self._news.set()
        if urgent:
            self._urgent.set()
        while True:
            try:
                return await asyncio.shield(landing.done)
            except asyncio.CancelledError:
                if landing in self._waiting:
                    self._waiting.remove(landing)
                    raise

    async def run(self) -> None:
        """Append whatever is ready, until closed and empty.

        Raises:
            LeaseLost: another took this worker's place.
            NotDurable: the disk lost a write.
        """
        batch: list[_Landing] = []
        try:
            while await self._has_news():
                batch = list(self._waiting)
                self._waiting.clear()
                self._urgent.clear()
                await self._append_all(batch)
        finally:
            for landing in [*batch, *self._waiting]:
                if not landing.done.done():
                    landing.done.set_exception(LandingInDoubt(f"request {landing.request_id}: rows not known to land"))
                    landing.done.exception()  # its task may be gone: then nobody asks

    def close(self) -> None:
        """Let ``run`` end when nothing waits; a write that is held is given up."""
        self._closing.set()
        self._news.set()
        self._urgent.set()

    async def release(self) -> None:
        """Let go of the thread."""
        await asyncio.to_thread(self._thread.shutdown)

    async def call(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Run a blocking look at the tables on the writer's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def _has_news(self) -> bool:
        while not self._waiting:
            if self._closing.is_set():
                return False
            self._news.clear()
            await self._news.wait()
        await self._gather()
        return True

    async def _gather(self) -> None:
        """Leave others a moment to join, unless something urgent waits."""
        try:
            async with self._clock.timeout(GATHER_SECONDS * self._clock.speed):
                await self._urgent.wait()
        except TimeoutError:
            return

    async def _append_all(self, batch: Sequence[_Landing]) -> None:
        for name in dict.fromkeys(side for landing in batch for side in landing.fetched.side):
            rows = {x.request_id: x.fetched.side[name] for x in _unfinished(batch) if name in x.fetched.side}
            self._resolve(batch, await self._append_held(name, rows), final=False)
        for name in dict.fromkeys(landing.table for landing in batch):
            rows = {x.request_id: x.fetched.rows for x in _unfinished(batch) if x.table == name}
            self._resolve(batch, await self._append_held(name, rows), final=True)

    def _resolve(self, batch: Sequence[_Landing], written: _Written, *, final: bool) -> None:
        for landing in _unfinished(batch):
            misfit = written.misfits.get(landing.request_id)
            if misfit is not None:
                landing.done.set_exception(misfit)
            elif final and landing.request_id in written.rows:
                landing.done.set_result(Landed(rows=written.rows[landing.request_id], version=written.version))

    async def _append_held(self, name: str, rows: Mapping[str, pl.DataFrame]) -> _Written:
        """Append, and while the disk refuses, keep the rows and try again."""
        hold_seconds = FIRST_HOLD_SECONDS
        while True:
            try:
                written = await self.call(self._append, name, rows)
            except (LeaseLost, NotDurable):
                raise
            except TableDamaged as error:
                if not error.table:
                    raise
                return _Written(version=None, rows={}, misfits=dict.fromkeys(rows, error))
            except LakeError as error:
                if self._closing.is_set():
                    raise
                self._holds.note(name, message_of(error), hold_seconds)
            else:
                self._holds.over(name)
                self._report(name, written)
                return written
            await self._wait_or_close(hold_seconds)
            hold_seconds = min(LONGEST_HOLD_SECONDS, 2 * hold_seconds)

    def _report(self, name: str, written: _Written) -> None:
        if written.version is not None:
            self._events.emit(
                ResultsAppended(table=name, rows=written.height, requests=len(written.rows), version=written.version)
            )

    async def _wait_or_close(self, machine_seconds: float) -> None:
        try:
            async with self._clock.timeout(machine_seconds * self._clock.speed):
                await self._closing.wait()
        except TimeoutError:
            return

    # On the writer's thread

    def forget(self, name: str) -> None:
        """Open a table anew when it is written next: it was repaired."""
        self._writers.pop(name, None)
        self._tables.pop(name, None)

    def _append(self, name: str, rows: Mapping[str, pl.DataFrame]) -> _Written:
        if not rows:
            return _Written(version=None, rows={}, misfits={})
        try:
            table, writer = self._open(name)
        except TableIncompatible as error:
            return _Written(version=None, rows={}, misfits=dict.fromkeys(rows, error))
        fitting, misfits = self._conform(table.spec, rows)
        written = dict.fromkeys(fitting, 0)
        if not fitting:
            return _Written(version=None, rows=written, misfits=misfits)
        with self._lake.reading(name):
            news = table.prepare(pl.concat(fitting.values()))
        if news.is_empty():
            writer.flush()  # what is stored already may be another writer's last commit
            return _Written(version=None, rows=written, misfits=misfits)
        version = writer.append(news)
        if "request_id" in news.columns:
            written.update(news["request_id"].value_counts().iter_rows())
        return _Written(version=version, rows=written, misfits=misfits, height=news.height)

    def _conform(
        self, spec: TableSpec, rows: Mapping[str, pl.DataFrame]
    ) -> tuple[dict[str, pl.DataFrame], dict[str, TableIncompatible]]:
        fitting, misfits = {}, {}
        for request_id, frame in rows.items():
            if frame.is_empty():
                fitting[request_id] = spec.empty()
                continue
            stamps = {"request_id": pl.lit(request_id), "known_at": pl.lit(self._clock.machine_now())}
            stamped = frame.with_columns(**{k: v for k, v in stamps.items() if k in spec.schema})
            try:
                fitting[request_id] = spec.conform(stamped)
            except TableIncompatible as error:
                misfits[request_id] = error
            except pl.exceptions.PolarsError as error:
                misfits[request_id] = TableIncompatible(f"rows for {spec.name} do not fit: {message_of(error)}")
        return fitting, misfits

    def _open(self, name: str) -> tuple[Table, TableWriter]:
        if name not in self._writers:
            if name not in self._classes:
                raise TableIncompatible(f"there is no table {name}: known are {', '.join(sorted(self._classes))}")
            table = self._classes[name](self._lake, clock=self._clock)
            self._writers[name] = self._writer(table.spec)
            self._tables[name] = table
        return self._tables[name], self._writers[name]

    def _writer(self, spec: TableSpec) -> TableWriter:
        """Raises TableDamaged also for a table of another version: no rows are at fault, and what needs it waits."""
        try:
            return TableWriter(self._lake, spec, app_id=self._app_id, epoch=self._epoch)
        except TableIncompatible as error:
            raise TableDamaged(str(error), table=spec.name) from error


def _unfinished(batch: Sequence[_Landing]) -> list[_Landing]:
    return [landing for landing in batch if not landing.done.done()]
