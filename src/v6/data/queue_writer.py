"""The one writer object of the queue: folds, compares and swaps.

Every change of state but the first insert is an append that carries the queue's app transaction, decided on the
snapshot it is committed from. Delta refuses the later of two such commits that start from one snapshot, but it does not
notice a table object that moved on since the decision: so every refresh folds up to the object's very version before
anything is decided, and nothing touches the object between the decision and the commit. One thread only.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import polars as pl

from v6.clock import Clock
from v6.data.delta import DeltaError, DeltaTable, append, scan_table
from v6.data.ib_request import REQUESTS, IBRequest, frame_of
from v6.data.lake import Lake
from v6.data.opened_table import OpenedTable
from v6.data.queue_log import Commit, QueueLog, load
from v6.data.queue_state import KEY_MEMORY, QueueState
from v6.data.recent_claims import Rate
from v6.data.refusal import raise_refusal
from v6.errors import CommitContended, LeaseLost

APP_ID = "ib_requests"
PLACE = "worker:"  # app id of a worker's place in the queue; its version is the epoch in which the place is held
TRIES = 100
SAME_ROW = ["request_id", "revision", "status", "worker_id", "updated_at"]
RIVAL_SECONDS = 1.0  # so long after a rival's commit this writer leaves it a turn after each of its own

Decision = Callable[[QueueState], Sequence[IBRequest]]


class QueueWriter:
    """Folds ``ib_requests`` and commits changes of state to it."""

    def __init__(
        self,
        lake: Lake,
        clock: Clock,
        key_memory: timedelta = KEY_MEMORY,
        rates: Mapping[str, Rate] | None = None,
    ) -> None:
        """``key_memory`` is how long the last request of a key is remembered after its end; ``rates`` limit claims."""
        self._rates = rates
        self._lake = lake
        self._key_memory = key_memory
        self._clock = clock
        self._log = QueueLog(lake)
        self._opened: OpenedTable | None = None
        self._births: OpenedTable | None = None  # first inserts are plain appends and have an object of their own
        self._folded = -1
        self._loads = 0
        self._tokens: set[str] = set()  # commits whose landing is unknown
        self._landed: set[str] = set()
        self._last_token = ""
        self._rival_at = float("-inf")
        self._held: tuple[str, int] | None = None
        self.state = QueueState(key_memory, rates)

    @property
    def version(self) -> int:
        """The version that is folded; -1 before the first look. Any thread may ask."""
        return self._folded

    def refresh(self) -> bool:
        """Fold what is new; True when anything was."""
        if self._opened is None:
            return self._reopen()
        self._opened = self._lake.caught_up(REQUESTS.name, self._opened)
        return self._catch_up(self._opened.table)

    @property
    def has_table(self) -> bool:
        """Whether the table was met already."""
        return self._opened is not None

    @property
    def _table(self) -> DeltaTable | None:
        return None if self._opened is None else self._opened.table

    def place_of(self, worker: str) -> int:
        """The epoch in which a worker's place is held, as of what is folded; 0 when it never was."""
        if self._opened is None:
            return 0
        try:
            return self._opened.transaction_version(PLACE + worker)
        except (DeltaError, OSError):  # the log of its snapshot is gone, and what is decided on it will not land
            self._opened = OpenedTable(self._lake.open(REQUESTS.name))
            return self._opened.transaction_version(PLACE + worker)

    def hold(self, worker: str, epoch: int) -> None:
        """From now on nothing is written but while that worker's place is held in that epoch."""
        self._held = (worker, epoch)

    def let_go(self) -> None:
        """Write without holding a place."""
        self._held = None

    def check_place(self) -> None:
        """Raise LeaseLost when another took the place that is held, as of what is folded."""
        if self._held is not None and self.place_of(self._held[0]) != self._held[1]:
            raise LeaseLost(f"worker {self._held[0]} lost its lease: another took over its requests")

    def transact(self, decide: Decision, *, places: Mapping[str, int] | None = None) -> list[IBRequest]:
        """Commit the rows that ``decide`` gives for the newest state, deciding anew whenever a rival came first.

        They are on the disk when it returns, with every commit before them. ``places`` gives workers' places an epoch
        in the same commit.

        Raises:
            NotDurable: the rows landed and could not be flushed.
            CommitContended: rivals came first too often, or the disk refused; nothing was written.
            LeaseLost: another took the place that is held; nothing was written.
        """
        failure: Exception | None = None
        self._give_way()
        for attempt in range(TRIES):
            table = self._refreshed()
            self.check_place()
            rows = list(decide(self.state))
            if not rows and not places:
                return []
            token = uuid.uuid4().hex
            try:
                began = self._clock.machine_monotonic()
                self._swap(table, rows, token, places or {})
                self._turn_seconds = self._clock.machine_monotonic() - began
            except (DeltaError, OSError) as error:
                failure = error
                if not self._has_landed(token, rows):
                    raise_refusal(error, self._lake.url)
                    self._clock.pause(random.uniform(0, min(0.2, 0.002 * 2**attempt)))
                    continue
            self.flush()
            return rows
        raise CommitContended(f"the queue could not be written after {TRIES} tries: {failure}") from failure

    def birth(self, rows: list[IBRequest]) -> None:
        """Append first rows: a plain commit that never conflicts with appends, repeated with the same ids if need be.

        Raises:
            NotDurable: the rows landed and could not be flushed.
            CommitContended: the commit did not land; nothing was written.
        """
        frame = frame_of(rows)
        self._lake.check_room(frame)
        failure: Exception | None = None
        for attempt in range(TRIES):
            if self._births is None:
                self._births = OpenedTable(self._lake.ensure(REQUESTS))
            token = uuid.uuid4().hex
            try:
                self._births = self._lake.caught_up(REQUESTS.name, self._births)
                append(self._births.table, frame, token=token)
            except (DeltaError, OSError) as error:
                failure = error
                self._births = None
                if self._has_landed(token, rows):
                    self.flush()
                    return
                raise_refusal(error, self._lake.url)
                self._clock.pause(random.uniform(0, min(0.2, 0.005 * 2**attempt)))
                continue
            self._lake.flush(REQUESTS.name, self._births.version)
            return
        raise CommitContended(f"requests could not be inserted after {TRIES} tries: {failure}") from failure

    def flush(self) -> None:
        """Make sure that every commit folded so far is on the disk. Raises NotDurable."""
        self._lake.flush(REQUESTS.name, self._folded)

    _turn_seconds = 0.0

    def _give_way(self) -> None:
        """After an own commit, let a rival that is at work have the next one."""
        rival_is_active = self._clock.machine_monotonic() - self._rival_at < RIVAL_SECONDS
        if rival_is_active and self._last_token:
            self._clock.pause(random.uniform(0.5, 1.5) * self._turn_seconds)

    def _refreshed(self) -> DeltaTable:
        self.refresh()
        table = self._table
        if table is None or int(table.version()) != self._folded:
            raise CommitContended("the queue's table moved while it was folded: try again")
        return table

    def _swap(self, table: DeltaTable, rows: list[IBRequest], token: str, places: Mapping[str, int]) -> None:
        version = (table.transaction_version(APP_ID) or 0) + 1
        self._tokens.add(token)
        taken = {PLACE + worker: epoch for worker, epoch in places.items()}
        frame = frame_of(rows)
        self._lake.check_room(frame)
        append(table, frame, app_transactions={APP_ID: version, **taken}, token=token)
        self._catch_up(table)

    def _has_landed(self, token: str, rows: Sequence[IBRequest]) -> bool:
        """Read the table again with a fresh object and look for one commit; a failed commit may have landed.

        Where the log was cleaned meanwhile, as while this machine slept, its rows tell: they land all or none.
        """
        self._tokens.add(token)
        loads = self._loads
        self._reopen()
        self._tokens.discard(token)
        return token in self._landed or (self._loads > loads and self._holds(rows))

    def _holds(self, rows: Sequence[IBRequest]) -> bool:
        if self._table is None or not rows:
            return False
        wanted = frame_of(list(rows)).lazy()
        with self._lake.reading(REQUESTS.name):
            days = scan_table(self._table).filter(pl.col("date").is_in({row.date for row in rows}))
            return not days.join(wanted, on=SAME_ROW, how="semi", nulls_equal=True).head(1).collect().is_empty()

    def _reopen(self) -> bool:
        self._opened = OpenedTable(self._lake.ensure(REQUESTS))
        if self._folded < 0:
            self._load(self._opened.table)
            return True
        return self._catch_up(self._opened.table)

    def _load(self, table: DeltaTable) -> None:
        self._lake.check_files(REQUESTS.name, table)
        with self._lake.reading(REQUESTS.name):
            self.state = load(table, self._clock.now(), self._key_memory, self._rates)
        self._folded = int(table.version())
        self._loads += 1

    def _catch_up(self, table: DeltaTable) -> bool:
        version = int(table.version())
        if version == self._folded:
            return False
        commits = self._log.commits(table, self._folded) if version > self._folded else None
        if commits is None:
            self._load(table)
            return True
        with self._lake.reading(REQUESTS.name):
            added = self._log.rows(table, commits)
        for commit in commits:
            self._note(commit)
        if added is None:  # this writer slept longer than removed files are kept
            self._load(table)
            return True
        for row in added:
            self.state.fold(row)
        self._folded = version
        return True

    def _note(self, commit: Commit) -> None:
        if commit.token in self._tokens:
            self._tokens.discard(commit.token or "")
            self._landed = {commit.token or ""}
        if APP_ID in commit.transactions:
            own = commit.token in self._landed
            self._last_token = (commit.token or "") if own else ""
            if not own:
                self._rival_at = self._clock.machine_monotonic()
