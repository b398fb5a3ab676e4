"""Time to expiry: calendar years to 16:00 New York on the last trading day, of 365 days."""

from __future__ import annotations

from datetime import date, datetime, time
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
CLOSE = time(16)
YEAR_DAYS = 365.0
YEAR_SECONDS = YEAR_DAYS * 86_400
LEAST_YEARS = 60 / YEAR_SECONDS


def years_to(expiry: date, now: datetime) -> float:
    """Calendar years to 16:00 New York on the last trading day, a minute at the least."""
    seconds = (datetime.combine(expiry, CLOSE, NEW_YORK) - now).total_seconds()
    return max(LEAST_YEARS, seconds / YEAR_SECONDS)
