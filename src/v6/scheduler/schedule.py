"""A schedule as data, and its slots: (schedule id, instant in UTC). A slot is the identity of a request."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from v6.data.ib_request import NewRequest
from v6.scheduler.markets import listed_months
from v6.scheduler.trading_calendar import TradingCalendar, load_calendar
from v6.scheduler.triggers import Trigger, Window


class CatchUp(StrEnum):
    """What becomes of slots that were due while no scheduler ran."""

    ALL = "all"
    LAST = "last"
    NONE = "none"


class Overlap(StrEnum):
    """What becomes of a slot while the last one's request is unfinished."""

    SKIP = "skip"
    QUEUE = "queue"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """One schedule. ``is_history`` is true where its type can be asked for the past: by start and end, or by day."""

    id: str
    request_type: str
    symbols: tuple[str, ...]
    trigger: Trigger
    calendar_name: str
    zone: ZoneInfo
    is_history: bool
    asks_by_day: bool = False
    priority: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    months: int | None = None
    catch_up: CatchUp = CatchUp.LAST
    overlap: Overlap = Overlap.SKIP
    deadline_minutes: float | None = None

    @cached_property
    def calendar(self) -> TradingCalendar:
        """The market's calendar."""
        return load_calendar(self.calendar_name)

    def slots(self, after: datetime, upto: datetime) -> list[Slot]:
        """Every slot with after < instant <= upto, oldest first: one a symbol and month."""
        windows = self.trigger.windows(self.calendar, after, upto)
        return [slot for window in windows for slot in self._slots_of(window)]

    def _slots_of(self, window: Window) -> Iterator[Slot]:
        day = self.calendar.next_session(window.start).day
        for symbol in self.symbols:
            months = [None] if self.months is None else listed_months(symbol, day, self.months)
            for month in months:
                yield Slot(schedule=self, window=window, symbol=symbol, month=month)

    def definition(self) -> str:
        """The schedule as canonical JSON text: equal when it does the same."""
        values = {
            "request_type": self.request_type,
            "symbols": self.symbols,
            "trigger": self.trigger.describe(),
            "calendar": self.calendar_name,
            "priority": self.priority,
            "parameters": self.parameters,
            "months": self.months,
            "catch_up": self.catch_up,
            "overlap": self.overlap,
            "deadline_minutes": self.deadline_minutes,
        }
        return json.dumps(values, sort_keys=True, default=str)


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """One slot of a schedule and a symbol."""

    schedule: Schedule
    window: Window
    symbol: str
    month: str | None = None

    @property
    def at(self) -> datetime:
        """When it is due, UTC."""
        return self.window.at

    @property
    def series_key(self) -> str:
        """What its slots have in common: they follow each other."""
        return f"slot/{self.schedule.id}/{self.symbol}{f'/{self.month}' if self.month else ''}/"

    @property
    def key(self) -> str:
        """The idempotency key: the slot alone, for ever."""
        return f"{self.series_key}{self.at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"

    @property
    def deadline(self) -> datetime | None:
        """The request fails as expired when it has not begun by then."""
        minutes = self.schedule.deadline_minutes
        return None if minutes is None else self.at + timedelta(minutes=minutes)

    def parameters(self) -> dict[str, Any]:
        """The schedule's parameters; history is asked for the slot's own interval, however late the slot runs."""
        values = dict(self.schedule.parameters)
        if self.month is not None:
            values["month"] = self.month
        if not self.schedule.is_history or _must_end_now(values):
            return values
        if self.schedule.asks_by_day:
            return {"day": self.schedule.calendar.next_session(self.window.start).day.isoformat(), **values}
        if "duration" not in values:
            values.setdefault("start", self.window.start.isoformat())
        values.setdefault("end", self.window.end.isoformat())
        return values

    def request(self) -> NewRequest:
        """The slot's request."""
        return NewRequest(
            request_type=self.schedule.request_type,
            symbol=self.symbol,
            priority=self.schedule.priority,
            parameters=self.parameters(),
            idempotency_key=self.key,
            slot=self.at,
            deadline=self.deadline,
        )


def _must_end_now(parameters: Mapping[str, Any]) -> bool:
    """IB serves these up to now only."""
    return parameters.get("sec_type") == "CONTFUT" or parameters.get("what_to_show") == "ADJUSTED_LAST"
