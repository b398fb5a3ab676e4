"""The sessions of the New York Stock Exchange, 1990–2046, as plain dates and UTC seconds."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, cached_property
from zoneinfo import ZoneInfo

from v6.market_sessions import XNYS, market_sessions

NEW_YORK = ZoneInfo("America/New_York")


@dataclass(frozen=True, slots=False)
class Sessions:
    """Dates in order, with the UTC second at which each opens and closes. Half days close early."""

    dates: Sequence[date]
    opens: Sequence[int]
    closes: Sequence[int]

    @cached_property
    def _positions(self) -> dict[date, int]:
        return {day: position for position, day in enumerate(self.dates)}

    def __len__(self) -> int:
        return len(self.dates)

    def __contains__(self, day: date) -> bool:
        return day in self._positions

    def position(self, day: date) -> int:
        """Where a session stands in the calendar. Raises KeyError for a day without a session."""
        return self._positions[day]

    def on_or_before(self, day: date) -> int:
        """The position of the last session not after ``day``; the first one when there is none."""
        return max(0, bisect_right(self.dates, day) - 1)

    def on_or_after(self, day: date) -> int:
        """The position of the first session not before ``day``; the last one when there is none."""
        return min(len(self.dates) - 1, bisect_left(self.dates, day))

    def last_opened(self, second: int) -> int:
        """The position of the session that has opened last at a UTC second."""
        return max(0, bisect_right(self.opens, second) - 1)

    def closed_by(self, second: int) -> int:
        """How many sessions have closed at a UTC second: the position of the first one that has not."""
        return bisect_right(self.closes, second)

    def last_closed(self, second: int) -> int:
        """The position of the session that has closed last at a UTC second."""
        return max(0, bisect_right(self.closes, second) - 1)


@cache
def new_york_second(day: date, hour: int, minute: int = 0) -> int:
    """The UTC second of a time of day in New York."""
    return int(datetime.combine(day, time(hour, minute), NEW_YORK).timestamp())


def utc(second: int) -> datetime:
    """A UTC second as an instant."""
    return datetime.fromtimestamp(second, UTC)


def third_friday(year: int, month: int) -> date:
    """The third Friday of a month, whether or not it is a session."""
    first = date(year, month, 1)
    return first + timedelta(days=(4 - first.weekday()) % 7 + 14)


@cache
def load_sessions() -> Sessions:
    """All sessions."""
    dates, opens, closes = zip(*market_sessions(*XNYS), strict=True)
    return Sessions(dates=dates, opens=opens, closes=closes)
