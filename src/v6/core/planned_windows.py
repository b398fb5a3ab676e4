"""When IB takes the session down on purpose: the daily reset of each region, the weekend's, and the weekly log-in.

Source: IB's "System Status" page and the gateway's auto-restart. A window does not stop work that goes well: sessions
often live through most of it. It tells why the session is gone, and that nobody has to be called.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

NEW_YORK, ZURICH, HONG_KONG = ZoneInfo("America/New_York"), ZoneInfo("Europe/Zurich"), ZoneInfo("Asia/Hong_Kong")
EVERY_DAY = frozenset(range(7))
FRIDAY, SUNDAY = 4, 6


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedWindow:
    """From ``begins`` on each of ``weekdays`` (0 is Monday, local time) for ``lasts``."""

    name: str
    zone: ZoneInfo
    begins: time
    lasts: timedelta
    weekdays: frozenset[int] = EVERY_DAY

    def end_of(self, at: datetime) -> datetime | None:
        """When the window that contains an instant ends (UTC-aware); None outside."""
        local = at.astimezone(self.zone)
        for day in (local.date(), local.date() - timedelta(days=1)):
            begins = datetime.combine(day, self.begins, self.zone)
            ends = begins + self.lasts
            if day.weekday() in self.weekdays and begins <= local < ends:
                return ends
        return None


def _daily(name: str, zone: ZoneInfo, begins: time, minutes: int) -> PlannedWindow:
    return PlannedWindow(name=name, zone=zone, begins=begins, lasts=timedelta(minutes=minutes))


_WEEKEND = PlannedWindow(
    name="weekend reset", zone=NEW_YORK, begins=time(23), lasts=timedelta(hours=4), weekdays=frozenset({FRIDAY})
)
_LOGIN = PlannedWindow(
    name="weekly log-in: a person has to log in to the gateway",
    zone=NEW_YORK,
    begins=time(1),
    lasts=timedelta(hours=17),
    weekdays=frozenset({SUNDAY}),
)
WINDOWS: dict[str, tuple[PlannedWindow, ...]] = {
    "america": (_daily("nightly reset", NEW_YORK, time(0, 15), 90), _WEEKEND, _LOGIN),
    "europe": (_daily("daily reset", ZURICH, time(6, 25), 80), _WEEKEND, _LOGIN),
    "asia": (
        _daily("daily reset", HONG_KONG, time(4, 45), 80),
        _daily("daily reset", HONG_KONG, time(20, 15), 60),
        _WEEKEND,
        _LOGIN,
    ),
}


def planned_reason(region: str, at: datetime) -> str | None:
    """Why the session may be gone at an instant, as one line; None where nothing is planned."""
    for window in WINDOWS[region]:
        ends = window.end_of(at)
        if ends is not None:
            return f"{window.name}, planned until {ends:%H:%M %Z}"
    return None
