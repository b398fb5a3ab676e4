"""What the simulated market trades and shows: plain records between the market (prices) and the server (wire).

The market is a pure function of seed and instant: the same question always has the same answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

OPTION_TYPES = frozenset({"OPT", "FOP"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Instrument:
    """One contract of the simulated market. ``con_id`` is the same in every process and for every seed."""

    con_id: int
    symbol: str
    sec_type: str  # STK, IND, FUT, CONTFUT, OPT, FOP
    exchange: str  # where it is routed: SMART, CME, CBOE
    primary_exchange: str
    currency: str
    local_symbol: str
    trading_class: str
    long_name: str
    min_tick: float
    multiplier: str = ""  # as on the wire: "100", "50", or empty
    expiry: date | None = None  # last trading day
    strike: float = 0.0
    right: str = ""  # C, P or empty
    under_con_id: int = 0
    under_symbol: str = ""
    under_sec_type: str = ""
    time_zone_id: str = "US/Eastern"
    valid_exchanges: str = "SMART"
    industry: str = ""
    category: str = ""
    subcategory: str = ""
    stock_type: str = ""
    real_expiry_time: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ContractQuery:
    """A contract as a client asked for it; empty or zero fields match everything."""

    con_id: int = 0
    symbol: str = ""
    sec_type: str = ""
    expiry: str = ""  # YYYYMMDD or YYYYMM
    strike: float = 0.0
    right: str = ""  # C, CALL, P, PUT or empty
    multiplier: str = ""
    exchange: str = ""
    primary_exchange: str = ""
    currency: str = ""
    local_symbol: str = ""
    trading_class: str = ""
    include_expired: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class OptionListing:
    """What is listed on one underlying in one trading class: the union of strikes over all expiries."""

    exchanges: tuple[str, ...]
    underlying_con_id: int
    trading_class: str
    multiplier: str
    expiries: tuple[date, ...]
    strikes: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Computation:
    """Greeks as the wire carries them: vega per 1 % of volatility, theta per day. None: not computed."""

    iv: float | None
    delta: float | None
    price: float | None
    pv_dividend: float | None
    gamma: float | None
    vega: float | None
    theta: float | None
    underlying: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """An instrument's market at one instant; prices on its tick. None: there is none (an index has no bid)."""

    at: datetime
    is_open: bool
    bid: float | None
    ask: float | None
    last: float | None
    bid_size: int | None
    ask_size: int | None
    last_size: int | None
    last_time: datetime | None  # of the last trade
    volume: int | None  # this session so far
    open: float | None
    high: float | None
    low: float | None
    close: float | None  # the previous session's
    open_interest: int | None = None  # options: of this contract; futures: likewise
    call_open_interest: int | None = None  # underlyings with options: all calls
    put_open_interest: int | None = None
    call_volume: int | None = None
    put_volume: int | None = None
    implied_volatility: float | None = None  # underlyings with options: 30 days
    bid_greeks: Computation | None = None
    ask_greeks: Computation | None = None
    last_greeks: Computation | None = None
    model_greeks: Computation | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class MarketBar:
    """One bar; ``start`` is an instant (UTC), or the trading date for bars of a day and more. The unfinished bar has
    what happened until now."""

    start: datetime | date
    open: float
    high: float
    low: float
    close: float
    volume: int
    wap: float
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """One simulated position."""

    instrument: Instrument
    quantity: float
    average_cost: float


class MarketSource(Protocol):
    """What the server asks the market. ``now`` is always an instant of the simulator's clock, UTC."""

    def find(self, query: ContractQuery, now: datetime) -> Sequence[Instrument]:
        """Every listed contract that fits, in (expiry, strike, right) order; empty is error 200."""
        ...

    def option_listings(self, under_con_id: int, now: datetime) -> Sequence[OptionListing]:
        """What is listed on an underlying; empty when it has no options."""
        ...

    def snapshot(self, instrument: Instrument, now: datetime) -> Snapshot:
        """The market of one instrument; outside its session the last values of it."""
        ...

    def bars(
        self,
        instrument: Instrument,
        *,
        start: datetime,
        end: datetime,
        now: datetime,
        bar_seconds: int,
        what_to_show: str,
        regular_hours: bool,
    ) -> Sequence[MarketBar]:
        """Bars with start <= bar start < end and not after ``now``, oldest first; ``bar_seconds`` 86400 is a day (by
        trading date), 604800 a week."""
        ...

    def sessions_back(self, instrument: Instrument, end: datetime, count: int, *, regular_hours: bool) -> datetime:
        """The open of the session ``count`` sessions back, the one that contains or precedes ``end`` counted first."""
        ...

    def head_timestamp(self, instrument: Instrument, what_to_show: str) -> datetime:
        """The first instant with data."""
        ...

    def trading_hours(self, instrument: Instrument, now: datetime, *, liquid: bool) -> str:
        """IB's text for the days around now: ``20261124:0400-20261124:2000;20261126:CLOSED;…``."""
        ...

    def holdings(self, now: datetime) -> Sequence[Holding]:
        """The account's positions."""
        ...

    def last_completed_session(self, now: datetime) -> tuple[datetime, datetime]:
        """Open and close (UTC) of the last XNYS session that has ended."""
        ...
