"""``coverage``: the ledger. For every series, which intervals were expected and what became of them.

A series is a symbol, a request type and what tells it from others: bar size and kind, or the collection that a schedule
makes. Rows are appended as things become known; an interval is what its newest row says.

    expected ──▶ fetched | empty | failed        its request ended
    failed, never_asked ──▶ expected             asked again, where the past can be asked for
    failed, never_asked ──▶ lost                 it can never be had again; said once
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import ClassVar

import polars as pl

from v6.data.table import Table, equals
from v6.data.table_spec import UTC_MICROSECONDS, Column, TableSpec

SERIES = ("request_type", "symbol", "series")
KEY = (*SERIES, "timestamp", "interval_end")


class CoverageState(StrEnum):
    """What became of an interval."""

    EXPECTED = "expected"
    FETCHED = "fetched"
    EMPTY = "empty"
    FAILED = "failed"
    NEVER_ASKED = "never_asked"
    LOST = "lost"


HOLES = (CoverageState.FAILED, CoverageState.NEVER_ASKED)

COVERAGE = TableSpec(
    name="coverage",
    description="The ledger of what was expected and what became of it; the newest row of an interval counts.",
    columns=(
        Column(name="request_type", dtype=pl.String, description="what is asked: market_bars, option_chain, …"),
        Column(name="symbol", dtype=pl.String, description="IB's symbol; empty where all are asked"),
        Column(
            name="series",
            dtype=pl.String,
            description="what tells it from the symbol's others: bar size and kind, or the schedule whose cycles it is",
        ),
        Column(
            name="timestamp",
            dtype=UTC_MICROSECONDS,
            description="start of the interval",
            unit="UTC",
        ),
        Column(name="interval_end", dtype=UTC_MICROSECONDS, description="its end, exclusive", unit="UTC"),
        Column(name="state", dtype=pl.String, description="expected, fetched, empty, failed, never_asked or lost"),
        Column(name="reason", dtype=pl.String, description="why it is so", null_means="nothing to explain"),
        Column(
            name="rows", dtype=pl.Int64, description="rows that it brought", unit="rows", null_means="it is not fetched"
        ),
        Column(
            name="schedule_id", dtype=pl.String, description="the schedule that expects it", null_means="a person asked"
        ),
        Column(
            name="slot",
            dtype=UTC_MICROSECONDS,
            description="the schedule's slot that asked for it",
            unit="UTC",
            null_means="a person asked",
        ),
        Column(
            name="request_id",
            dtype=pl.String,
            description="the request that asks for it",
            null_means="none was inserted",
        ),
        Column(
            name="known_at", dtype=UTC_MICROSECONDS, description="when the row was written (machine time)", unit="UTC"
        ),
        Column(name="date", dtype=pl.Date, description="the trading date that the interval belongs to"),
    ),
    partition_by=("date",),
    sort_by=("request_type", "symbol", "series", "timestamp"),
    key=(*KEY, "known_at"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """One interval of one series."""

    request_type: str
    symbol: str
    series: str
    timestamp: datetime
    interval_end: datetime
    date: date

    @property
    def key(self) -> tuple[str, str, str, datetime, datetime]:
        """What identifies it."""
        return (self.request_type, self.symbol, self.series, self.timestamp, self.interval_end)


@dataclass(frozen=True, kw_only=True, slots=True)
class CoverageRow:
    """What became of an interval."""

    interval: Interval
    state: CoverageState
    reason: str | None = None
    rows: int | None = None
    schedule_id: str | None = None
    slot: datetime | None = None
    request_id: str | None = None


class CoverageTable(Table):
    """The ledger."""

    spec: ClassVar[TableSpec] = COVERAGE

    def record(self, rows: Sequence[CoverageRow]) -> None:
        """Append rows in one commit. Blocks. Raises LakeError when the commit failed."""
        if not rows:
            return
        known_at = self.clock.machine_now()
        values = [
            {
                **asdict(row.interval),
                "known_at": known_at,
                **{n: getattr(row, n) for n in _OWN},
                "state": str(row.state),
            }
            for row in rows
        ]
        self.append(pl.DataFrame(values, schema=self.spec.schema))

    def current(
        self,
        *,
        request_type: str | None = None,
        symbol: str | None = None,
        series: str | None = None,
        first: date | None = None,
        last: date | None = None,
    ) -> pl.LazyFrame:
        """One row an interval: its newest; what has a request counts before what has none (of two schedulers)."""
        days = [] if first is None else [pl.col("date") >= first]
        days += [] if last is None else [pl.col("date") <= last]
        fits = equals(request_type=request_type, symbol=symbol, series=series)
        return newest(self.scan().filter(*fits, *days))

    def last_slots(self) -> dict[str, datetime]:
        """The last slot that was decided, by schedule. Blocks."""
        slots = self.scan().filter(pl.col("slot").is_not_null()).group_by("schedule_id").agg(pl.col("slot").max())
        return dict(slots.collect().iter_rows())


_OWN = ("reason", "rows", "schedule_id", "slot", "request_id")


def newest(rows: pl.LazyFrame) -> pl.LazyFrame:
    """One row an interval of those given: see ``CoverageTable.current``. All rows of an interval have one date."""
    has_request = pl.col("request_id").is_not_null()
    has_ended = pl.col("state") != str(CoverageState.EXPECTED)
    ordered = rows.sort(has_request, "known_at", has_ended, maintain_order=True)
    return ordered.unique(subset=list(KEY), keep="last", maintain_order=True).sort(KEY)


def keys_of(frame: pl.DataFrame) -> set[tuple[object, ...]]:
    """The keys of the intervals in a frame of the ledger: ``Interval.key`` of each."""
    return set(frame.select(KEY).iter_rows())


def row_of(values: dict[str, object]) -> CoverageRow:
    """A stored row as a record."""
    interval = Interval(**{name: values[name] for name in (*KEY, "date")})  # type: ignore[arg-type]
    state = CoverageState(str(values["state"]))
    return CoverageRow(interval=interval, state=state, **{name: values[name] for name in _OWN})  # type: ignore[arg-type]
