"""When each market trades: sessions in UTC, from well-kept calendar libraries and the corrections they need.

``XNYS`` is exchange_calendars' own. ``CME_EQUITY`` (ES, NQ, RTY and their kin) is pandas_market_calendars' "CME Globex
Equity" with what it lacks: see ``globex_corrections``. ``CBOE_INDEX_OPTIONS`` is of pandas_market_calendars too, and
``ALWAYS`` never closes. docs/calendars.md has the comparison. Where IB's own trading hours differ, IB's decide: what
meets a closed market fails there.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache, cached_property
from zoneinfo import ZoneInfo

from v6.errors import SettingsError
from v6.market_sessions import CBOE_OPTIONS, GLOBEX, LAST_DAY, XNYS, market_sessions
from v6.scheduler.globex_corrections import corrected_globex_session

FIRST_DAY = date(2000, 1, 1)
NEW_YORK = ZoneInfo("America/New_York")
DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """One session: its date, [opens, closes) in UTC, and the halts within it."""

    day: date
    opens: datetime
    closes: datetime
    halts: tuple[tuple[datetime, datetime], ...] = ()

    def is_open(self, at: datetime) -> bool:
        """True while it trades."""
        return self.opens <= at < self.closes and not any(start <= at < end for start, end in self.halts)

    def seconds_open(self, start: datetime, end: datetime) -> float:
        """How many seconds of [start, end) it trades."""
        inside = _overlap(start, end, self.opens, self.closes)
        return inside - sum(_overlap(start, end, *halt) for halt in self.halts)


@dataclass(frozen=True)
class TradingCalendar:
    """The sessions of one market, oldest first."""

    name: str
    zone: ZoneInfo
    sessions: Sequence[Session]

    @cached_property
    def _opens(self) -> list[datetime]:
        return [session.opens for session in self.sessions]

    @cached_property
    def _closes(self) -> list[datetime]:
        return [session.closes for session in self.sessions]

    @cached_property
    def _by_day(self) -> dict[date, Session]:
        return {session.day: session for session in self.sessions}

    def session_of(self, day: date) -> Session | None:
        """The session of a date, None when the market is closed on it."""
        return self._by_day.get(day)

    def between(self, start: datetime, end: datetime) -> Sequence[Session]:
        """The sessions that trade at some instant of [start, end).

        Raises:
            SettingsError: the range reaches past the days that the calendar knows.
        """
        self._check_known(start, end)
        return self.sessions[bisect_right(self._closes, start) : bisect_left(self._opens, end)]

    def last_closed(self, at: datetime) -> Session:
        """The session that closed last, at ``at`` or before it."""
        self._check_known(at, at)
        return self.sessions[bisect_right(self._closes, at) - 1]

    def next_session(self, at: datetime) -> Session:
        """The session that trades at ``at``, else the next one."""
        self._check_known(at, at)
        return self.sessions[bisect_right(self._closes, at)]

    def is_open(self, at: datetime) -> bool:
        """True while the market trades."""
        return self.next_session(at).is_open(at)

    def seconds_open(self, start: datetime, end: datetime) -> float:
        """How many seconds of [start, end) the market trades."""
        return sum(session.seconds_open(start, end) for session in self.between(start, end)) if start < end else 0.0

    def _check_known(self, start: datetime, end: datetime) -> None:
        known = self.sessions[0].opens, self.sessions[-1].closes
        if start < known[0] or end > known[1]:
            raise SettingsError(
                f"calendar {self.name} is known from {known[0]:%Y-%m-%d} to {known[1]:%Y-%m-%d} only, "
                f"not {start:%Y-%m-%d} to {end:%Y-%m-%d}"
            )


def load_calendar(name: str) -> TradingCalendar:
    """A calendar by name. Raises SettingsError with the names there are."""
    loader = _LOADERS.get(name)
    if loader is None:
        raise SettingsError(f"calendar {name!r} is not known: it is one of {', '.join(calendar_names())}")
    return loader()


def calendar_names() -> list[str]:
    """The calendars there are."""
    return sorted(_LOADERS)


@cache
def _xnys() -> TradingCalendar:
    return TradingCalendar("XNYS", NEW_YORK, _sessions(*XNYS))


@cache
def _cme_equity() -> TradingCalendar:
    sessions = []
    for session in _sessions(*GLOBEX):
        corrected = corrected_globex_session(session.day, session.closes)
        if corrected is not None:
            closes, halts = corrected
            sessions.append(replace(session, closes=closes, halts=halts))
    return TradingCalendar("CME_EQUITY", NEW_YORK, sessions)


@cache
def _cboe_index_options() -> TradingCalendar:
    return TradingCalendar("CBOE_INDEX_OPTIONS", NEW_YORK, _sessions(*CBOE_OPTIONS))


@cache
def _always() -> TradingCalendar:
    days = (FIRST_DAY + timedelta(days=number) for number in range((LAST_DAY - FIRST_DAY).days))
    starts = [(day, datetime(day.year, day.month, day.day, tzinfo=UTC)) for day in days]
    return TradingCalendar(
        "ALWAYS", ZoneInfo("UTC"), [Session(day=day, opens=start, closes=start + DAY) for day, start in starts]
    )


_LOADERS = {"XNYS": _xnys, "CME_EQUITY": _cme_equity, "CBOE_INDEX_OPTIONS": _cboe_index_options, "ALWAYS": _always}


def _sessions(library: str, calendar: str) -> list[Session]:
    return [
        Session(day=day, opens=datetime.fromtimestamp(opens, UTC), closes=datetime.fromtimestamp(closes, UTC))
        for day, opens, closes in market_sessions(library, calendar)
        if day >= FIRST_DAY
    ]


def _overlap(start: datetime, end: datetime, opens: datetime, closes: datetime) -> float:
    return max(0.0, (min(end, closes) - max(start, opens)).total_seconds())
