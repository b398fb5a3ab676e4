"""What a request type is, and the gateway it is given.

A request type is one file in this folder: a subclass of ``RequestType`` whose ``plan`` says which parts the work has
and whose ``fetch`` turns one part into rows. It talks to the gateway through the ``Gateway`` protocol below and knows
neither ib_async nor the tables' files. Handlers never write; tables never fetch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import IntEnum
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import polars as pl
from pydantic import BaseModel, ConfigDict

from v6.clock import Clock


class MarketDataType(IntEnum):
    """IB's market-data types, as requested and as received."""

    LIVE = 1
    FROZEN = 2
    DELAYED = 3
    DELAYED_FROZEN = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """A contract as asked for (fields left empty) or as the gateway knows it (``con_id`` > 0)."""

    symbol: str
    sec_type: str  # STK, OPT, FUT, IND, CONTFUT, FOP, CASH
    con_id: int = 0
    expiry: date | None = None  # last trading day
    contract_month: str = ""  # YYYYMM, for asking: the month instead of the day
    strike: float | None = None
    right: str = ""  # C or P
    multiplier: float | None = None
    exchange: str = "SMART"
    primary_exchange: str = ""
    currency: str = "USD"
    local_symbol: str = ""
    trading_class: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ContractDetails:
    """What the gateway knows about one contract. Hours are IB's texts, in ``time_zone_id``."""

    contract: Contract
    min_tick: float
    contract_month: str  # YYYYMM or empty
    time_zone_id: str
    trading_hours: str
    liquid_hours: str
    long_name: str = ""
    under_con_id: int = 0
    under_symbol: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class OptionParameters:
    """One exchange and trading class of an underlying's options: the union of strikes over all expiries."""

    exchange: str
    underlying_con_id: int
    trading_class: str
    multiplier: float
    expiries: tuple[date, ...]
    strikes: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Greeks:
    """One option computation: iv per year as a fraction, price and underlying in currency, greeks as IB sends them.

    delta and gamma per 1.00 of the underlying, vega per 1 % of volatility, theta per day. None: not computed.
    """

    iv: float | None = None
    delta: float | None = None
    gamma: float | None = None
    vega: float | None = None
    theta: float | None = None
    option_price: float | None = None
    pv_dividend: float | None = None
    underlying_price: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Completeness:
    """When a quote is whole. Names are fields of ``Quote`` (``model`` is the model greeks with iv and delta).

    It ends as soon as all of ``required`` and ``wanted`` have come; ``wanted_seconds`` after the last required one came
    it ends without the rest; ``wait_seconds`` after the request it ends whatever is missing, each with its reason.
    """

    required: frozenset[str]
    wanted: frozenset[str] = frozenset()
    wanted_seconds: float = 2.0
    wait_seconds: float = 11.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Quote:
    """One contract's market as streamed since this very request; what never came is None with a reason in ``missing``.

    Prices in the contract's currency, sizes in contracts (shares for stocks), instants in clock time, UTC.
    """

    contract: Contract
    requested_type: MarketDataType
    received_type: MarketDataType | None
    started_at: datetime
    finished_at: datetime
    bid: float | None = None
    ask: float | None = None
    last: float | None = None
    bid_size: float | None = None
    ask_size: float | None = None
    last_size: float | None = None
    bid_at: datetime | None = None  # when the side was received
    ask_at: datetime | None = None
    last_at: datetime | None = None  # the trade's own time where the gateway sent one, else when it was received
    volume: float | None = None
    open_interest: float | None = None
    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None  # the previous session's
    implied_volatility: float | None = None  # of an underlying, generic tick 106
    model: Greeks | None = None
    missing: Mapping[str, str] = field(default_factory=dict)  # field → why

    @property
    def mid(self) -> float | None:
        """Half way between bid and ask, None without both."""
        return None if self.bid is None or self.ask is None else (self.bid + self.ask) / 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One bar; ``start`` in UTC, for daily bars the trading date. Volume in IB's unit for the instrument."""

    start: datetime | date
    open: float
    high: float
    low: float
    close: float
    volume: float | None
    wap: float | None
    trade_count: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """One holding; average cost per unit times multiplier, as IB reports it."""

    account: str
    contract: Contract
    quantity: float
    average_cost: float


class Gateway(Protocol):
    """One request's view of the session: every call is paced by the request's priority and has its own deadline.

    Every method raises v6.errors.GatewayError with a category and IB's code when the call failed.
    """

    @property
    def account(self) -> str:
        """The account the session belongs to."""
        ...

    async def contract_details(self, contract: Contract) -> Sequence[ContractDetails]:
        """Every contract that fits; an option without a strike enumerates the expiry. Raises on error 200."""
        ...

    async def option_parameters(self, underlying: ContractDetails) -> Sequence[OptionParameters]:
        """The expiries and strikes listed on an underlying, per exchange and trading class."""
        ...

    async def quote(self, contract: Contract, completeness: Completeness) -> Quote:
        """Stream one contract until the quote is complete, then cancel; an incomplete quote is a value, no error."""
        ...

    def line_up(self, quotes: int) -> AbstractContextManager[Callable[[], Awaitable[None]]]:
        """Say that so many quotes will be asked for. What it gives waits until the next one may soon have a market-data
        line: whoever wants thousands awaits it before each, for calls that only wait cost the event loop time."""
        ...

    async def historical_bars(
        self,
        contract: Contract,
        *,
        end: datetime | None,
        duration: str,
        bar_size: str,
        what_to_show: str,
        regular_hours: bool,
    ) -> Sequence[Bar]:
        """One page of bars that end at ``end`` (UTC; None is now). ``duration`` and ``bar_size`` in IB's words
        ("5 D", "5 mins"). Error 162 "no data" is an empty page; "pacing violation" raises category PACING."""
        ...

    async def positions(self) -> Sequence[Position]:
        """All positions of the account."""
        ...


class KnownContracts(Protocol):
    """The contract master, as a request type may read it."""

    async def answer(self, asked: str, day: date) -> pl.DataFrame:
        """What the gateway answered to a question on a trading date; no rows when that is not stored whole."""
        ...


class NothingKnown:
    """A contract master that knows nothing: for whoever runs a type without a lake."""

    async def answer(self, asked: str, day: date) -> pl.DataFrame:
        """No rows."""
        del asked, day
        return pl.DataFrame()


class Derivations(Protocol):
    """What computes statistics from the lake, off the event loop, as a request type may ask for it."""

    async def days(self, symbol: str, first: date | None, last: date | None) -> Sequence[date]:
        """The trading dates first <= date <= last with data of a symbol, sorted; without ``first`` the newest only."""
        ...

    async def derive(self, symbol: str, days: Sequence[date]) -> Mapping[str, pl.DataFrame]:
        """The rows by table of everything that can be derived of a symbol on these dates."""
        ...

    async def examine(self, day: date | None, now: datetime, symbol: str) -> Mapping[str, pl.DataFrame]:
        """The rows by table of a quality report of a trading date, or of the newest one; none without data.

        Of all symbols where ``symbol`` is empty.
        """
        ...


class NothingToDerive:
    """Derivations of a lake without data: for whoever runs a type without a lake."""

    async def days(self, symbol: str, first: date | None, last: date | None) -> Sequence[date]:
        """None."""
        del symbol, first, last
        return ()

    async def derive(self, symbol: str, days: Sequence[date]) -> Mapping[str, pl.DataFrame]:
        """No tables."""
        del symbol, days
        return {}

    async def examine(self, day: date | None, now: datetime, symbol: str) -> Mapping[str, pl.DataFrame]:
        """No report."""
        del day, now, symbol
        return {}


class Parameters(BaseModel):
    """Base of every type's parameters: unknown names are refused and values are not coerced from other types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


NO_GATEWAY = "none"  # pacing class of a type that asks the gateway nothing: it runs while the gateway is away
ParametersType = TypeVar("ParametersType", bound=Parameters)
Part = Mapping[str, Any]  # one numbered part of the work, JSON-able: what fetch needs to know


@dataclass(frozen=True, kw_only=True)  # no slots: in Python 3.11 a generic one cannot be made as Job[...](...)
class Job(Generic[ParametersType]):
    """One request as its type sees it: validated parameters, the clock, and what it may read of the lake."""

    request_id: str
    symbol: str
    priority: int
    parameters: ParametersType
    created_at: datetime
    clock: Clock
    contracts: KnownContracts = field(default_factory=NothingKnown)
    derivations: Derivations = field(default_factory=NothingToDerive)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """What one part brought.

    ``rows`` are for the type's result table, ``side`` for others by table name (idempotent by key, appended first);
    the worker adds request_id and known_at. ``summary`` goes into result_data.
    """

    rows: pl.DataFrame
    side: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """Exponential back-off with full jitter: uniform in [0, min(cap, first * 2**(attempt - 1))] seconds."""

    first_seconds: float = 2.0
    cap_seconds: float = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Limiter:
    """So many requests of one type may begin in any period of so many clock seconds, whoever runs them."""

    requests: int
    seconds: float = 60.0


class RequestType(ABC, Generic[ParametersType]):
    """One kind of request. Subclasses set the class variables; settings may override the numbers."""

    name: ClassVar[str]
    description: ClassVar[str]
    parameters: type[ParametersType]
    result_table: ClassVar[str]
    default_priority: ClassVar[int] = 2
    concurrency: ClassVar[int] = 10  # requests of this type in flight at once
    attempts: ClassVar[int] = 3
    backoff: ClassVar[Backoff] = Backoff()
    limiter: ClassVar[Limiter | None] = None  # how many may begin in a period, on top of what the gateway allows
    pacing: ClassVar[str] = "market_data"  # the kind of data it needs: market_data, history, account or none
    timeout_seconds: ClassVar[float] = 120.0  # for one part
    default_schedule: ClassVar[str | None] = None
    symbol_optional: ClassVar[bool] = False  # True where an empty symbol means all

    async def plan(self, job: Job[ParametersType], gateway: Gateway) -> Sequence[Part]:
        """The numbered parts of the work, at least one. A chain of more than 500 contracts has several."""
        del job, gateway
        return [{}]

    @abstractmethod
    async def fetch(self, job: Job[ParametersType], part: Part, gateway: Gateway) -> Fetched:
        """The rows of one part."""
