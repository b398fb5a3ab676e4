"""Turns what the gateway's client hands over into v6's records: texts into dates and instants, -1 into None."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from v6.request_types.base import Bar, Contract, ContractDetails, Greeks, OptionParameters, Position

LARGEST_DOUBLE = 1.7e308  # IB's "unset" is the largest double


@lru_cache(maxsize=4096)  # a chain of thousands has a few dozen
def parse_expiry(text: str) -> date | None:
    """``YYYYMMDD``, with or without a time behind it; None for a month or an empty text."""
    digits = text.strip()[:8]
    return datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC).date() if len(digits) == 8 else None


def parse_bar_start(text: str) -> datetime | date:
    """``YYYYMMDD`` is a trading date; epoch seconds and ``YYYYMMDD HH:MM:SS Zone`` are instants, in UTC."""
    if text.isdigit():
        if len(text) == 8:
            return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).date()
        return datetime.fromtimestamp(int(text), UTC)
    day, time, *zone = text.split()
    naive = datetime.strptime(f"{day} {time}", "%Y%m%d %H:%M:%S")  # noqa: DTZ007 - its zone is the third word
    return naive.replace(tzinfo=ZoneInfo(zone[0]) if zone else UTC).astimezone(UTC)


def format_end(end: datetime | None) -> str:
    """The end of a history request in IB's UTC form; empty is now."""
    return "" if end is None else end.astimezone(UTC).strftime("%Y%m%d-%H:%M:%S")


def contract_fields(contract: Contract) -> dict[str, Any]:
    """A contract in the client's names."""
    expiry = contract.expiry.strftime("%Y%m%d") if contract.expiry else contract.contract_month
    return {
        "conId": contract.con_id,
        "symbol": contract.symbol,
        "secType": contract.sec_type,
        "lastTradeDateOrContractMonth": expiry,
        "strike": contract.strike or 0.0,
        "right": contract.right,
        "multiplier": f"{contract.multiplier:g}" if contract.multiplier else "",
        "exchange": contract.exchange,
        "primaryExchange": contract.primary_exchange,
        "currency": contract.currency,
        "localSymbol": contract.local_symbol,
        "tradingClass": contract.trading_class,
        # A month that is named may have expired: IB still knows it, and serves its bars for two years.
        "includeExpired": contract.sec_type == "FUT" and bool(expiry),
    }


def contract_from(raw: Any) -> Contract:
    """A contract as the gateway knows it."""
    return Contract(
        symbol=raw.symbol,
        sec_type=raw.secType,
        con_id=raw.conId,
        expiry=parse_expiry(raw.lastTradeDateOrContractMonth),
        strike=raw.strike or None,
        right=raw.right[:1] if raw.right in {"C", "CALL", "P", "PUT"} else "",
        multiplier=float(raw.multiplier) if raw.multiplier else None,
        exchange=raw.exchange,
        primary_exchange=raw.primaryExchange,
        currency=raw.currency,
        local_symbol=raw.localSymbol,
        trading_class=raw.tradingClass,
    )


def details_from(raw: Any) -> ContractDetails:
    """Contract details as the gateway sent them."""
    return ContractDetails(
        contract=contract_from(raw.contract),
        min_tick=raw.minTick,
        contract_month=raw.contractMonth,
        time_zone_id=raw.timeZoneId,
        trading_hours=raw.tradingHours,
        liquid_hours=raw.liquidHours,
        long_name=raw.longName,
        under_con_id=raw.underConId,
        under_symbol=raw.underSymbol,
    )


def option_parameters_from(listing: tuple[Any, ...]) -> OptionParameters:
    """One exchange's listing in wire order: exchange, underlying, class, multiplier, expirations, strikes."""
    exchange, underlying_con_id, trading_class, multiplier, expirations, strikes = listing
    expiries = {expiry for text in expirations if (expiry := parse_expiry(text))}
    return OptionParameters(
        exchange=exchange,
        underlying_con_id=int(underlying_con_id or 0),
        trading_class=trading_class,
        multiplier=float(multiplier or 1),
        expiries=tuple(sorted(expiries)),
        strikes=tuple(sorted(set(strikes))),
    )


def bar_from(raw: Any) -> Bar:
    """One bar; a negative volume, average or count means that there is none."""
    return Bar(
        start=parse_bar_start(raw.date),
        open=raw.open,
        high=raw.high,
        low=raw.low,
        close=raw.close,
        volume=_at_least(raw.volume, 0),
        wap=_at_least(raw.average, 0) or None,
        trade_count=None if raw.barCount < 0 else raw.barCount,
    )


def position_from(account: str, raw: Any, quantity: float, average_cost: float) -> Position:
    """One holding."""
    return Position(account=account, contract=contract_from(raw), quantity=quantity, average_cost=average_cost)


def greeks_from(values: tuple[float, ...]) -> Greeks:
    """The eight numbers of an option computation in wire order; -1 (greeks: -2) and IB's unset become None."""
    iv, delta, price, pv_dividend, gamma, vega, theta, underlying = values
    return Greeks(
        iv=_unless(iv, -1),
        delta=_unless(delta, -2),
        option_price=_unless(price, -1),
        pv_dividend=_unless(pv_dividend, -1),
        gamma=_unless(gamma, -2),
        vega=_unless(vega, -2),
        theta=_unless(theta, -2),
        underlying_price=_unless(underlying, -1),
    )


def _unless(value: float, absent: float) -> float | None:
    return None if value == absent or not math.isfinite(value) or value > LARGEST_DOUBLE else value


def _at_least(value: float, least: float) -> float | None:
    return value if math.isfinite(value) and least <= value < LARGEST_DOUBLE else None
