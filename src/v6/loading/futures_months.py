"""Which months of a future were listed over a range, by the exchange's listing cycle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from v6.errors import RequestError

LETTERS = "FGHJKMNQUVXZ"  # January to December
QUARTERLY, MONTHLY, METALS = "HMUZ", LETTERS, "GJMQVZ"
# Listing cycles as in the exchanges' contract specifications (CME Group: E-mini equity, Treasuries, energy, metals).
CYCLES = {
    **dict.fromkeys(("ES", "NQ", "RTY", "YM", "MES", "MNQ", "M2K", "MYM", "ZN", "ZB"), QUARTERLY),
    **dict.fromkeys(("CL", "NG", "SI", "HG"), MONTHLY),
    "GC": METALS,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FuturesMonth:
    """One month, YYYYMM, and the part of the range in which it could have traded (UTC)."""

    month: str
    start: datetime
    end: datetime


def listed_months(
    symbol: str, start: datetime, end: datetime, *, days_before: int, cycle: str | None = None
) -> list[FuturesMonth]:
    """Every month of the cycle that traded in start <= t < end, each from ``days_before`` its month begins on.

    Raises:
        RequestError: the symbol's cycle is not known and none was given, or it has a letter that is no month.
    """
    letters = cycle or CYCLES.get(symbol)
    if letters is None:
        raise RequestError(f"the listing cycle of {symbol} is not known: give it with --cycle, for example HMUZ")
    numbers = [_number(letter) for letter in letters.upper()]
    found = []
    for year in range(start.year, (end + timedelta(days=days_before + 31)).year + 1):
        for number in sorted(set(numbers)):
            month = _within(year, number, start, end, days_before)
            if month is not None:
                found.append(month)
    return found


def _number(letter: str) -> int:
    if letter not in LETTERS:
        raise RequestError(
            f"--cycle has {letter!r}, which is no month's letter: they are {LETTERS}, January to December"
        )
    return LETTERS.index(letter) + 1


def _within(year: int, number: int, start: datetime, end: datetime, days_before: int) -> FuturesMonth | None:
    begins = datetime(year, number, 1, tzinfo=UTC)
    over = (begins + timedelta(days=32)).replace(day=1)
    first, last = max(start, begins - timedelta(days=days_before)), min(end, over)
    return FuturesMonth(month=f"{year}{number:02d}", start=first, end=last) if first < last else None


def months_named(months: Sequence[str], start: datetime, end: datetime, *, days_before: int) -> list[FuturesMonth]:
    """The given months, YYYYMM, each with its part of the range. Raises RequestError."""
    found = []
    for text in months:
        if not (text.isdigit() and len(text) == 6 and 1 <= int(text[4:]) <= 12):
            raise RequestError(f"--month {text} is no month: write YYYYMM, such as 202612")
        month = _within(int(text[:4]), int(text[4:]), start, end, days_before)
        if month is None:
            raise RequestError(f"--month {text} does not trade between {start:%Y-%m-%d} and {end:%Y-%m-%d}")
        found.append(month)
    return found
