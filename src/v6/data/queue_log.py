"""Reading the queue's table: whole once, then only what each commit added.

The tail reads the log's add actions that carry new data, so compaction costs it nothing; where the log was cleaned in
between, it says so and the caller folds the whole table again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import polars as pl
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from v6.data.delta import DeltaTable, data_files, date_of, filesystem, scan_table
from v6.data.ib_request import OPEN_STATES, REQUESTS, IBRequest, RequestStatus
from v6.data.lake import Lake
from v6.data.queue_state import KEY_MEMORY, KeyTail, QueueState
from v6.data.recent_claims import Rate, RecentClaims
from v6.errors import RequestError, TableDamaged

LOAD_ROWS = 200_000  # rows of the queue that are folded at once at a start
STATES = frozenset(str(status) for status in RequestStatus)
BIRTH_ORDER = ["created_at", "source", "parameters"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """What one version of the table added: its files, its app transactions and the token its writer gave it."""

    version: int
    adds: tuple[tuple[str, str], ...]  # path, date
    transactions: dict[str, int]
    token: str | None


class QueueLog:
    """Reads one table's log and the rows it adds."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._files: pafs.FileSystem | None = None

    def commits(self, table: DeltaTable, after: int) -> list[Commit] | None:
        """The commits after a version up to the table object's own; None when the log no longer has them all."""
        found = []
        for version in range(after + 1, int(table.version()) + 1):
            commit = self._commit(table, version)
            if commit is None:
                return None
            found.append(commit)
        return found

    def rows(self, table: DeltaTable, commits: Sequence[Commit]) -> list[IBRequest] | None:
        """The rows that the commits added, oldest commit first; None when their files were joined and deleted since."""
        files = self._filesystem(table)
        frames = []
        for commit in commits:
            for path, day in commit.adds:
                try:
                    with files.open_input_file(path) as source:
                        frame = pl.DataFrame(pq.ParquetFile(source).read())
                except FileNotFoundError:
                    return None
                frames.append(frame.with_columns(date=pl.lit(date.fromisoformat(day))))
        return [] if not frames else requests_of(pl.concat(frames, how="diagonal_relaxed"))

    def _commit(self, table: DeltaTable, version: int) -> Commit | None:
        path = f"_delta_log/{version:020d}.json"
        try:
            with self._filesystem(table).open_input_stream(path) as source:
                lines = source.read().splitlines()
        except FileNotFoundError:
            return None
        damaged = f"the table {REQUESTS.name}: its commit {self._lake.uri(REQUESTS.name)}/{path} is torn"
        if not lines:  # which the storage library takes for a commit that did nothing
            raise TableDamaged(f"{damaged}: run `v6 doctor --tables`", table=REQUESTS.name)
        try:
            return _parse_commit(version, [json.loads(line) for line in lines if line.strip()])
        except (ValueError, KeyError) as error:
            raise TableDamaged(f"{damaged}: run `v6 doctor --tables`", table=REQUESTS.name) from error

    def _filesystem(self, table: DeltaTable) -> pafs.FileSystem:
        if self._files is None:
            local = pafs.LocalFileSystem()
            uri = self._lake.uri(REQUESTS.name)
            self._files = pafs.SubTreeFileSystem(uri, local) if self._lake.is_local else filesystem(table)
        return self._files


def _parse_commit(version: int, actions: Sequence[dict[str, Any]]) -> Commit:
    adds, transactions, token = [], {}, None
    for action in actions:
        if "add" in action and action["add"].get("dataChange", True):
            adds.append((unquote(action["add"]["path"]), action["add"]["partitionValues"]["date"]))
        elif "txn" in action:
            transactions[action["txn"]["appId"]] = int(action["txn"]["version"])
        elif "commitInfo" in action:
            token = action["commitInfo"].get("token")
    return Commit(version=version, adds=tuple(adds), transactions=transactions, token=token)


def requests_of(frame: pl.DataFrame) -> list[IBRequest]:
    """Rows as requests; a row that is not one (written past the queue) is left out."""
    whole = frame.select(
        pl.col(name) if name in frame.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in REQUESTS.schema.items()
    )
    found = []
    for row in whole.iter_rows(named=True):
        try:
            found.append(IBRequest.from_row(row))
        except RequestError:
            continue
    return found


def current(rows: pl.LazyFrame) -> pl.LazyFrame:
    """One row a request: the highest revision; of equal first rows the smallest by created_at, source, parameters."""
    order = ["request_id", "revision", *BIRTH_ORDER]
    ordered = rows.sort(order, descending=[False, True, False, False, False], nulls_last=True)
    return ordered.unique(subset="request_id", keep="first", maintain_order=True)


def load(
    table: DeltaTable, now: datetime, key_memory: timedelta = KEY_MEMORY, rates: Mapping[str, Rate] | None = None
) -> QueueState:
    """The whole table at the object's version, folded; ``now`` tells which keys and claims need not be remembered."""
    state = QueueState(key_memory, rates)
    rows = scan_table(table)
    opened = [_load_days(state, rows, days) for days in _groups_of_days(table)]
    _load_keys(state, rows, now)
    for request in _open_requests(state, rows, pl.concat(opened) if opened else None):
        state.fold(request)
    state.claims = RecentClaims(rates)  # of what was folded, only what is open was claimed before the eyes of the state
    state.claims.load(rows, now)
    return state


def _groups_of_days(table: DeltaTable) -> Iterator[list[date]]:
    """The table's days, as many at once as have not too many rows."""
    rows: Counter[date] = Counter()
    for file in data_files(table):
        rows[date_of(file.partition)] += file.rows or LOAD_ROWS
    group: list[date] = []
    for day in sorted(rows):
        if group and sum(rows[d] for d in group) + rows[day] > LOAD_ROWS:
            yield group
            group = []
        group.append(day)
    if group:
        yield group


def _load_days(state: QueueState, rows: pl.LazyFrame, days: Sequence[date]) -> pl.DataFrame:
    """Take in what is finished of some days; the requests that are open there: id, revision, date."""
    latest = (
        rows.filter(pl.col("date").is_between(days[0], days[-1]))
        .select("request_id", "revision", "status", "date")
        .group_by("request_id")
        .agg(pl.all().sort_by("revision").last())
        .collect(engine="streaming")
    )
    is_open = pl.col("status").is_in([str(s) for s in OPEN_STATES])
    finished = latest.filter(~is_open)
    counts = {RequestStatus(s): n for s, n in finished["status"].value_counts().iter_rows() if s in STATES}
    state.load_finished(finished["request_id"], counts)
    return latest.filter(is_open).select("request_id", "revision", "date")


def _open_requests(state: QueueState, rows: pl.LazyFrame, opened: pl.DataFrame | None) -> list[IBRequest]:
    """The rows of what is open. First rows of one request may lie in two days, its later ones lie in one of them."""
    if opened is None or opened.is_empty():
        return []
    is_stray = [revision == 0 and request_id in state.finished for request_id, revision, _ in opened.iter_rows()]
    wanted = opened.filter(~pl.Series(is_stray, dtype=pl.Boolean))
    here = rows.filter(pl.col("date").is_in(wanted["date"].unique().to_list()))
    return requests_of(here.join(wanted.lazy(), on=["request_id", "revision"], how="semi").collect())


def _load_keys(state: QueueState, rows: pl.LazyFrame, now: datetime) -> None:
    keyed = rows.filter(pl.col("idempotency_key").is_not_null(), pl.col("updated_at") >= now - state.key_memory).select(
        "idempotency_key", "request_id", "revision", "status", "updated_at", *BIRTH_ORDER
    )
    for row in current(keyed).sort("updated_at", "request_id").collect().iter_rows(named=True):
        if row["status"] in STATES:
            status = RequestStatus(row["status"])
            tail = KeyTail(request_id=row["request_id"], status=status, updated_at=row["updated_at"])
            state.note_tail(row["idempotency_key"], tail)
