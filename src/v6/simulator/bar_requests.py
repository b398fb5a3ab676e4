"""A request for bars as text becomes one with instants and seconds: end, duration, bar size, what to show."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from v6.simulator.instruments import Instrument, MarketSource
from v6.simulator.session import RequestRefused

DAY_SECONDS, WEEK_SECONDS, MONTH_SECONDS = 86400, 604800, 2592000
BAR_SECONDS = {
    "1 secs": 1, "1 sec": 1, "5 secs": 5, "10 secs": 10, "15 secs": 15, "30 secs": 30, "1 min": 60, "2 mins": 120,
    "3 mins": 180, "5 mins": 300, "10 mins": 600, "15 mins": 900, "20 mins": 1200, "30 mins": 1800, "1 hour": 3600,
    "2 hours": 7200, "3 hours": 10800, "4 hours": 14400, "8 hours": 28800, "1 day": DAY_SECONDS,
    "1 week": WEEK_SECONDS, "1W": WEEK_SECONDS, "1 month": MONTH_SECONDS, "1M": MONTH_SECONDS,
}  # fmt: skip
WHAT_TO_SHOW = (
    "TRADES", "MIDPOINT", "BID", "ASK", "BID_ASK", "ADJUSTED_LAST", "HISTORICAL_VOLATILITY",
    "OPTION_IMPLIED_VOLATILITY",
)  # fmt: skip
ZONES = {"EST": "America/New_York", "CST": "America/Chicago", "GMT": "UTC", "JST": "Asia/Tokyo"}
MAX_BARS = 200_000


@dataclass(frozen=True, kw_only=True, slots=True)
class BarRequest:
    """A request for bars as it was read."""

    req_id: int
    end: str
    bar_size: str
    duration: str
    what_to_show: str
    regular_hours: bool
    epoch_seconds: bool  # intraday bar times as seconds since 1970
    keep_up_to_date: bool


def refuse(cause: str) -> RequestRefused:
    """Error 321 with the gateway's wording around the cause."""
    return RequestRefused(321, f"Error validating request.-'bV' : cause - {cause}")


def bar_seconds(text: str) -> int:
    """Raises RequestRefused."""
    seconds = BAR_SECONDS.get(text.strip())
    if seconds is None:
        legal = ", ".join(BAR_SECONDS)
        raise refuse(f"Historical data bar size setting is invalid. Legal ones are: {legal}")
    return seconds


def what_to_show(text: str) -> str:
    """Raises RequestRefused."""
    shown = text.strip().upper()
    if shown not in WHAT_TO_SHOW:
        raise refuse(
            f"What to show field is missing or incorrect: {text[:40]}. Legal ones are: {', '.join(WHAT_TO_SHOW)}"
        )
    return shown


def end_instant(text: str, zone: str, now: datetime) -> datetime:
    """``""``, ``YYYYMMDD``, ``YYYYMMDD HH:MM:SS [zone]`` or ``YYYYMMDD-HH:MM:SS`` (UTC); without a zone the contract's.

    Raises:
        RequestRefused: the text has another form.
    """
    clean = text.strip()
    if not clean:
        return now
    try:
        if "-" in clean.split(" ")[0]:
            return datetime.strptime(clean.split(" ")[0], "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)
        day, _, rest = clean.partition(" ")
        time_text, _, zone_text = rest.strip().partition(" ")
        place = ZoneInfo(ZONES.get(zone_text.strip(), zone_text.strip()) or zone)
        return (
            datetime.strptime(f"{day} {time_text or '00:00:00'}", "%Y%m%d %H:%M:%S")
            .replace(tzinfo=place)
            .astimezone(UTC)
        )
    except (ValueError, ZoneInfoNotFoundError, OSError) as error:
        form = "yyyymmdd hh:mm:ss xx/xxxx or yyyymmdd-hh:mm:ss in UTC"
        raise RequestRefused(
            10314, f"End Date/Time: The date, time, or time-zone entered is invalid. {form}"
        ) from error


def start_instant(
    market: MarketSource, instrument: Instrument, duration: str, end: datetime, *, regular_hours: bool
) -> datetime:
    """Where a duration such as ``5 D`` that ends at ``end`` begins. Raises RequestRefused."""
    count_text, _, unit = duration.strip().upper().partition(" ")
    if not count_text.isdigit() or not 0 < int(count_text) < 100_000 or unit not in ("S", "D", "W", "M", "Y"):
        raise refuse(f"Historical data duration {duration[:40]!r} is invalid: integer, space, unit (S|D|W|M|Y)")
    count = int(count_text)
    if unit == "S" and count > DAY_SECONDS:
        raise refuse("Historical data requests for durations longer than 86400 seconds must be made in days.")
    if unit == "D" and count > 365:
        raise refuse("Historical data requests for durations longer than 365 days must be made in years.")
    if unit == "D":
        return market.sessions_back(instrument, end, count, regular_hours=regular_hours)
    if unit == "S":
        return end - timedelta(seconds=count)
    try:
        return end - timedelta(weeks=count) if unit == "W" else _months_before(end, count * (12 if unit == "Y" else 1))
    except (ValueError, OverflowError) as error:
        raise refuse(f"Historical data duration {duration[:40]!r} is too long") from error


def _months_before(instant: datetime, months: int) -> datetime:
    year, month = divmod(instant.year * 12 + instant.month - 1 - months, 12)
    day = min(instant.day, calendar.monthrange(year, month + 1)[1])
    return instant.replace(year=year, month=month + 1, day=day)


def check_combination(request: BarRequest, instrument: Instrument) -> None:
    """What the gateway refuses whatever the market. Raises RequestRefused."""
    if request.end.strip():
        if instrument.sec_type == "CONTFUT":
            raise RequestRefused(10339, "Setting end date/time for continuous future security type is not allowed.")
        if request.what_to_show.strip().upper() == "ADJUSTED_LAST":
            raise refuse("End Date/Time is not supported for ADJUSTED_LAST")
        if request.keep_up_to_date:
            raise refuse("End Date/Time must be empty when bars are kept up to date")
