"""The ledger by day and series, in numbers: how much of what was expected is there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import polars as pl

from v6.data.coverage import CoverageRow, CoverageState, Interval
from v6.scheduler.schedule import Schedule
from v6.scheduler.series import intervals_of

DONE = (CoverageState.FETCHED, CoverageState.EMPTY)
NOBODY = "no scheduler has looked at it yet"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One series on one day: intervals by state."""

    day: date
    counts: dict[str, int]

    @property
    def total(self) -> int:
        """How many intervals were expected."""
        return sum(self.counts.values())

    @property
    def share(self) -> float:
        """How much is fetched or confirmed empty, of what is no longer awaited; 1 where nothing is missing."""
        over = self.total - self.counts.get(str(CoverageState.EXPECTED), 0)
        done = sum(self.counts.get(str(state), 0) for state in DONE)
        return done / over if over else 1.0

    @property
    def is_awaited(self) -> bool:
        """True when nothing of it has ended yet."""
        return self.total == self.counts.get(str(CoverageState.EXPECTED), 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Strip:
    """One series: its days in order, and its intervals by state."""

    request_type: str
    symbol: str
    series: str
    cells: tuple[Cell, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Intervals by state over all days."""
        found = dict.fromkeys(map(str, CoverageState), 0)
        for cell in self.cells:
            for state, count in cell.counts.items():
                found[state] += count
        return found

    def as_row(self) -> dict[str, Any]:
        """For programs."""
        days = {cell.day.isoformat(): cell.counts for cell in self.cells}
        return {"request_type": self.request_type, "symbol": self.symbol, "series": self.series, "days": days}


def strips_of(frame: pl.DataFrame) -> list[Strip]:
    """The ledger's current rows (request_type, symbol, series, date, state) as one strip a series."""
    counted = frame.group_by("request_type", "symbol", "series", "date", "state").len()
    found = []
    for name, group in counted.sort("request_type", "series", "symbol", "date").group_by(
        "request_type", "series", "symbol", maintain_order=True
    ):
        request_type, series, symbol = map(str, name)
        cells = [
            Cell(day=day[0], counts=dict(rows.select("state", "len").iter_rows()))
            for day, rows in group.group_by("date", maintain_order=True)
        ]
        found.append(Strip(request_type=request_type, symbol=symbol, series=series, cells=tuple(cells)))
    return found


def undecided_rows(
    schedules: Iterable[Schedule],
    decided: Mapping[str, datetime],
    now: datetime,
    *,
    known: Collection[tuple[object, ...]] = (),
) -> Sequence[CoverageRow]:
    """What was due since each schedule's last decided slot: nobody has asked, and nobody has written it down.

    ``known`` are the keys of intervals that the ledger has all the same: a person asked for them.
    """
    return [
        CoverageRow(interval=interval, state=CoverageState.NEVER_ASKED, reason=NOBODY, schedule_id=schedule.id)
        for schedule in schedules
        if schedule.id in decided and decided[schedule.id] < now
        for slot in schedule.slots(decided[schedule.id], now)
        for interval in intervals_of(slot)
        if interval.key not in known
    ]


def frame_of(rows: Iterable[CoverageRow]) -> pl.DataFrame:
    """Rows as ``strips_of`` takes them."""
    schema = {"request_type": pl.String, "symbol": pl.String, "series": pl.String, "date": pl.Date, "state": pl.String}
    return pl.DataFrame([{**_names(row.interval), "state": str(row.state)} for row in rows], schema=schema)


def _names(interval: Interval) -> dict[str, Any]:
    return {
        "request_type": interval.request_type,
        "symbol": interval.symbol,
        "series": interval.series,
        "date": interval.date,
    }
