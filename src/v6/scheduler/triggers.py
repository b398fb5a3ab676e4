"""When a schedule comes: each trigger gives windows, a slot's instant with the interval that it stands for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby
from typing import Protocol
from zoneinfo import ZoneInfo

from v6.scheduler.cron import Cron
from v6.scheduler.trading_calendar import Session, TradingCalendar

MARGIN = timedelta(days=10)  # a session, its week and what a trigger adds to them lie within


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """A slot's instant and the interval [start, end) of the market that it stands for, UTC."""

    at: datetime
    start: datetime
    end: datetime


class Trigger(Protocol):
    """When a schedule comes."""

    def windows(self, calendar: TradingCalendar, after: datetime, upto: datetime) -> list[Window]:
        """The windows with after < instant <= upto, oldest first."""
        ...

    def describe(self) -> str:
        """In words."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class WhileOpen:
    """Every so many minutes from a session's open, while it trades.

    ``looks_back`` is for history: the slot comes when its minutes are over, so the last one comes at the close.
    """

    minutes: float
    looks_back: bool = False

    def windows(self, calendar: TradingCalendar, after: datetime, upto: datetime) -> list[Window]:
        """One window every so many minutes; none begins in a halt."""
        sessions = calendar.between(after - timedelta(minutes=self.minutes), upto + timedelta(microseconds=1))
        return [w for session in sessions for w in self._windows_of(session, after) if after < w.at <= upto]

    def _windows_of(self, session: Session, after: datetime) -> Iterator[Window]:
        step = timedelta(minutes=self.minutes)
        skipped = max(0, (after - session.opens) // step - 1)
        start = session.opens + skipped * step
        while start < session.closes:
            end = min(start + step, session.closes)
            if session.is_open(start):
                yield Window(at=end if self.looks_back else start, start=start, end=end)
            start += step

    def describe(self) -> str:
        """In words."""
        return f"every {self.minutes:g} min of the session"


class Anchor(StrEnum):
    """What a daily trigger counts from."""

    OPEN = "after open"
    BEFORE_CLOSE = "before close"
    CLOSE = "after close"


@dataclass(frozen=True, kw_only=True, slots=True)
class Daily:
    """Once a session, so many minutes after its open, before its close or after its close."""

    anchor: Anchor
    minutes: float

    def windows(self, calendar: TradingCalendar, after: datetime, upto: datetime) -> list[Window]:
        """One window a session, for the whole of it; none where a short session has no such instant."""
        found = []
        for session in calendar.between(after - MARGIN, upto + timedelta(minutes=self.minutes, seconds=1)):
            at = self._instant(session)
            is_within = self.anchor is Anchor.CLOSE or session.opens <= at < session.closes
            if is_within and after < at <= upto:
                found.append(Window(at=at, start=session.opens, end=session.closes))
        return found

    def _instant(self, session: Session) -> datetime:
        delta = timedelta(minutes=self.minutes)
        if self.anchor is Anchor.OPEN:
            return session.opens + delta
        return session.closes + (delta if self.anchor is Anchor.CLOSE else -delta)

    def describe(self) -> str:
        """In words."""
        return f"{self.minutes:g} min {self.anchor}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Weekly:
    """Once a week, so many minutes after its last session has closed."""

    minutes: float

    def windows(self, calendar: TradingCalendar, after: datetime, upto: datetime) -> list[Window]:
        """One window a week, for all of its sessions."""
        found = []
        sessions = calendar.between(after - 2 * MARGIN, upto + MARGIN)
        for _, group in groupby(sessions, key=lambda session: session.day.isocalendar()[:2]):
            week = list(group)
            at = week[-1].closes + timedelta(minutes=self.minutes)
            if after < at <= upto:
                found.append(Window(at=at, start=week[0].opens, end=week[-1].closes))
        return found

    def describe(self) -> str:
        """In words."""
        return f"{self.minutes:g} min after the week's last session"


@dataclass(frozen=True, kw_only=True, slots=True)
class ByCron:
    """By a cron expression in a time zone; outside the market's hours only with ``closed_market``.

    With ``looks_back`` a slot stands for the session that closed last, else for its own instant.
    """

    cron: Cron
    zone: ZoneInfo
    closed_market: bool = False
    looks_back: bool = False

    def windows(self, calendar: TradingCalendar, after: datetime, upto: datetime) -> list[Window]:
        """One window each time."""
        instants = self.cron.instants(after, upto, self.zone)
        return [self._window(calendar, at) for at in instants if self.closed_market or calendar.is_open(at)]

    def _window(self, calendar: TradingCalendar, at: datetime) -> Window:
        if not self.looks_back:
            return Window(at=at, start=at, end=at)
        session = calendar.last_closed(at)
        return Window(at=at, start=session.opens, end=session.closes)

    def describe(self) -> str:
        """In words."""
        return f"cron {self.cron.text} ({self.zone.key}){'' if self.closed_market else ' while open'}"
