"""Whether the markets trade now: the first reason why nothing grows."""

from __future__ import annotations

from datetime import datetime

from v6.doctor.finding import Finding, ok, skipped
from v6.errors import SettingsError

MARKETS = ("XNYS", "CME_EQUITY")


def calendar_check(market: str, now: datetime) -> Finding:
    """Open with its close, or closed with its next open."""
    check = f"calendar {market}"
    try:
        from v6.scheduler.trading_calendar import load_calendar

        calendar = load_calendar(market)
    except (ModuleNotFoundError, SettingsError) as error:
        return skipped(check, f"{error}: pip install 'v6[scheduler]'")
    session = calendar.next_session(now)
    if session.is_open(now):
        return ok(check, f"open until {session.closes:%Y-%m-%d %H:%M} UTC")
    opens = [session.opens, *(end for _, end in session.halts)]
    upcoming = min(at for at in opens if at > now)
    return ok(check, f"closed until {upcoming:%Y-%m-%d %H:%M} UTC: nothing new is to be had before")
