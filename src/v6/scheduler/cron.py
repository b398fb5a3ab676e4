"""Cron expressions of five fields: minute, hour, day of month, month, day of week, in a time zone.

``*``, lists, ranges, steps and the names of months and days are understood; Sunday is 0 and 7. When both days are given
either fits, as in cron. A local time that a clock change skips runs as late as the gap is long; one that comes twice
runs the first time. An hour of ``*`` follows elapsed time instead: nothing is skipped and nothing runs twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Self
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)
LOOK_AHEAD_DAYS = 8 * 366 + 2  # 29 February comes within eight years, even around 2100
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
FIELDS: Sequence[tuple[str, int, int, Sequence[str]]] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    ("month", 1, 12, MONTHS),
    ("weekday", 0, 7, WEEKDAYS),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cron:
    """One expression, read; weekdays count from Sunday as 0."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_hour: bool
    any_day: bool
    any_weekday: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``30 9 * * mon-fri``. Raises ValueError that names the fields, or says that it never comes."""
        fields = text.split()
        if len(fields) != 5:
            raise ValueError(f"cron {text!r} has {len(fields)} fields, not 5: minute hour day month weekday")
        minutes, hours, days, months, weekdays = _read(fields)
        cron = cls(
            text=text,
            minutes=minutes,
            hours=hours,
            days=days,
            months=months,
            weekdays=frozenset(day % 7 for day in weekdays),
            any_hour=fields[1].startswith("*"),
            any_day=fields[2].startswith("*"),
            any_weekday=fields[4].startswith("*"),
        )
        first = date(2024, 1, 1)
        if not any(cron.runs_on(first + number * DAY) for number in range(LOOK_AHEAD_DAYS)):
            raise ValueError(f"cron {text!r} never comes: no month has that day")
        return cron

    def runs_on(self, day: date) -> bool:
        """True when it runs at some time of a local day."""
        if day.month not in self.months:
            return False
        fits_day, fits_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return fits_day and fits_weekday
        return fits_day or fits_weekday

    def instants(self, after: datetime, upto: datetime, zone: ZoneInfo) -> list[datetime]:
        """When it runs, after < instant <= upto, UTC."""
        day, last = after.astimezone(zone).date() - DAY, upto.astimezone(zone).date()
        found = set[datetime]()
        while day <= last:
            if self.runs_on(day):
                found.update(self._instants_of(day, zone))
            day += DAY
        return sorted(instant for instant in found if after < instant <= upto)

    def _instants_of(self, day: date, zone: ZoneInfo) -> Iterator[datetime]:
        for hour in self.hours:
            for minute in self.minutes:
                local = datetime.combine(day, time(hour, minute), zone)
                instant = local.astimezone(UTC)
                is_skipped = instant.astimezone(zone).replace(tzinfo=None) != local.replace(tzinfo=None)
                if not (self.any_hour and is_skipped):
                    yield instant
                if self.any_hour and not is_skipped:
                    yield local.replace(fold=1).astimezone(UTC)


def _read(fields: Sequence[str]) -> list[frozenset[int]]:
    """What each field allows. Raises ValueError that names all that are wrong."""
    found, wrong = [], []
    for text, (name, low, high, names) in zip(fields, FIELDS, strict=True):
        try:
            found.append(_values(name, text, low, high, names))
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise ValueError(", ".join(wrong))
    return found


def _values(field: str, text: str, low: int, high: int, names: Sequence[str]) -> frozenset[int]:
    found = set[int]()
    for part in text.lower().split(","):
        span, _, step_text = part.partition("/")
        try:
            step = int(step_text) if step_text else 1
            first, last = _span(span, low, high, names, has_step=bool(step_text))
        except ValueError:
            raise ValueError(f"cron's {field} {text!r} cannot be read: write numbers from {low} to {high}") from None
        if not (low <= first <= last <= high and step >= 1):
            raise ValueError(f"cron's {field} {text!r} is not within {low} to {high}")
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _span(text: str, low: int, high: int, names: Sequence[str], *, has_step: bool) -> tuple[int, int]:
    if text == "*":
        return low, high
    first, dash, last = text.partition("-")
    start = _number(first, low, names)
    return start, _number(last, low, names) if dash else (high if has_step else start)


def _number(text: str, low: int, names: Sequence[str]) -> int:
    return names.index(text) + low if text in names else int(text)
