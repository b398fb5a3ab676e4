"""Writes down in the coverage ledger what the requests of a load have brought: one interval a session.

Only how they ended is written: a load of many years would leave the scheduler a long list to wait for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from v6.clock import Clock
from v6.data.coverage import HOLES, CoverageRow, CoverageState, Interval, keys_of
from v6.data.ib_request import IBRequest
from v6.data.lake import Lake
from v6.scheduler.ledger import BARS, Ledger
from v6.scheduler.markets import calendar_of
from v6.scheduler.series import bar_series, session_intervals
from v6.scheduler.trading_calendar import TradingCalendar, load_calendar

LONGER_THAN_SESSIONS = frozenset({"1 week", "1 month"})


class LoadLedger:
    """Writes to ``coverage``. Blocks: one object belongs to one thread."""

    def __init__(self, lake: Lake, clock: Clock) -> None:
        self._ledger = Ledger(lake, clock, history_types=(BARS,))

    def record(self, ended: Iterable[IBRequest]) -> None:
        """What ended requests of bars brought, but for what is there already. Raises LakeError."""
        rows = [row for request in ended for row in _sessions_of(request)]
        if not rows:
            return
        known = self._known(rows)
        self._ledger.settle([row for row in rows if row.interval.key not in known], open_ids=())

    def _known(self, rows: Iterable[CoverageRow]) -> set[tuple[object, ...]]:
        """The intervals of these days that are no holes."""
        days = [row.interval.date for row in rows]
        current = self._ledger.table.current(request_type=BARS, first=min(days), last=max(days)).collect()
        return keys_of(current.filter(~current["state"].is_in([str(state) for state in HOLES])))


def _sessions_of(request: IBRequest) -> Iterator[CoverageRow]:
    """One row for each session that was over when the request was made."""
    for interval in _intervals_of(request):
        if interval.interval_end <= request.created_at:
            yield CoverageRow(interval=interval, state=CoverageState.EXPECTED, request_id=request.request_id)


def _intervals_of(request: IBRequest) -> list[Interval]:
    """The sessions of its range; none where the market's calendar is not known here."""
    asked = request.parameters
    name = calendar_of(request.request_type, request.symbol, asked) if request.request_type == BARS else None
    if name is None or asked.get("bar_size") in LONGER_THAN_SESSIONS:
        return []
    calendar = load_calendar(name)
    start, end = _known_part(calendar, *(datetime.fromisoformat(str(asked[edge])) for edge in ("start", "end")))
    if start >= end:
        return []
    return session_intervals(BARS, request.symbol, bar_series(asked), calendar=calendar, start=start, end=end)


def _known_part(calendar: TradingCalendar, start: datetime, end: datetime) -> tuple[datetime, datetime]:
    return max(start, calendar.sessions[0].opens), min(end, calendar.sessions[-1].closes)
