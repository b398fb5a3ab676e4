"""Keeps the ledger true: writes down what is expected, and how the requests that were asked have ended."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from v6.clock import Clock
from v6.data.coverage import HOLES, CoverageRow, CoverageState, CoverageTable, Interval, row_of
from v6.data.ib_request import REQUESTS, IBRequest, RequestStatus
from v6.data.lake import Lake
from v6.data.market_bars import MarketBarsTable
from v6.data.open_intervals import OpenIntervals
from v6.data.queue_log import current, requests_of
from v6.request_types.bar_pages import bar_length
from v6.scheduler.decisions import Decision
from v6.scheduler.series import BAR_DEFAULTS, bar_parameters, intervals_of

BARS = "market_bars"
NO_MORE = "it can never be had again"
EXPIRED_SERVED = timedelta(days=730)  # so long after its end IB serves the bars of a future
COUNTS = ("bars", "contracts", "positions", "rows")  # what a result says it brought; the first one that is there


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """What one look at the ended requests wrote down."""

    rows: Sequence[CoverageRow]

    def of(self, state: CoverageState) -> list[CoverageRow]:
        """Those in a state."""
        return [row for row in self.rows if row.state is state]


class Ledger:
    """Writes to ``coverage``. Blocks: one object belongs to one thread."""

    def __init__(self, lake: Lake, clock: Clock, *, history_types: Collection[str]) -> None:
        """``history_types`` are the request types whose past can be asked for."""
        self._lake = lake
        self._clock = clock
        self.table = CoverageTable(lake, clock=clock)
        self._open = OpenIntervals(lake)
        self._history_types = frozenset(history_types)

    def expect(self, decisions: Iterable[Decision]) -> list[CoverageRow]:
        """Write down what each decided slot is to bring, or that it was not asked; the rows written."""
        rows = [row for decision in decisions for row in self._expected(decision)]
        self.table.record(rows)
        return rows

    def _expected(self, decision: Decision) -> Iterator[CoverageRow]:
        slot = decision.slot
        state = CoverageState.EXPECTED if decision.is_asked else CoverageState.NEVER_ASKED
        for interval in intervals_of(slot):
            row = CoverageRow(
                interval=interval,
                state=state,
                reason=decision.reason,
                schedule_id=slot.schedule.id,
                slot=slot.at,
                request_id=decision.request_id,
            )
            yield self._final(row)

    def waiting(self) -> list[CoverageRow]:
        """The intervals whose requests had not ended when the ledger was last written."""
        return self._open.read()

    def holes(self, **conditions: Any) -> list[CoverageRow]:
        """The intervals that can still be had: failed or never asked. Conditions are those of ``current``."""
        states = [str(state) for state in HOLES]
        rows = self.table.current(**conditions).filter(pl.col("state").is_in(states)).collect()
        return [row_of(values) for values in rows.iter_rows(named=True)]

    def settle(self, waiting: Sequence[CoverageRow], open_ids: Collection[str]) -> Settled:
        """Write down how those of ``waiting`` whose requests are no longer open have ended."""
        ended = [row for row in waiting if row.request_id is not None and row.request_id not in open_ids]
        if not ended:
            return Settled(rows=())
        requests = self._requests(ended)
        rows = [row for group in _by_request(ended) for row in self._outcomes(group, requests)]
        self.table.record(rows)
        return Settled(rows=rows)

    def _requests(self, ended: Sequence[CoverageRow]) -> dict[str, IBRequest]:
        """Their requests; none was made before the interval it asks for, give or take a night."""
        ids = {row.request_id for row in ended}
        since = min(row.interval.date for row in ended) - timedelta(days=2)
        fits = (pl.col("date") >= since) & pl.col("request_id").is_in(list(ids))
        rows = current(self._lake.scan(REQUESTS).filter(fits)).collect()
        return {request.request_id: request for request in requests_of(rows)}

    def _outcomes(self, rows: Sequence[CoverageRow], requests: Mapping[str, IBRequest]) -> Iterator[CoverageRow]:
        """How the intervals of one request ended; a request that the queue has forgotten tells nothing."""
        request = requests.get(str(rows[0].request_id))
        if request is None or request.status.is_open:
            return
        if request.status is not RequestStatus.SUCCESS:
            reason = request.error_message or f"the request is {request.status}"
            for row in rows:
                yield self._final(replace(row, state=CoverageState.FAILED, reason=reason))
            return
        yield from self._fetched(request, rows)

    def _fetched(self, request: IBRequest, rows: Sequence[CoverageRow]) -> Iterator[CoverageRow]:
        brought = _brought(request.result_data_json)
        if brought == 0 or (len(rows) == 1 and _is_all_of(request, rows[0])):
            for row in rows:
                yield _with_rows(row, brought)
            return
        bars = self._bars_around(request, rows) if request.request_type == BARS else None
        bar_size = str(request.parameters.get("bar_size", BAR_DEFAULTS["bar_size"]))
        for row in rows:
            yield _with_rows(row, brought if bars is None else bars.filter(_within(row.interval, bar_size)).height)

    def _bars_around(self, request: IBRequest, rows: Sequence[CoverageRow]) -> pl.DataFrame:
        """Start and date of the bars that the lake has about the intervals of one request."""
        wanted = {**BAR_DEFAULTS, **request.parameters}
        margin = timedelta(days=2)
        bars = MarketBarsTable(self._lake).current(
            symbol=request.symbol,
            bar_size=wanted["bar_size"],
            what_to_show=wanted["what_to_show"],
            regular_hours=wanted["regular_hours"],
            sec_type=wanted["sec_type"],
            start=min(row.interval.timestamp for row in rows) - margin,
            end=max(row.interval.interval_end for row in rows) + margin,
        )
        if wanted.get("month") is not None:
            bars = bars.filter(pl.col("expiry").dt.strftime("%Y%m") == wanted["month"])
        return bars.select("timestamp", "date").collect()

    def _final(self, row: CoverageRow) -> CoverageRow:
        """A hole that nothing can fill any more is lost."""
        if row.state not in HOLES or not self._is_gone(row.interval):
            return row
        return replace(row, state=CoverageState.LOST, reason=f"{row.reason}; {NO_MORE}")

    def _is_gone(self, interval: Interval) -> bool:
        """Snapshots of the past, and bars of a future that expired so long ago that IB serves them no longer."""
        if interval.request_type not in self._history_types:
            return True
        month = (bar_parameters(interval.series) or {}).get("month") if interval.request_type == BARS else None
        return month is not None and _month_end(month) + EXPIRED_SERVED < self._clock.now()


def _month_end(month: str) -> datetime:
    first = datetime.strptime(month, "%Y%m").replace(tzinfo=UTC)
    return (first + timedelta(days=32)).replace(day=1)


def _by_request(rows: Iterable[CoverageRow]) -> list[list[CoverageRow]]:
    groups: dict[str | None, list[CoverageRow]] = {}
    for row in rows:
        groups.setdefault(row.request_id, []).append(row)
    return list(groups.values())


def _with_rows(row: CoverageRow, count: int) -> CoverageRow:
    if count == 0:
        return replace(row, state=CoverageState.EMPTY, rows=0, reason="the gateway had none")
    return replace(row, state=CoverageState.FETCHED, rows=count, reason=None)


def _is_all_of(request: IBRequest, row: CoverageRow) -> bool:
    """Whether the request asked for this interval alone."""
    start = request.parameters.get("start")
    return start is None or datetime.fromisoformat(str(start)) == row.interval.timestamp


def _within(interval: Interval, bar_size: str) -> pl.Expr:
    """Bars of an interval: of its date, and where they are shorter than a day, of its minutes."""
    length = bar_length(bar_size)
    is_of_day = pl.col("date") == interval.date
    if length is None:
        return is_of_day
    overlaps = (pl.col("timestamp") < interval.interval_end) & (pl.col("timestamp") + length > interval.timestamp)
    return is_of_day & overlaps


def _brought(result_data: str | None) -> int:
    """How much a request brought: bars that were there already count too."""
    result = json.loads(result_data or "{}")
    return next((int(result[name]) for name in COUNTS if isinstance(result.get(name), int | float)), 0)
