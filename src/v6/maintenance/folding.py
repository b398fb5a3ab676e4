"""Folding the queue's closed days: of each finished request only its last row is kept, of an open one all rows.

``date`` is the day of a request's creation and the same in all its rows. Only first rows of one request that two
machines inserted at the same instant around midnight may lie in two days; then the rows after them lie in one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from v6.data.delta import DataFile, DeltaTable, Partition, date_of, scan_table
from v6.data.ib_request import OPEN_STATES
from v6.data.queue_log import current
from v6.maintenance.compaction import is_quiet

QUIET_MS = 60_000  # machine time: requests of yesterday are still being settled shortly after midnight
IMPATIENT_FILES = 32


def is_closed(partition: Partition, today: date) -> bool:
    """True for a day in which no request can be born any more."""
    return date_of(partition) < today


def may_fold(files: Sequence[DataFile], now_ms: int, *, thorough: bool = False) -> bool:
    """True when a closed day holds rows that a fold might drop, and is not being written just now."""
    if len(files) == 1:
        first = files[0].statistics.get("min.revision")
        return first is None or first < 1  # finished requests' last rows all have a higher one
    return thorough or is_quiet(files, now_ms, QUIET_MS) or len(files) >= IMPATIENT_FILES


def fold(rows: pl.DataFrame, moved: frozenset[str] = frozenset()) -> pl.DataFrame:
    """The rows that stay. Requests in ``moved`` have first rows here and their life in a neighbouring day."""
    here = rows.filter(~pl.col("request_id").is_in(list(moved)))
    last = current(here.lazy()).collect()
    is_open = pl.col("status").is_in([str(state) for state in OPEN_STATES])
    opened = last.filter(is_open).select("request_id")
    return pl.concat([last.filter(~is_open), here.join(opened, on="request_id", how="semi")])


def newly_born(rows: pl.DataFrame) -> list[str]:
    """The requests that have nothing but first rows here."""
    last = rows.group_by("request_id").agg(pl.col("revision").max())
    return last.filter(pl.col("revision") == 0)["request_id"].to_list()


def moved(table: DeltaTable, day: date, request_ids: Sequence[str]) -> frozenset[str]:
    """Those of these requests whose later rows lie in a neighbouring day."""
    if not request_ids:
        return frozenset()
    rows = scan_table(table).filter(
        pl.col("date").is_in([day - timedelta(days=1), day + timedelta(days=1)]),
        pl.col("revision") > 0,
        pl.col("request_id").is_in(list(request_ids)),
    )
    return frozenset(rows.select("request_id").unique().collect()["request_id"])


def without_finished(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of requests that are still open: what stays of a day that is older than the queue's retention."""
    last = current(rows.lazy()).collect()
    opened = last.filter(pl.col("status").is_in([str(state) for state in OPEN_STATES]))
    return rows.join(opened.select("request_id"), on="request_id", how="semi")
