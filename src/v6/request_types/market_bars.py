"""``market_bars``: historical bars of one contract, over any range."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self

import polars as pl
from pydantic import AwareDatetime, Field, StringConstraints, field_validator, model_validator

from v6.data.market_bars import MARKET_BARS
from v6.request_types.bar_pages import PAGE_OF_BAR_SIZE, Duration, bar_length, longest_page
from v6.request_types.bar_reader import EARLIEST, BarReader, instant_of
from v6.request_types.base import Bar, Contract, ContractDetails, Fetched, Gateway, Job, Parameters, Part, RequestType
from v6.request_types.futures_snapshot import EXCHANGES, Month
from v6.request_types.rows import frame_of
from v6.request_types.trading_date import TradingHours, trading_hours
from v6.request_types.underlying import only_contract

PART_PAGES = 40  # of the longest page: small bars take ten minutes for 60
WhatToShow = Literal[
    "TRADES", "MIDPOINT", "BID", "ASK", "BID_ASK", "ADJUSTED_LAST", "HISTORICAL_VOLATILITY", "OPTION_IMPLIED_VOLATILITY"
]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=16)]


class MarketBarsParameters(Parameters):
    """Which bars: a duration up to an end, or from a start to an end."""

    bar_size: str = Field("1 day", description="length of a bar in IB's words, from 1 secs to 1 month")
    duration: str | None = Field(None, description="how far back from the end: a number and S, D, W, M or Y (5 D, 1 Y)")
    start: AwareDatetime | None = Field(None, description="first instant, ISO 8601 with an offset or Z")
    end: AwareDatetime | None = Field(None, description="last instant, ISO 8601 with an offset or Z; without it now")
    what_to_show: WhatToShow = Field("TRADES", description="what the bars are made of, in IB's words")
    regular_hours: bool = Field(True, description="only regular trading hours")
    sec_type: Literal["STK", "IND", "FUT", "CONTFUT", "CASH"] = Field(
        "STK", description="STK, IND, FUT (with month), CONTFUT or CASH"
    )
    month: Month | None = Field(None, description="the contract month of a FUT, YYYYMM")
    exchange: ShortText | None = Field(None, description="the exchange; without it SMART, or the future's own")
    primary_exchange: ShortText | None = Field(None, description="tells namesakes apart, such as ARCA")
    currency: ShortText = Field("USD", description="the contract's currency")

    @field_validator("bar_size")
    @classmethod
    def _is_bar_size(cls, text: str) -> str:
        if text not in PAGE_OF_BAR_SIZE:
            raise ValueError(f"it is one of {', '.join(PAGE_OF_BAR_SIZE)}")
        return text

    @field_validator("duration")
    @classmethod
    def _is_duration(cls, text: str | None) -> str | None:
        return None if text is None else str(Duration.parse(text))

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.duration is not None and self.start is not None:
            raise ValueError("say duration or start, not both")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError(f"start {self.start} is not before end {self.end}")
        if (self.sec_type == "FUT") != (self.month is not None):
            raise ValueError("month belongs to sec_type FUT: give both or neither")
        if self.must_end_now and (self.start is not None or self.end is not None or self.is_long):
            raise ValueError(
                f"IB serves CONTFUT and ADJUSTED_LAST up to now and in one answer only: leave out start and end, "
                f"duration at most {longest_page(self.bar_size)}"
            )
        return self

    @property
    def must_end_now(self) -> bool:
        """True where IB wants an empty end."""
        return self.sec_type == "CONTFUT" or self.what_to_show == "ADJUSTED_LAST"

    @property
    def wanted_duration(self) -> Duration:
        """The duration that was asked for, else what one answer covers."""
        return longest_page(self.bar_size) if self.duration is None else Duration.parse(self.duration)

    @property
    def is_long(self) -> bool:
        """True where one answer cannot cover the duration."""
        return self.wanted_duration.seconds > longest_page(self.bar_size).seconds


class MarketBars(RequestType[MarketBarsParameters]):
    """One row a bar; a long range is fetched page by page from its end backwards."""

    name: ClassVar[str] = "market_bars"
    description: ClassVar[str] = "Historical bars of a stock, index or future: a duration, or a range in UTC."
    parameters = MarketBarsParameters
    result_table: ClassVar[str] = MARKET_BARS.name
    default_priority: ClassVar[int] = 3
    concurrency: ClassVar[int] = 10
    attempts: ClassVar[int] = 4
    pacing: ClassVar[str] = "history"
    timeout_seconds: ClassVar[float] = 1800.0

    async def plan(self, job: Job[MarketBarsParameters], gateway: Gateway) -> Sequence[Part]:
        """One part, or for a long range of intraday bars several, so that what has landed is not fetched again."""
        del gateway
        wanted, now = job.parameters, job.clock.now()
        length, page = bar_length(wanted.bar_size), longest_page(wanted.bar_size)
        if length is None or (wanted.start is None and not wanted.is_long):
            return [{}]
        end = (wanted.end or now).astimezone(UTC)
        start = max(EARLIEST, (wanted.start or wanted.wanted_duration.before(end)).astimezone(UTC))
        bounds = [end]
        while bounds[-1] > start:
            bounds.append(max(start, bounds[-1] - PART_PAGES * (end - page.before(end))))
        return [{"start": first.isoformat(), "end": last.isoformat()} for last, first in pairwise(bounds)] or [{}]

    async def fetch(self, job: Job[MarketBarsParameters], part: Part, gateway: Gateway) -> Fetched:
        """All bars of the range, each once."""
        wanted, now = job.parameters, job.clock.now()
        if part:
            span = {name: datetime.fromisoformat(part[name]) for name in ("start", "end")}
            wanted = wanted.model_copy(update={"duration": None, **span})
        details = await only_contract(gateway, _contract(job))
        reader = BarReader(gateway=gateway, details=details, wanted=wanted, now=now)
        bars = await reader.read()
        rows = await asyncio.to_thread(_frame, bars, details, wanted, job.clock.now())
        return Fetched(rows=rows, summary={"bars": rows.height, "pages": reader.pages})


def _frame(bars: Sequence[Bar], details: ContractDetails, wanted: MarketBarsParameters, now: datetime) -> pl.DataFrame:
    """The rows as a frame: a hundred thousand take a second, off the event loop."""
    return frame_of(MARKET_BARS, _rows(bars, details, wanted, now))


def _contract(job: Job[MarketBarsParameters]) -> Contract:
    wanted = job.parameters
    usual = {"STK": "SMART", "CASH": "IDEALPRO", "IND": ""}.get(wanted.sec_type, EXCHANGES.get(job.symbol, ""))
    return Contract(
        symbol=job.symbol,
        sec_type=wanted.sec_type,
        contract_month=wanted.month or "",
        exchange=wanted.exchange or usual,
        primary_exchange=wanted.primary_exchange or "",
        currency=wanted.currency,
    )


def _rows(
    bars: Iterable[Bar], details: ContractDetails, wanted: MarketBarsParameters, now: datetime
) -> list[dict[str, Any]]:
    contract, hours = details.contract, trading_hours(details)
    counted = trading_hours(details, regular=wanted.regular_hours)
    same = {
        "symbol": contract.symbol,
        "con_id": contract.con_id,
        "sec_type": contract.sec_type,
        "bar_size": wanted.bar_size,
        "what_to_show": wanted.what_to_show,
        "regular_hours": wanted.regular_hours,
        "expiry": contract.expiry,
        "trading_class": contract.trading_class or None,
        "exchange": contract.exchange or None,
        "currency": contract.currency or None,
        "local_symbol": contract.local_symbol or None,
    }
    return [{**same, **_values(bar), **_times(bar, wanted.bar_size, hours, counted, now)} for bar in bars]


def _values(bar: Bar) -> dict[str, Any]:
    names = ("open", "high", "low", "close", "volume", "wap", "trade_count")
    return {name: getattr(bar, name) for name in names}


def _times(bar: Bar, bar_size: str, hours: TradingHours, counted: TradingHours, now: datetime) -> dict[str, Any]:
    """When a bar began, its trading date and whether its time had passed."""
    length = bar_length(bar_size)
    if isinstance(bar.start, datetime):
        day = hours.trading_date(bar.start)
        is_final = length is not None and counted.end_of_bar(bar.start, length) <= now
    else:
        day = bar.start
        is_final = is_finished_period(day, bar_size, counted, now)
    return {"timestamp": instant_of(bar), "date": day, "is_final": is_final}


def is_finished_period(day: date, bar_size: str, hours: TradingHours, now: datetime) -> bool:
    """True once trading of the day, week or month that ``day`` lies in has ended."""
    today = hours.trading_date(now)
    if bar_size == "1 week":
        return day.isocalendar()[:2] < today.isocalendar()[:2]
    if bar_size == "1 month":
        return (day.year, day.month) < (today.year, today.month)
    closes = hours.closes_of(day)
    return day < today or (day == today and closes is not None and closes <= now)
