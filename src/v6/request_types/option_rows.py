"""Rows of option chains from the quotes of one part."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from v6.errors import GatewayError
from v6.request_types.base import Contract, Greeks, MarketDataType, Part, Quote
from v6.request_types.computed_greeks import SOURCE, computed_greeks
from v6.request_types.rows import NOT_SENT, missing_fields, missing_json, quote_columns

GREEKS = ("iv", "delta", "gamma", "theta", "vega")


def quote_of_failure(error: GatewayError, contract: Contract, at: datetime) -> Quote:
    """The quote of a contract that failed: nothing in it but the reason."""
    why = f"{error}" if error.code is None else f"error {error.code}: {error}"
    return Quote(
        contract=contract,
        requested_type=MarketDataType.LIVE,
        received_type=None,
        started_at=at,
        finished_at=at,
        missing=dict.fromkeys(("bid", "ask", "last", "volume", "open_interest", "model"), why),
    )


def option_rows(quotes: Sequence[Quote], spot: float | None, part: Part, *, on_future: bool) -> list[dict[str, Any]]:
    """One row a quote; greeks that the gateway's model did not give are computed where a mid price allows it."""
    computed = computed_greeks(quotes, spot, on_future=on_future)
    return [_row(quote, computed.get(quote.contract.con_id), spot, part) for quote in quotes]


def _row(quote: Quote, computed: Greeks | None, spot: float | None, part: Part) -> dict[str, Any]:
    contract, model = quote.contract, quote.model
    used = model if computed is None else computed
    greeks = {name: None if used is None else getattr(used, name) for name in GREEKS}
    has_greeks = any(value is not None for value in greeks.values())
    underlying_price = spot if used is None or used.underlying_price is None else used.underlying_price
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
        "greeks_source": None if not has_greeks else "model" if computed is None else SOURCE,
        "model_price": None if model is None else model.option_price,
        "pv_dividend": None if model is None else model.pv_dividend,
        "underlying_price": underlying_price,
        "is_adjusted": is_adjusted(contract),
        "missing": missing_json(missing),
        "cycle": part["cycle"],
        "cycle_contracts": part["cycle_contracts"],
        "date": date.fromisoformat(part["date"]),
    }


def is_adjusted(contract: Contract) -> bool:
    """Whether a contract stands for something else than its class's usual amount of the underlying.

    After a corporate action an option on a stock gets a class with a figure (GE1) or another multiplier than 100.
    """
    figures = {sign for sign in contract.trading_class if sign.isdigit()}
    has_new_class = bool(figures - set(contract.symbol))
    return contract.sec_type == "OPT" and (has_new_class or contract.multiplier not in {None, 100.0})
