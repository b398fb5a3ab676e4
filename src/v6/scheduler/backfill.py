"""Plans the requests that fill holes of the ledger: as few as the longest page allows, at priority 3."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from v6.data.coverage import CoverageRow, CoverageState
from v6.data.ib_request import NewRequest, Priority
from v6.data.ib_request_queue import IBRequestQueue
from v6.request_types.bar_pages import bar_length, longest_page
from v6.scheduler.ledger import BARS, Ledger
from v6.scheduler.schedule import Schedule
from v6.scheduler.series import bar_parameters

# IB's rules: 60 requests in ten minutes for bars of 30 s and less, BID_ASK counts twice. Longer bars are throttled
# softly: two seconds an answer is what to expect.
SMALL_BAR = timedelta(seconds=30)
SECONDS_A_SMALL_PAGE = 10.0
SECONDS_A_PAGE = 2.0
GAP = timedelta(days=5)  # sessions that lie no further apart than a long weekend are asked together
OF_THE_HOLE = ("duration", "start", "end", "day")  # parameters that say which interval is asked for
PAGE_SHARE = 0.8  # of the longest page: an answer is never cut short


@dataclass(frozen=True, kw_only=True, slots=True)
class Fill:
    """One request, the holes it fills and how long it will take, in seconds."""

    request: NewRequest
    holes: tuple[CoverageRow, ...]
    seconds: float


def plan_backfill(holes: Iterable[CoverageRow], schedules: Sequence[Schedule], now: datetime) -> list[Fill]:
    """The requests that fill these holes, by series and time. What is not over yet is left for its schedule."""
    by_id = {schedule.id: schedule for schedule in schedules}
    past = [hole for hole in holes if hole.interval.interval_end <= now]
    ordered = sorted(past, key=lambda hole: (hole.interval.key, hole.schedule_id or ""))
    fills = []
    for _, series in groupby(ordered, key=lambda hole: (*hole.interval.key[:3], hole.schedule_id)):
        holes_of_series = list(series)
        parameters = _parameters(holes_of_series[0], by_id)
        schedule = by_id.get(holes_of_series[0].schedule_id or "")
        if parameters is not None and schedule is not None and schedule.asks_by_day:
            fills += [_fill_day(hole, parameters) for hole in holes_of_series]
        elif parameters is not None:
            fills += [_fill(group, parameters) for group in _groups(holes_of_series, parameters)]
    return fills


async def ask(fills: Sequence[Fill], queue: IBRequestQueue, ledger: Ledger) -> list[CoverageRow]:
    """Insert the requests and write down that the holes are expected again; the rows written."""
    ids = await queue.insert_many([fill.request for fill in fills])
    rows = [
        replace(hole, state=CoverageState.EXPECTED, reason="backfill", request_id=request_id)
        for fill, request_id in zip(fills, ids, strict=True)
        for hole in fill.holes
    ]
    ledger.table.record(rows)
    return rows


def _parameters(hole: CoverageRow, schedules: Mapping[str, Schedule]) -> dict[str, Any] | None:
    """What asks for a hole's series; None where nobody knows it any more."""
    schedule = schedules.get(hole.schedule_id or "")
    is_bars = hole.interval.request_type == BARS
    if schedule is None or schedule.request_type != hole.interval.request_type:
        return bar_parameters(hole.interval.series) if is_bars else None
    values = {
        name: value for name, value in schedule.parameters.items() if name not in ("duration", "start", "end", "day")
    }
    if schedule.months is not None:
        values["month"] = hole.interval.series.rpartition(" ")[2]
    return values


def _groups(holes: Sequence[CoverageRow], parameters: Mapping[str, Any]) -> Iterator[list[CoverageRow]]:
    page = timedelta(seconds=longest_page(parameters.get("bar_size", "1 day")).seconds * PAGE_SHARE)
    group: list[CoverageRow] = []
    for hole in holes:
        is_apart = group and hole.interval.timestamp - group[-1].interval.interval_end > GAP
        is_long = group and hole.interval.interval_end - group[0].interval.timestamp > page
        if is_apart or is_long:
            yield group
            group = []
        group.append(hole)
    if group:
        yield group


def _fill_day(hole: CoverageRow, parameters: Mapping[str, Any]) -> Fill:
    """What is asked by day asks the gateway nothing."""
    interval, day = hole.interval, hole.interval.date.isoformat()
    request = NewRequest(
        request_type=interval.request_type,
        symbol=interval.symbol,
        priority=Priority.BACKGROUND,
        parameters={**parameters, "day": day},
        idempotency_key=f"backfill/{interval.request_type}/{interval.symbol}/{interval.series}/{day}",
    )
    return Fill(request=request, holes=(hole,), seconds=0.0)


def _fill(holes: Sequence[CoverageRow], parameters: Mapping[str, Any]) -> Fill:
    first, last = holes[0].interval, holes[-1].interval
    start, end = first.timestamp.isoformat(), last.interval_end.isoformat()
    request = NewRequest(
        request_type=first.request_type,
        symbol=first.symbol,
        priority=Priority.BACKGROUND,
        parameters={**parameters, "start": start, "end": end},
        idempotency_key=f"backfill/{first.request_type}/{first.symbol}/{first.series}/{start}/{end}",
    )
    return Fill(request=request, holes=tuple(holes), seconds=_seconds(first.timestamp, last.interval_end, parameters))


def _seconds(start: datetime, end: datetime, parameters: Mapping[str, Any]) -> float:
    """How long the gateway's rules make a request last."""
    bar_size = parameters.get("bar_size", "1 day")
    pages = max(1, -(-(end - start).total_seconds() // longest_page(bar_size).seconds))
    length = bar_length(bar_size)
    is_small = length is not None and length <= SMALL_BAR
    weight = 2 if parameters.get("what_to_show") == "BID_ASK" else 1
    return float(pages * (SECONDS_A_SMALL_PAGE * weight if is_small else SECONDS_A_PAGE))
