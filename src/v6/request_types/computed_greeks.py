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
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from pyvolr import bs

from v6.request_types.base import Greeks, Quote

SOURCE = "pyvolr mid"  # what greeks_source says
RATE = 0.04  # per year, continuously compounded; of little weight for options of weeks
PARITY_STRIKES = 5
NEW_YORK = ZoneInfo("America/New_York")
CLOSE = time(16)
YEAR_SECONDS = 365 * 86400.0
LEAST_YEARS = 60 / YEAR_SECONDS
VOLATILITY_RANGE = (0.001, 10.0)


def needs_greeks(quote: Quote) -> bool:
    """Whether the gateway's model gave no volatility or no delta."""
    return quote.model is None or quote.model.iv is None or quote.model.delta is None


def computed_greeks(quotes: Sequence[Quote], spot: float | None, *, on_future: bool = False) -> Mapping[int, Greeks]:
    """Greeks by contract id for the quotes that lack them and have a mid price; none without the underlying's price."""
    if spot is None:
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


def years_to(expiry: date, now: datetime) -> float:
    """Calendar years to 16:00 New York on the last trading day, a minute at the least."""
    seconds = (datetime.combine(expiry, CLOSE, NEW_YORK) - now).total_seconds()
    return max(LEAST_YEARS, seconds / YEAR_SECONDS)


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
    if mid is None or mid <= 0 or contract.strike is None or contract.expiry is None or not forward or forward <= 0:
        return None
    years, flag = years_to(contract.expiry, quote.finished_at), contract.right.lower()
    carry = RATE - math.log(forward / spot) / years
    market = (spot, contract.strike, years, RATE)
    iv = float(bs.implied_vol(mid, flag, *market, q=carry, on_error="ignore"))
    if not VOLATILITY_RANGE[0] <= iv <= VOLATILITY_RANGE[1]:  # below intrinsic value, or a price that tells nothing
        return None
    values = bs.greeks(flag, *market, sigma=iv, q=carry)
    return Greeks(
        iv=iv,
        delta=float(values["delta"]),
        gamma=float(values["gamma"]),
        vega=float(values["vega"]) / 100,
        theta=float(values["theta"]) / 365,
        underlying_price=spot,
    )
