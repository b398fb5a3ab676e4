"""Implied volatility and greeks from mid prices, for rows that the gateway's model left without.

Black-Scholes-Merton by pyvolr, on the forward that put-call parity implies for the expiry (median of the strikes
nearest the money): F = K + exp(rT) (C - P), so that dividends need not be known. European: an American option's early
exercise is not priced, which matters for deep puts. Units are the gateway's: vega per 1 %, theta per day.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

import numpy as np

from v6.derivations.black_scholes import Terms, greeks, implied_volatilities
from v6.derivations.expiry_time import years_to
from v6.request_types.base import Greeks, Quote

SOURCE = "pyvolr mid"  # what greeks_source says
RATE = 0.04  # per year, continuously compounded; of little weight for options of weeks
PARITY_STRIKES = 5


def needs_greeks(quote: Quote) -> bool:
    """Whether the gateway's model gave no volatility or no delta."""
    return quote.model is None or quote.model.iv is None or quote.model.delta is None


def computed_greeks(quotes: Sequence[Quote], spot: float | None, *, on_future: bool = False) -> Mapping[int, Greeks]:
    """Greeks by contract id for the quotes that lack them and have a mid price; none without the underlying's price."""
    if spot is None or not spot > 0:
        return {}
    forwards = {} if on_future else _forwards(quotes, spot)
    found = {}
    for quote in filter(needs_greeks, quotes):
        expiry = quote.contract.expiry
        forward = spot if on_future or expiry is None else forwards.get(expiry)
        greeks = _greeks(quote, spot, forward)
        if greeks is not None:
            found[quote.contract.con_id] = greeks
    return found


def _forwards(quotes: Iterable[Quote], spot: float) -> dict[date, float]:
    """The forward of each expiry; without a pair of mids, the spot grown at the rate."""
    pairs: dict[tuple[date, float, str], dict[str, Quote]] = defaultdict(dict)
    expiries: dict[date, float] = {}
    for quote in quotes:
        contract = quote.contract
        if contract.expiry is not None and contract.strike is not None:
            expiries.setdefault(contract.expiry, years_to(contract.expiry, quote.finished_at))
            if quote.mid is not None:
                pairs[contract.expiry, contract.strike, contract.trading_class][contract.right] = quote
    return {expiry: _forward(_near(pairs, expiry, spot), years, spot) for expiry, years in expiries.items()}


def _forward(near: Iterable[tuple[float, Mapping[str, Quote]]], years: float, spot: float) -> float:
    growth = math.exp(RATE * years)
    implied = [strike + growth * ((pair["C"].mid or 0.0) - (pair["P"].mid or 0.0)) for strike, pair in near]
    return statistics.median(implied) if implied else spot * growth


def _near(
    pairs: Mapping[tuple[date, float, str], Mapping[str, Quote]], expiry: date, spot: float
) -> list[tuple[float, Mapping[str, Quote]]]:
    whole = [(strike, pair) for (day, strike, _), pair in pairs.items() if day == expiry and len(pair) == 2]
    return sorted(whole, key=lambda one: abs(one[0] - spot))[:PARITY_STRIKES]


def _greeks(quote: Quote, spot: float, forward: float | None) -> Greeks | None:
    contract, mid = quote.contract, quote.mid
    if mid is None or contract.strike is None or contract.expiry is None or not forward or forward <= 0:
        return None
    years = years_to(contract.expiry, quote.finished_at)
    terms = Terms(
        flags=np.array([contract.right.lower()]),
        spot=np.array([spot]),
        strike=np.array([contract.strike]),
        years=np.array([years]),
        rate=np.array([RATE]),
        carry=np.array([RATE - math.log(forward / spot) / years]),
    )
    iv = implied_volatilities(np.array([mid]), terms).iv
    if not np.isfinite(iv[0]):  # below intrinsic value, or a price that tells nothing
        return None
    values = greeks(terms, iv)
    return Greeks(
        iv=float(iv[0]),
        delta=float(values.delta[0]),
        gamma=float(values.gamma[0]),
        vega=float(values.vega[0]),
        theta=float(values.theta[0]),
        underlying_price=spot,
    )
