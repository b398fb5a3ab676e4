"""``option_chain``: quotes and greeks of an underlying's listed options."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from v6.data.option_snapshots import OPTION_SNAPSHOTS
from v6.errors import ErrorCategory, GatewayError
from v6.request_types import chain_selection as chain
from v6.request_types.base import (
    Completeness,
    Contract,
    ContractDetails,
    Fetched,
    Gateway,
    Job,
    OptionParameters,
    Parameters,
    Part,
    Quote,
    RequestType,
)
from v6.request_types.computed_greeks import SOURCE
from v6.request_types.contract_lookup import DailyContracts
from v6.request_types.daily_listings import DailyListings
from v6.request_types.futures_snapshot import EXCHANGES, Month, still_trades
from v6.request_types.index_options import Meant, meant_by
from v6.request_types.option_rows import option_rows, quote_of_failure
from v6.request_types.rows import cycle_name, frame_of
from v6.request_types.side_by_side import side_by_side
from v6.request_types.trading_date import trading_hours
from v6.request_types.underlying import only

PART_CONTRACTS = 500
DEFAULT_DTE = 45
# Greeks that are late are computed; what was never traded has no last price, and nobody waits for one.
OPTION_QUOTE = Completeness(
    required=frozenset({"bid", "ask"}), wanted=frozenset({"model", "volume", "open_interest"}), wanted_seconds=4.0
)
UNDERLYING_QUOTE = Completeness(
    required=frozenset({"last"}), wanted=frozenset({"bid", "ask"}), wanted_seconds=1.0, wait_seconds=5.0
)
# Failures of one contract: a row with the reason. Anything else is the session's and ends the part.
CONTRACT_FAILURES = (ErrorCategory.CONTRACT, ErrorCategory.ENTITLEMENT)

Dte = Annotated[int, Field(ge=0, le=4000)]
Moneyness = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class OptionChainParameters(Parameters):
    """One way to choose expiries (dte, dte_min/dte_max or expiries), then which contracts of them."""

    dte: Dte | None = Field(
        None, description="the listed expiry nearest to that many calendar days; of two the earlier"
    )
    dte_min: Dte | None = Field(None, description="all listed expiries from that many calendar days on")
    dte_max: Dte | None = Field(None, description="all listed expiries up to that many calendar days")
    expiries: Annotated[list[date], Field(min_length=1)] | None = Field(
        None, description="these expiries: a list of dates, 2026-12-18"
    )
    rights: Annotated[list[Literal["C", "P"]], Field(min_length=1)] = Field(
        default=["C", "P"], description="calls, puts or both"
    )
    moneyness_min: Moneyness | None = Field(None, description="lowest strike / spot")
    moneyness_max: Moneyness | None = Field(None, description="highest strike / spot")
    max_contracts: Annotated[int, Field(ge=1)] | None = Field(
        None, description="at most so many contracts: those nearest the money"
    )
    trading_class: ShortText | None = Field(None, description="only this class, such as SPXW")
    sec_type: Literal["STK", "IND", "FUT"] | None = Field(
        None,
        description="what the underlying is: STK, IND (an index) or FUT (options on a future); without it IND for SPX, "
        "VIX and other indices that have options (SPXW is then a class of SPX), else STK",
    )
    month: Month | None = Field(None, description="the month of the underlying FUT, YYYYMM; without one the front")
    exchange: ShortText | None = Field(
        None, description="the underlying's exchange; without one SMART, of an index any, of a future its own"
    )
    primary_exchange: ShortText | None = Field(None, description="tells namesakes apart, such as ARCA")
    currency: ShortText = Field("USD", description="the underlying's currency")
    cycle: ShortText | None = Field(None, description="the collection's name; without one each request is its own")

    @model_validator(mode="after")
    def _one_choice_of_expiries(self) -> Self:
        has_window = self.dte_min is not None or self.dte_max is not None
        if (self.dte is not None) + has_window + (self.expiries is not None) > 1:
            raise ValueError("choose the expiries one way: dte, or dte_min/dte_max, or expiries")
        if self.dte_min is not None and self.dte_max is not None and self.dte_min > self.dte_max:
            raise ValueError(f"dte_min {self.dte_min} is above dte_max {self.dte_max}")
        if self.month is not None and self.sec_type != "FUT":
            raise ValueError("month belongs to sec_type FUT")
        low, high = self.moneyness_min, self.moneyness_max
        if low is not None and high is not None and low > high:
            raise ValueError(f"moneyness_min {low} is above moneyness_max {high}")
        return self

    @property
    def needs_spot(self) -> bool:
        """True where the underlying's price decides which contracts are taken."""
        return not (self.moneyness_min is self.moneyness_max is self.max_contracts is None)


class OptionChain(RequestType[OptionChainParameters]):
    """One row a listed contract, in parts of at most 500; a contract that failed is a row that says why."""

    name: ClassVar[str] = "option_chain"
    description: ClassVar[str] = "Quotes, greeks, volume and open interest of an underlying's listed options."
    parameters = OptionChainParameters
    result_table: ClassVar[str] = OPTION_SNAPSHOTS.name
    default_priority: ClassVar[int] = 2
    concurrency: ClassVar[int] = 6
    attempts: ClassVar[int] = 3
    pacing: ClassVar[str] = "market_data"
    timeout_seconds: ClassVar[float] = 600.0

    def __init__(self) -> None:
        self._contracts = DailyContracts()
        self._listings = DailyListings()

    async def plan(self, job: Job[OptionChainParameters], gateway: Gateway) -> Sequence[Part]:
        """The contracts that exist and are wanted, in parts."""
        wanted, meant = job.parameters, _meant(job)
        underlying = await self._underlying(job, gateway)
        today = trading_hours(underlying).trading_date(job.clock.now())
        listings = _usable(await self._listings.of(gateway, underlying, today), meant.trading_class)
        expiries = _chosen_expiries(wanted, {day for listing in listings for day in listing.expiries}, today)
        if not expiries:
            raise _no_contracts(job.symbol, "no listed expiry fits: widen dte, dte_min/dte_max or expiries")
        listed = await self._listed(job, gateway, underlying, expiries, today)
        spot = await _spot(gateway, underlying.contract, is_needed=True) if wanted.needs_spot else None
        contracts = _selected(listed, wanted, spot)
        if not contracts:
            raise _no_contracts(job.symbol, "no listed contract fits: widen rights, moneyness or trading_class")
        head = {
            "cycle": wanted.cycle or cycle_name(job.created_at, job.request_id),
            "cycle_contracts": len(contracts),
            "planned_at": job.clock.now().isoformat(),
            "date": today.isoformat(),
            "symbol": meant.symbol,
            "underlying": _packed(underlying.contract),
            "sec_types": [underlying.contract.sec_type, contracts[0].sec_type],
        }
        return [
            {**head, "contracts": [_packed(c) for c in contracts[first : first + PART_CONTRACTS]]}
            for first in range(0, len(contracts), PART_CONTRACTS)
        ]

    async def fetch(self, job: Job[OptionChainParameters], part: Part, gateway: Gateway) -> Fetched:
        """Quotes of a part's contracts and of their underlying, collected side by side."""
        under_type, option_type = part["sec_types"]
        symbol = part.get("symbol", job.symbol)  # a plan of an earlier version names none
        underlying = _unpacked(symbol, under_type, part["underlying"])
        contracts = [_unpacked(symbol, option_type, packed) for packed in part["contracts"]]
        pricing = asyncio.create_task(_spot(gateway, underlying, is_needed=False), name=f"price of {job.symbol}")
        try:
            answers = await _quotes(gateway, contracts)
            spot = await pricing
        finally:
            pricing.cancel()
        failures = [answer for answer in answers if isinstance(answer, GatewayError)]
        if len(failures) == len(answers) and len({failure.code for failure in failures}) == 1:
            raise failures[0]
        quotes = [
            answer if isinstance(answer, Quote) else quote_of_failure(answer, contract, job.clock.now())
            for contract, answer in zip(contracts, answers, strict=True)
        ]
        rows = await asyncio.to_thread(option_rows, quotes, spot, part, on_future=option_type == "FOP")
        return Fetched(
            rows=await asyncio.to_thread(frame_of, OPTION_SNAPSHOTS, rows),
            side=self._contracts.take_new(job),
            summary={
                "contracts": len(rows),
                "failed": len(failures),
                "computed_greeks": sum(row["greeks_source"] == SOURCE for row in rows),
                "cycle": part["cycle"],
                "planned_at": part["planned_at"],
                "last_quote_at": max(quote.finished_at for quote in quotes).isoformat(),
            },
        )

    async def _underlying(self, job: Job[OptionChainParameters], gateway: Gateway) -> ContractDetails:
        """The one underlying; of a future the month that was named, else the front one."""
        now = job.clock.now()
        asked = _underlying(job)
        found = await self._contracts.find(job, gateway, asked, now.date())
        if asked.sec_type == "FUT":
            found = [details for details in found if still_trades(details, now)][:1]
        return only(asked, found)

    async def _listed(
        self,
        job: Job[OptionChainParameters],
        gateway: Gateway,
        underlying: ContractDetails,
        expiries: Sequence[date],
        today: date,
    ) -> list[Contract]:
        """The contracts that exist: the option parameters' strikes are a union over all expiries and tell less."""
        under = underlying.contract
        asked = Contract(
            symbol=under.symbol,
            sec_type="FOP" if under.sec_type == "FUT" else "OPT",
            exchange=under.exchange if under.sec_type == "FUT" else "SMART",
            currency=under.currency,
        )
        answers = await side_by_side(
            lambda expiry: self._contracts.find(job, gateway, replace(asked, expiry=expiry), today),
            expiries,
            name=f"listing of {job.symbol}",
        )
        found = {
            details.contract.con_id: details.contract
            for answer in answers
            for details in answer
            if details.under_con_id in {0, under.con_id}
            and _meant(job).trading_class in {None, details.contract.trading_class}
        }
        return list(found.values())


def _meant(job: Job[OptionChainParameters]) -> Meant:
    return meant_by(job.symbol, job.parameters.sec_type, job.parameters.trading_class)


def _underlying(job: Job[OptionChainParameters]) -> Contract:
    wanted, meant = job.parameters, _meant(job)
    usual = {"STK": "SMART", "IND": ""}.get(meant.sec_type, EXCHANGES.get(job.symbol, ""))
    return Contract(
        symbol=meant.symbol,
        sec_type=meant.sec_type,
        contract_month=wanted.month or "",
        exchange=wanted.exchange or usual,
        primary_exchange=wanted.primary_exchange or "",
        currency=wanted.currency,
    )


def _no_contracts(symbol: str, why: str) -> GatewayError:
    return GatewayError(f"option chain of {symbol}: {why}", category=ErrorCategory.CONTRACT)


def _usable(listings: Sequence[OptionParameters], trading_class: str | None) -> list[OptionParameters]:
    """The listings of SMART, or of every exchange where SMART has none, and of the class that was asked for."""
    routed = [listing for listing in listings if listing.exchange == "SMART"] or list(listings)
    return [listing for listing in routed if trading_class in (None, listing.trading_class)]


def _chosen_expiries(wanted: OptionChainParameters, listed: Iterable[date], today: date) -> list[date]:
    if wanted.expiries is not None:
        return sorted(set(wanted.expiries) & set(listed))
    if wanted.dte_min is not None or wanted.dte_max is not None:
        return chain.expiries_between(listed, today, wanted.dte_min or 0, wanted.dte_max)
    return chain.nearest_expiry(listed, today, DEFAULT_DTE if wanted.dte is None else wanted.dte)


async def _spot(gateway: Gateway, underlying: Contract, *, is_needed: bool) -> float | None:
    """The underlying's price: last, else mid, else the previous close."""
    try:
        quote = await gateway.quote(underlying, UNDERLYING_QUOTE)
    except GatewayError as error:
        if is_needed or error.category not in CONTRACT_FAILURES:
            raise
        return None
    price = next((value for value in (quote.last, quote.mid, quote.close) if value is not None), None)
    if price is None and is_needed:
        raise GatewayError(
            f"no price of {underlying.symbol} came, so moneyness cannot be told: {dict(quote.missing)}",
            category=ErrorCategory.TIMEOUT,
        )
    return price


def _selected(contracts: Iterable[Contract], wanted: OptionChainParameters, spot: float | None) -> list[Contract]:
    fits = [contract for contract in contracts if contract.right in wanted.rights]
    if spot is not None:
        fits = chain.within_window(fits, spot, wanted.moneyness_min, wanted.moneyness_max)
        if wanted.max_contracts is not None:
            return chain.nearest_the_money(fits, spot, wanted.max_contracts)
    return chain.in_order(fits)


_PACKED = ("con_id", "strike", "right", "multiplier", "exchange", "currency", "local_symbol", "trading_class")


def _packed(contract: Contract) -> list[Any]:
    """A contract as JSON: its expiry, then the fields in the order of ``_PACKED``."""
    expiry = None if contract.expiry is None else contract.expiry.isoformat()
    return [expiry, *(getattr(contract, name) for name in _PACKED)]


def _unpacked(symbol: str, sec_type: str, packed: Sequence[Any]) -> Contract:
    expiry = None if packed[0] is None else date.fromisoformat(packed[0])
    return Contract(symbol=symbol, sec_type=sec_type, expiry=expiry, **dict(zip(_PACKED, packed[1:], strict=True)))


async def _quotes(gateway: Gateway, contracts: Sequence[Contract]) -> list[Quote | GatewayError]:
    """One answer a contract, in order. Errors that are not the contract's own end all."""

    async def one(contract: Contract) -> Quote | GatewayError:
        try:
            return await gateway.quote(contract, OPTION_QUOTE)
        except GatewayError as error:
            if error.category in CONTRACT_FAILURES:
                return error
            raise

    with gateway.line_up(len(contracts)) as room:
        return await side_by_side(one, contracts, name="option_chain quote", room=room)
