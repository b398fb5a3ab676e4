"""The only way to append results: one object per table and worker.

Its every commit carries the worker's app transaction, so that a worker that lost its place cannot write (facts measured
in docs/lake.md).
"""

from __future__ import annotations

import polars as pl

from v6.data.delta import COMMIT_TRIES, DeltaError, append, first_line, scan_table
from v6.data.lake import Lake
from v6.data.opened_table import OpenedTable
from v6.data.refusal import raise_refusal
from v6.data.table_spec import TableSpec
from v6.errors import LakeError, LeaseLost

SEQUENCE_BITS = 32  # an app transaction's version is the epoch, then the number of the commit within it


class TableWriter:
    """Appends results for one worker to one table; refused once somebody fenced the worker's app id."""

    def __init__(self, lake: Lake, spec: TableSpec, *, app_id: str, epoch: int) -> None:
        """Open the table and claim the app id for this epoch (an empty commit), fencing every earlier epoch.

        A second writer of one epoch goes on where the first left off.

        Raises:
            LeaseLost: a later epoch has been here, or somebody fenced this one.
            LakeError: the table cannot be opened or written.
        """
        self.spec = spec
        self._lake = lake
        self._app_id = app_id
        self._opened = OpenedTable(lake.ensure(spec))
        self._version = self._stored_version()
        first = epoch << SEQUENCE_BITS
        if self._version >= ((epoch + 1) << SEQUENCE_BITS) - 1:
            raise LeaseLost(self._fenced_text())
        if self._version < first:
            self._commit(spec.empty(), first)

    def append(self, frame: pl.DataFrame) -> int:
        """Append the rows, conformed to the table, in one commit that is on the disk; the table's version afterwards.

        Raises:
            TableIncompatible: the rows do not fit the table.
            NotDurable: the rows landed and could not be flushed.
            LeaseLost: a later epoch of this worker, or whoever took over from it, has fenced it; nothing was written.
            LakeError: the commit did not land.
        """
        return self._commit(self.spec.conform(frame), self._version + 1)

    def flush(self) -> int:
        """Make sure that whatever this object has seen of the table is on the disk; the table's version."""
        version = self._opened.version
        self._lake.flush(self.spec.name, version)
        return version

    def _commit(self, frame: pl.DataFrame, version: int) -> int:
        for _ in range(COMMIT_TRIES):
            self._opened = self._lake.renewed(self.spec.name, self._opened)
            self._check_not_fenced()
            self._lake.check_room(frame)
            try:
                append(self._opened.table, frame, app_transactions={self._app_id: version})
            except (DeltaError, OSError) as error:
                failure = error  # and the commit may have landed all the same
                self._opened = OpenedTable(self._lake.open(self.spec.name))
                if self._stored_version() != version:
                    raise_refusal(error, self._lake.url)
                    continue
            self._version = version
            return self.flush()
        raise LakeError(f"rows for {self.spec.name} could not be appended: {first_line(failure)}") from failure

    def _check_not_fenced(self) -> None:
        if self._stored_version() != self._version:
            raise LeaseLost(self._fenced_text())

    def _stored_version(self) -> int:
        try:
            return self._opened.transaction_version(self._app_id)
        except (DeltaError, OSError):  # others wrote on while this one slept, and the log of its snapshot is gone
            self._opened = OpenedTable(self._lake.open(self.spec.name))
            return self._opened.transaction_version(self._app_id)

    def _fenced_text(self) -> str:
        return f"worker {self._app_id} was fenced from {self.spec.name}: another has taken over; start it again"


def stored_epoch(lake: Lake, spec: TableSpec, app_id: str) -> int:
    """The last epoch in which a worker wrote to a table, or was fenced from it; 0 when never. Blocks."""
    if not lake.exists(spec.name):
        return 0
    return ((lake.open(spec.name).transaction_version(app_id) or 0) + 1) >> SEQUENCE_BITS


def fence(lake: Lake, spec: TableSpec, *, app_id: str, epoch: int) -> None:
    """Refuse every commit that a worker makes in an epoch before ``epoch``, also by writers it has yet to open. Blocks.

    A table that is absent is made, so that the worker cannot make it either.

    Raises:
        LakeError: the commit did not land: nobody is fenced.
    """
    last = (epoch << SEQUENCE_BITS) - 1
    failure: Exception | None = None
    for _ in range(COMMIT_TRIES):
        table = lake.open(spec.name) if lake.exists(spec.name) else lake.ensure(spec)
        if (table.transaction_version(app_id) or 0) >= last:
            lake.flush(spec.name, int(table.version()))
            return
        try:
            append(table, scan_table(table).head(0).collect(), app_transactions={app_id: last})
        except (DeltaError, OSError) as error:
            failure = error
            continue
        lake.flush(spec.name, int(table.version()))
        return
    raise LakeError(f"worker {app_id} could not be fenced from {spec.name}: {failure}") from failure
