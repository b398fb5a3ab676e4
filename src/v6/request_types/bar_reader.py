"""Reads the bars of a range page by page, from its end backwards."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol

from v6.request_types.bar_pages import Duration, bar_length, longest_page
from v6.request_types.base import Bar, ContractDetails, Gateway
from v6.request_types.trading_date import trading_hours

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
YEAR_OF_DAYS = "1 Y"


class WantedBars(Protocol):
    """What is asked for."""

    @property
    def bar_size(self) -> str: ...
    @property
    def what_to_show(self) -> str: ...
    @property
    def regular_hours(self) -> bool: ...
    @property
    def start(self) -> datetime | None: ...
    @property
    def end(self) -> datetime | None: ...
    @property
    def wanted_duration(self) -> Duration: ...
    @property
    def is_long(self) -> bool: ...


@dataclass(kw_only=True)
class BarReader:
    """Reads pages from the range's end backwards; ``pages`` counts what was asked."""

    gateway: Gateway
    details: ContractDetails
    wanted: WantedBars
    now: datetime
    pages: int = 0
    _days: list[date] = field(default_factory=list)

    async def read(self) -> list[Bar]:
        """The bars with start <= bar start < end, oldest first."""
        wanted = self.wanted
        if wanted.start is None and not wanted.is_long:
            bars = await self._page(wanted.end, str(wanted.wanted_duration), wanted.bar_size)
            return _in_order(bars)
        end = wanted.end or self.now
        start = wanted.start or wanted.wanted_duration.before(end)
        return await self._range(start.astimezone(UTC), end.astimezone(UTC))

    async def _range(self, start: datetime, end: datetime) -> list[Bar]:
        page = longest_page(self.wanted.bar_size)
        first_day = trading_hours(self.details).trading_date(start) if start > EARLIEST else date.min
        found: list[Bar] = []
        upto: datetime | None = end
        while upto is not None and upto > start:
            bars = await self._page(upto, str(page), self.wanted.bar_size)
            found += bars
            upto = await self._next_end(bars, upto, page, start)
        # A daily bar has no instant: it belongs to the range when its trading date does.
        return await asyncio.to_thread(
            lambda: _in_order(
                bar
                for bar in found
                if (start <= bar.start < end if isinstance(bar.start, datetime) else bar.start >= first_day)
            )
        )

    async def _next_end(self, bars: list[Bar], upto: datetime, page: Duration, start: datetime) -> datetime | None:
        """Where the page before ends; None when nothing older exists."""
        earliest = min((instant_of(bar) for bar in bars), default=None)
        if earliest is not None and earliest < upto:
            return earliest
        before = page.before(upto)
        if bar_length(self.wanted.bar_size) is None or before <= start:
            return before
        return await self._last_trading_before(before)

    async def _last_trading_before(self, before: datetime) -> datetime | None:
        """The last instant up to ``before`` at which something may have traded; None when there was nothing.

        An empty page is a night, a holiday or a hole, and no end: daily bars tell on which days there was trading.
        """
        hours = trading_hours(self.details, regular=self.wanted.regular_hours)
        days = await self._trading_days(before)
        for day in reversed(days):
            opens, closes = hours.span_of(day)
            if opens < before:
                return min(before, closes)
        return None

    async def _trading_days(self, before: datetime) -> list[date]:
        """Days with bars in the year before; asked once a year."""
        if not self._days or self._days[0] >= before.date():
            end = before + timedelta(days=2)  # the day that ``before`` lies in belongs to it
            bars = await self._page(end, YEAR_OF_DAYS, "1 day")
            self._days = sorted(instant_of(bar).date() for bar in bars)
        return self._days

    async def _page(self, end: datetime | None, duration: str, bar_size: str) -> list[Bar]:
        self.pages += 1
        return list(
            await self.gateway.historical_bars(
                self.details.contract,
                end=None if end is None or end >= self.now else end,
                duration=duration,
                bar_size=bar_size,
                what_to_show=self.wanted.what_to_show,
                regular_hours=self.wanted.regular_hours,
            )
        )


def instant_of(bar: Bar) -> datetime:
    """The start of a bar; of a daily one, midnight UTC of its trading date."""
    return bar.start if isinstance(bar.start, datetime) else datetime.combine(bar.start, time(), UTC)


def _in_order(bars: Iterable[Bar]) -> list[Bar]:
    """Oldest first, each start once: pages overlap at their ends."""
    return [bar for _, bar in sorted({instant_of(bar): bar for bar in bars}.items())]
