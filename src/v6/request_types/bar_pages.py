"""Bar sizes, durations and how a long range is cut into pages that IB serves."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

# The longest duration that IB serves in one answer for a bar size ("Valid Duration and Bar Size" and "Historical Data
# Limitations" in the TWS API's documentation), and the bar's length in seconds; bars of a day and more have none.
PAGE_OF_BAR_SIZE: dict[str, tuple[str, int | None]] = {
    "1 secs": ("1800 S", 1),
    "5 secs": ("3600 S", 5),
    "10 secs": ("14400 S", 10),
    "15 secs": ("14400 S", 15),
    "30 secs": ("28800 S", 30),
    "1 min": ("1 D", 60),
    "2 mins": ("2 D", 120),
    "3 mins": ("1 W", 180),
    "5 mins": ("1 W", 300),
    "10 mins": ("1 W", 600),
    "15 mins": ("1 W", 900),
    "20 mins": ("1 W", 1200),
    "30 mins": ("1 M", 1800),
    "1 hour": ("1 M", 3600),
    "2 hours": ("1 M", 7200),
    "3 hours": ("1 M", 10800),
    "4 hours": ("1 M", 14400),
    "8 hours": ("1 M", 28800),
    "1 day": ("1 Y", None),
    "1 week": ("1 Y", None),
    "1 month": ("1 Y", None),
}
TRADING_DAYS = {"D": 1, "W": 5, "M": 20, "Y": 250}  # how many days of trading a unit surely has, holidays aside
_DURATION = re.compile(r"([1-9]\d{0,4}) ([SDWMY])")


@dataclass(frozen=True, kw_only=True, slots=True)
class Duration:
    """A duration in IB's words: seconds, days of trading, or calendar weeks, months and years."""

    count: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``5 D``. Raises ValueError."""
        found = _DURATION.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no duration: write a number and S, D, W, M or Y, such as 5 D or 1 Y")
        return cls(count=int(found[1]), unit=found[2])

    def __str__(self) -> str:
        return f"{self.count} {self.unit}"

    @property
    def seconds(self) -> float:
        """Its length for comparing with another, in seconds of calendar time; five days of trading are a week."""
        day = 86400.0
        in_days = {"D": 1.4, "W": 7, "M": 31, "Y": 366}
        return self.count * (1.0 if self.unit == "S" else in_days[self.unit] * day)

    def before(self, end: datetime) -> datetime:
        """The instant so long before ``end``; a day of trading counts as the calendar days that surely hold it."""
        if self.unit == "S":
            return end - timedelta(seconds=self.count)
        if self.unit == "D":
            return end - timedelta(days=self.count)
        if self.unit == "W":
            return end - timedelta(weeks=self.count)
        return _months_before(end, self.count * (12 if self.unit == "Y" else 1))


def longest_page(bar_size: str) -> Duration:
    """The longest duration that one answer covers."""
    return Duration.parse(PAGE_OF_BAR_SIZE[bar_size][0])


def bar_length(bar_size: str) -> timedelta | None:
    """The length of an intraday bar; None for bars of a day and more."""
    seconds = PAGE_OF_BAR_SIZE[bar_size][1]
    return None if seconds is None else timedelta(seconds=seconds)


def _months_before(moment: datetime, months: int) -> datetime:
    years, month = divmod(moment.year * 12 + moment.month - 1 - months, 12)
    day = min(moment.day, calendar.monthrange(years, month + 1)[1])
    return moment.replace(year=years, month=month + 1, day=day)
