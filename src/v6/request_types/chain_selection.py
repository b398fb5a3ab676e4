"""Which expiries and contracts of a chain are wanted: pure choices, no calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from v6.request_types.base import Contract


def nearest_expiry(expiries: Iterable[date], today: date, dte: int) -> list[date]:
    """The listed expiry whose calendar days from ``today`` are nearest to ``dte``; of two, the earlier."""
    alive = sorted(expiry for expiry in expiries if expiry >= today)
    return [min(alive, key=lambda expiry: abs((expiry - today).days - dte))] if alive else []


def expiries_between(expiries: Iterable[date], today: date, dte_min: int, dte_max: int | None) -> list[date]:
    """The listed expiries from ``dte_min`` to ``dte_max`` calendar days from ``today``, both included."""
    return sorted(
        expiry
        for expiry in expiries
        if dte_min <= (expiry - today).days and (dte_max is None or (expiry - today).days <= dte_max)
    )


def within_window(contracts: Iterable[Contract], spot: float, low: float | None, high: float | None) -> list[Contract]:
    """The contracts whose strike / spot lies in the window, both ends included."""
    return [
        contract
        for contract in contracts
        if contract.strike is not None
        and (low is None or contract.strike >= low * spot)
        and (high is None or contract.strike <= high * spot)
    ]


def nearest_the_money(contracts: Sequence[Contract], spot: float, count: int) -> list[Contract]:
    """The ``count`` contracts whose strikes are nearest to the spot, in chain order."""
    by_distance = sorted(contracts, key=lambda contract: (abs((contract.strike or 0.0) - spot), chain_order(contract)))
    return in_order(by_distance[:count])


def chain_order(contract: Contract) -> tuple[date, float, str, str]:
    """By expiry, strike, right and trading class."""
    return contract.expiry or date.max, contract.strike or 0.0, contract.right, contract.trading_class


def in_order(contracts: Iterable[Contract]) -> list[Contract]:
    """Contracts in chain order."""
    return sorted(contracts, key=chain_order)
