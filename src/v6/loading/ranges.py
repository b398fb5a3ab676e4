"""Cuts a range of time into pieces at calendar edges, so that runs over overlapping ranges ask for the same."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from v6.errors import RequestError
from v6.request_types.bar_pages import PAGE_OF_BAR_SIZE, bar_length

# A piece is one request: long enough that few are needed, short enough that a failure repeats little.
DAY_PIECES_UP_TO = timedelta(seconds=30)  # bars this short are asked for a day at a time
MONTH_PIECES_UP_TO = timedelta(minutes=20)  # a month at a time; anything longer a year at a time


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """start <= bar start < end, UTC; as cut here both are midnight of a day, a month's or a year's first day."""

    start: datetime
    end: datetime


def pieces(start: datetime, end: datetime, bar_size: str) -> list[Piece]:
    """The whole calendar pieces that cover start <= t < end, oldest first. Raises RequestError for an unknown size."""
    if bar_size not in PAGE_OF_BAR_SIZE:
        raise RequestError(f"bar size {bar_size!r} is not one of {', '.join(PAGE_OF_BAR_SIZE)}")
    return _cut(start, end, _step(bar_length(bar_size)))


def months(start: datetime, end: datetime) -> list[Piece]:
    """The whole calendar months that cover start <= t < end, oldest first."""
    return _cut(start, end, _Months())


def _cut(start: datetime, end: datetime, after: _Days) -> list[Piece]:
    found = []
    edge = after.floor(start.astimezone(UTC))
    while edge < end:
        following = after.next(edge)
        found.append(Piece(start=edge, end=following))
        edge = following
    return found


class _Days:
    def floor(self, moment: datetime) -> datetime:
        return moment.replace(hour=0, minute=0, second=0, microsecond=0)

    def next(self, edge: datetime) -> datetime:
        return edge + timedelta(days=1)


class _Months(_Days):
    def floor(self, moment: datetime) -> datetime:
        return super().floor(moment).replace(day=1)

    def next(self, edge: datetime) -> datetime:
        return self.floor(edge + timedelta(days=32))


class _Years(_Days):
    def floor(self, moment: datetime) -> datetime:
        return super().floor(moment).replace(month=1, day=1)

    def next(self, edge: datetime) -> datetime:
        return edge.replace(year=edge.year + 1)


def _step(length: timedelta | None) -> _Days:
    if length is None or length > MONTH_PIECES_UP_TO:
        return _Years()
    return _Days() if length <= DAY_PIECES_UP_TO else _Months()
