"""Is it collecting, is it complete, and if not, why not: the queue and the ledger."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import polars as pl

from v6.data.coverage import CoverageTable
from v6.data.ib_request import REQUESTS, RequestStatus
from v6.data.lake import Lake
from v6.data.queue_log import current
from v6.readers.asked import checked, one_of
from v6.readers.where import lake_of


@checked
def requests(
    *,
    status: str | None = None,
    request_type: str | None = None,
    symbol: str | None = None,
    as_of: datetime | None = None,
    lake: Lake | str | Path | None = None,
) -> pl.LazyFrame:
    """One row a request: its state now, or as of a past moment (clock time); oldest first.

    Raises:
        UsageError: there is no such status.
        LakeError: the lake is not there or cannot be read.
    """
    one_of(list(RequestStatus), "status", status)
    fixed = [pl.col(name) == value for name, value in _given(request_type=request_type, symbol=symbol)]
    rows = lake_of(lake).scan(REQUESTS).filter(*fixed)
    state = current(rows if as_of is None else rows.filter(pl.col("updated_at") <= as_of))
    wanted = [pl.col("status") == value for _, value in _given(status=status)]
    return state.filter(*wanted).sort("created_at", "request_id")


@checked
def request_history(request_id: str, *, lake: Lake | str | Path | None = None) -> pl.LazyFrame:
    """Every row of one request, oldest first.

    Raises:
        LakeError: the lake is not there or cannot be read.
    """
    rows = lake_of(lake).scan(REQUESTS).filter(pl.col("request_id") == request_id)
    return rows.sort("revision", "created_at")


@checked
def coverage(
    symbol: str | None = None,
    *,
    request_type: str | None = None,
    series: str | None = None,
    first: date | None = None,
    last: date | None = None,
    lake: Lake | str | Path | None = None,
) -> pl.LazyFrame:
    """One row an interval that was expected, with what became of it (docs/coverage.md), trading dates inclusive.

    Raises:
        LakeError: the lake is not there or cannot be read.
    """
    return CoverageTable(lake_of(lake)).current(
        symbol=symbol, request_type=request_type, series=series, first=first, last=last
    )


def _given(**values: str | None) -> list[tuple[str, str]]:
    return [(name, value) for name, value in values.items() if value is not None]
