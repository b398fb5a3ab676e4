"""Which trading date an instant belongs to, read from IB's texts of trading hours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from v6.errors import ErrorCategory, GatewayError
from v6.request_types.base import ContractDetails

DEFAULT_ZONE = "America/New_York"
STALE_AFTER = timedelta(days=1)  # past the last listed session by more than this, the text says nothing any more


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """One session, UTC; its trading date is the local day on which it ends."""

    opens: datetime
    closes: datetime
    day: date


@dataclass(frozen=True, kw_only=True, slots=True)
class TradingHours:
    """The sessions that IB lists around today, in time order, and the days it lists as closed."""

    zone: ZoneInfo
    sessions: tuple[Session, ...]
    closed: frozenset[date]

    @classmethod
    def parse(cls, text: str, time_zone_id: str) -> Self:
        """Read ``20261124:0400-20261124:2000;20261126:CLOSED``; the older ``20261124:0930-1200,1300-1600`` as well.

        Raises:
            GatewayError: the text or the time zone cannot be read.
        """
        zone = _zone(time_zone_id)
        sessions: list[Session] = []
        closed: set[date] = set()
        for entry in filter(None, (part.strip() for part in text.split(";"))):
            try:
                day_text, _, hours = entry.partition(":")
                day = _day(day_text)
                if hours == "CLOSED":
                    closed.add(day)
                else:
                    sessions += [_session(day, span, zone) for span in hours.split(",")]
            except ValueError as error:
                raise GatewayError(
                    f"the gateway's trading hours cannot be read: {entry!r}", category=ErrorCategory.INTERNAL
                ) from error
        ordered = tuple(sorted(sessions, key=lambda session: session.opens))
        return cls(zone=zone, sessions=ordered, closed=frozenset(closed - {s.day for s in ordered}))

    def trading_date(self, at: datetime) -> date:
        """The date of the session that contains ``at``, else of the last one before.

        Outside the days that are listed, the listed sessions' times of day and a week from Monday to Friday decide.
        """
        begun = [session for session in self.sessions if session.opens <= at]
        is_stale = bool(begun) and begun[-1] is self.sessions[-1] and at > begun[-1].closes + STALE_AFTER
        if begun and not is_stale:
            return begun[-1].day
        return self._extrapolated(at)

    def closes_of(self, day: date) -> datetime | None:
        """When trading of a date ends (UTC); None where the date is not listed."""
        return max((session.closes for session in self.sessions if session.day == day), default=None)

    def span_of(self, day: date) -> tuple[datetime, datetime]:
        """From when to when a date is traded (UTC); where it is not listed, at the times of day of the longest listed
        session, and where none is listed the whole day."""
        listed = [session for session in self.sessions if session.day == day]
        if listed:
            return min(session.opens for session in listed), max(session.closes for session in listed)
        if not self.sessions:
            midnight = datetime.combine(day, time(), self.zone)
            return midnight.astimezone(UTC), (midnight + timedelta(days=1)).astimezone(UTC)
        usual = max(self.sessions, key=lambda session: session.closes - session.opens)
        return self._moved(usual.opens, day - usual.day), self._moved(usual.closes, day - usual.day)

    def _moved(self, at: datetime, days: timedelta) -> datetime:
        """The same time of day so many days on: over a change of the clocks too."""
        local = at.astimezone(self.zone)
        return datetime.combine(local.date() + days, local.time(), self.zone).astimezone(UTC)

    def end_of_bar(self, start: datetime, length: timedelta) -> datetime:
        """When a bar ends: after its length, or when the session that it lies in closes before."""
        closes = [session.closes for session in self.sessions if session.opens <= start < session.closes]
        return min([start + length, *closes])

    def _extrapolated(self, at: datetime) -> date:
        local = at.astimezone(self.zone)
        day = local.date()
        if self.sessions:
            opens = self.sessions[0].opens.astimezone(self.zone)
            is_evening_open = opens.date() < self.sessions[0].day
            if is_evening_open and local.time() >= opens.time():
                day += timedelta(days=1)
            elif not is_evening_open and local.time() < opens.time():
                day -= timedelta(days=1)
        while day.weekday() > 4 or day in self.closed:
            day -= timedelta(days=1)
        return day


@lru_cache(maxsize=64)
def _parsed(text: str, time_zone_id: str) -> TradingHours:
    return TradingHours.parse(text, time_zone_id)


def trading_hours(details: ContractDetails, *, regular: bool = False) -> TradingHours:
    """All trading hours of a contract, or its regular ones. Raises GatewayError when they cannot be read."""
    return _parsed(details.liquid_hours if regular else details.trading_hours, details.time_zone_id)


def _session(day: date, span: str, zone: ZoneInfo) -> Session:
    opening, _, closing = span.partition("-")
    opening = opening.rpartition(":")[2]
    closing_day, _, closing_time = closing.rpartition(":")
    opens = datetime.combine(day, _time(opening), zone)
    closes = datetime.combine(_day(closing_day) if closing_day else day, _time(closing_time), zone)
    if closes <= opens:  # the older form: it ends in the morning after
        closes += timedelta(days=1)
    return Session(opens=opens.astimezone(UTC), closes=closes.astimezone(UTC), day=closes.date())


def _day(text: str) -> date:
    return date(int(text[:4]), int(text[4:6]), int(text[6:8]))


def _time(text: str) -> time:
    return time(int(text[:2]), int(text[2:4]))


def _zone(time_zone_id: str) -> ZoneInfo:
    try:
        return ZoneInfo(time_zone_id or DEFAULT_ZONE)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise GatewayError(
            f"the gateway's time zone {time_zone_id!r} is not known", category=ErrorCategory.INTERNAL
        ) from error
