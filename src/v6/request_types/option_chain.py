"""``option_chain``: quotes and greeks of an underlying's listed options."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
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
    MarketDataType,
    OptionParameters,
    Parameters,
    Part,
    Quote,
    RequestType,
)
from v6.request_types.rows import NOT_SENT, cycle_name, frame_of, missing_fields, missing_json, quote_columns
from v6.request_types.side_by_side import side_by_side
from v6.request_types.trading_date import trading_hours
from v6.request_types.underlying import only_contract

PART_CONTRACTS = 500
QUOTES_IN_FLIGHT = 100  # tasks of one part; how many really stream is the gateway's pacing
DEFAULT_DTE = 45
GREEKS = ("iv", "delta", "gamma", "theta", "vega")
OPTION_QUOTE = Completeness(
    required=frozenset({"bid", "ask", "model", "volume", "open_interest"}), wanted=frozenset({"last"})
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
    sec_type: Literal["STK", "IND"] = Field("STK", description="what the underlying is: STK or IND (an index)")
    exchange: ShortText | None = Field(
        None, description="the underlying's exchange; without one SMART, of an index any"
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

    async def plan(self, job: Job[OptionChainParameters], gateway: Gateway) -> Sequence[Part]:
        """The contracts that exist and are wanted, in parts."""
        wanted = job.parameters
        underlying = await only_contract(gateway, _underlying(job))
        today = trading_hours(underlying).trading_date(job.clock.now())
        listings = _usable(await gateway.option_parameters(underlying), wanted.trading_class)
        expiries = _chosen_expiries(wanted, {day for listing in listings for day in listing.expiries}, today)
        if not expiries:
            raise _no_contracts(job.symbol, "no listed expiry fits: widen dte, dte_min/dte_max or expiries")
        spot = await _spot(gateway, underlying, is_needed=wanted.needs_spot)
        contracts = _selected(await _listed(gateway, job, underlying, expiries), wanted, spot)
        if not contracts:
            raise _no_contracts(job.symbol, "no listed contract fits: widen rights, moneyness or trading_class")
        cycle = wanted.cycle or cycle_name(job.created_at, job.request_id)
        head = {"cycle": cycle, "cycle_contracts": len(contracts), "date": today.isoformat(), "spot": spot}
        return [
            {**head, "contracts": [_packed(c) for c in contracts[first : first + PART_CONTRACTS]]}
            for first in range(0, len(contracts), PART_CONTRACTS)
        ]

    async def fetch(self, job: Job[OptionChainParameters], part: Part, gateway: Gateway) -> Fetched:
        """Quotes of a part's contracts, collected side by side."""
        contracts = [_unpacked(job.symbol, packed) for packed in part["contracts"]]
        answers = await _quotes(gateway, contracts)
        failures = [answer for answer in answers if isinstance(answer, GatewayError)]
        if len(failures) == len(answers) and len({failure.code for failure in failures}) == 1:
            raise failures[0]
        now = job.clock.now()
        requested = next((a.requested_type for a in answers if isinstance(a, Quote)), None)
        rows = [
            _quoted_row(answer, part)
            if isinstance(answer, Quote)
            else _failed_row(contract, answer, {"timestamp": now, "requested": requested, **part})
            for contract, answer in zip(contracts, answers, strict=True)
        ]
        summary = {"contracts": len(rows), "failed": len(failures), "cycle": part["cycle"]}
        return Fetched(rows=frame_of(OPTION_SNAPSHOTS, rows), summary=summary)


def _underlying(job: Job[OptionChainParameters]) -> Contract:
    wanted = job.parameters
    return Contract(
        symbol=job.symbol,
        sec_type=wanted.sec_type,
        exchange=wanted.exchange or ("SMART" if wanted.sec_type == "STK" else ""),
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


async def _spot(gateway: Gateway, underlying: ContractDetails, *, is_needed: bool) -> float | None:
    """The underlying's price: last, else mid, else the previous close."""
    try:
        quote = await gateway.quote(underlying.contract, UNDERLYING_QUOTE)
    except GatewayError as error:
        if is_needed or error.category not in CONTRACT_FAILURES:
            raise
        return None
    price = next((value for value in (quote.last, quote.mid, quote.close) if value is not None), None)
    if price is None and is_needed:
        raise GatewayError(
            f"no price of {underlying.contract.symbol} came, so moneyness cannot be told: {dict(quote.missing)}",
            category=ErrorCategory.TIMEOUT,
        )
    return price


async def _listed(
    gateway: Gateway, job: Job[OptionChainParameters], underlying: ContractDetails, expiries: Sequence[date]
) -> list[Contract]:
    """The contracts that exist: the option parameters' strikes are a union over all expiries and tell less."""
    asked = Contract(
        symbol=job.symbol,
        sec_type="OPT",
        exchange="SMART",
        currency=underlying.contract.currency,
        trading_class=job.parameters.trading_class or "",
        right=job.parameters.rights[0] if len(set(job.parameters.rights)) == 1 else "",
    )
    found: dict[int, Contract] = {}
    for expiry in expiries:
        for details in await gateway.contract_details(replace(asked, expiry=expiry)):
            found[details.contract.con_id] = details.contract
    return list(found.values())


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


def _unpacked(symbol: str, packed: Sequence[Any]) -> Contract:
    expiry = None if packed[0] is None else date.fromisoformat(packed[0])
    return Contract(symbol=symbol, sec_type="OPT", expiry=expiry, **dict(zip(_PACKED, packed[1:], strict=True)))


async def _quotes(gateway: Gateway, contracts: Sequence[Contract]) -> list[Quote | GatewayError]:
    """One answer a contract, in order. Errors that are not the contract's own end all."""
    in_flight = asyncio.Semaphore(QUOTES_IN_FLIGHT)

    async def one(contract: Contract) -> Quote | GatewayError:
        async with in_flight:
            try:
                return await gateway.quote(contract, OPTION_QUOTE)
            except GatewayError as error:
                if error.category in CONTRACT_FAILURES:
                    return error
                raise

    return await side_by_side((one(contract) for contract in contracts), name="option_chain quote")


def _quoted_row(quote: Quote, part: Part) -> dict[str, Any]:
    contract, model = quote.contract, quote.model
    greeks = {name: None if model is None else getattr(model, name) for name in GREEKS}
    underlying_price = part["spot"] if model is None or model.underlying_price is None else model.underlying_price
    missing = missing_fields(quote)
    why = quote.missing.get("model", NOT_SENT)
    missing |= {name: why for name, value in greeks.items() if value is None}
    if underlying_price is None:
        missing["underlying_price"] = why
    return {
        **quote_columns(quote),
        "strike": contract.strike,
        "right": contract.right,
        **greeks,
        "greeks_source": None if all(value is None for value in greeks.values()) else "model",
        "model_price": None if model is None else model.option_price,
        "pv_dividend": None if model is None else model.pv_dividend,
        "underlying_price": underlying_price,
        "missing": missing_json(missing),
        **_of_cycle(part),
    }


def _failed_row(contract: Contract, error: GatewayError, part: Mapping[str, Any]) -> dict[str, Any]:
    why = f"{error}" if error.code is None else f"error {error.code}: {error}"
    blank = Quote(
        contract=contract,
        requested_type=MarketDataType(part["requested"] or MarketDataType.LIVE),
        received_type=None,
        started_at=part["timestamp"],
        finished_at=part["timestamp"],
        missing=dict.fromkeys(("bid", "ask", "last", "volume", "open_interest", "model"), why),
    )
    return _quoted_row(blank, part)


def _of_cycle(part: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "cycle": part["cycle"],
        "cycle_contracts": part["cycle_contracts"],
        "date": date.fromisoformat(part["date"]),
    }
