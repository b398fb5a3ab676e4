"""Which tables cannot be used: what needs them is held, spends no attempt, and goes on when they have been repaired.

That is a table that is damaged, and one whose columns are of another version.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from v6.clock import Clock
from v6.core.worker_events import TableHeld
from v6.data.ib_request import REQUESTS
from v6.data.lake import Lake
from v6.data.lake_account import LAKE_ACCOUNT
from v6.data.queue_controls import QUEUE_CONTROLS
from v6.data.table import Table
from v6.errors import LakeError, TableDamaged, TableIncompatible
from v6.events import EventBus

UNUSABLE = (TableDamaged, TableIncompatible)
LOOK_SECONDS = 5.0  # machine seconds between looks at what is damaged
NEEDED_BY_ALL = (REQUESTS.name, LAKE_ACCOUNT.name, QUEUE_CONTROLS.name)  # the last says what is paused


class TableHealth:
    """Looks at every table at the start, and at the damaged ones until they are whole again."""

    def __init__(
        self,
        *,
        lake: Lake,
        clock: Clock,
        events: EventBus,
        tables: Mapping[str, type[Table]],
        result_tables: Mapping[str, str],
        mended: Callable[[str], Awaitable[None]],
    ) -> None:
        """``tables`` are those that a worker uses, ``result_tables`` is each request type's own; ``mended`` is told of
        one that is whole again."""
        self._lake = lake
        self._clock = clock
        self._events = events
        self._tables = tables
        self._needs = {request_type: {table} for request_type, table in result_tables.items()}
        self._mended = mended
        self._damaged: dict[str, str] = {}

    async def begin(self) -> None:
        """Look at the tables that a worker uses.

        Raises:
            TableDamaged: one without which nothing can be done.
            TableIncompatible: such a one is of another version.
            LakeError: such a one could not be read; trying again may help.
        """
        for table in NEEDED_BY_ALL:
            await asyncio.to_thread(self._check, table)
        for table in self._tables:
            try:
                await asyncio.to_thread(self._check, table)
            except LakeError as error:  # one that could not be read is looked at again like one that is damaged
                self._hold(table, error)

    async def run(self) -> None:
        """Look again at what cannot be used, until cancelled."""
        while True:
            await self._clock.sleep(LOOK_SECONDS * self._clock.speed)
            for table in list(self._damaged):
                await self._look(table)

    def note(self, request_type: str, error: TableDamaged) -> None:
        """A request could not run because of a table, its own or one beside it."""
        if not error.table or error.table in NEEDED_BY_ALL:
            return
        self._needs.setdefault(request_type, set()).add(error.table)
        self._hold(error.table, error)

    def mend(self, table: str) -> None:
        """A table is whole again."""
        if self._damaged.pop(table, None) is not None:
            self._events.emit(TableHeld(table=table))

    def is_damaged(self, table: str) -> bool:
        """Whether a table cannot be used, as far as is known."""
        return table in self._damaged

    def of_type(self, request_type: str) -> str | None:
        """Why no request of a type may begin; None when it may."""
        reasons = [self._damaged[t] for t in sorted(self._needs.get(request_type, ())) if t in self._damaged]
        return reasons[0] if reasons else None

    def _check(self, table: str, *, deep: bool = False) -> None:
        self._lake.check_table(table, deep=deep)
        spec = REQUESTS if table == REQUESTS.name else self._tables[table].spec if table in self._tables else None
        if spec is not None:
            self._lake.check_fits(spec)

    def _hold(self, table: str, error: LakeError) -> None:
        if table not in self._damaged:
            self._damaged[table] = str(error)
            self._events.emit(TableHeld(table=table, reason=str(error)))

    async def _look(self, table: str) -> None:
        try:
            await asyncio.to_thread(self._check, table, deep=True)
        except UNUSABLE as error:
            self._damaged[table] = str(error)
            return
        except LakeError:  # it could not be read just now, which says nothing of it
            return
        await self._mended(table)
        self.mend(table)
