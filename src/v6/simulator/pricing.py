"""European options by Black–Scholes–Merton (Hull, Options, Futures, and Other Derivatives, ch. 17 and 19)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

RATE = 0.04  # continuously compounded, a year
YEAR_SECONDS = 365 * 86_400
MIN_YEARS = 60 / YEAR_SECONDS
_NORMAL = NormalDist()


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What a price depends on beside the volatility. ``years`` to expiry; ``dividend`` is a continuous yield."""

    spot: float
    strike: float
    years: float
    dividend: float
    is_call: bool

    @property
    def forward(self) -> float:
        """The forward price of the underlying."""
        return self.spot * math.exp((RATE - self.dividend) * self.years)


@dataclass(frozen=True, kw_only=True, slots=True)
class Greeks:
    """Price and its derivatives: vega per 1 % of volatility, theta per calendar day."""

    price: float
    delta: float
    gamma: float
    vega: float
    theta: float


def price(terms: Terms, volatility: float) -> float:
    """The price of a European option. ``volatility`` is annual, 0.2 for 20 %."""
    spread = volatility * math.sqrt(terms.years)
    discounted = terms.strike * math.exp(-RATE * terms.years)
    carried = terms.spot * math.exp(-terms.dividend * terms.years)
    d1 = math.log(carried / discounted) / spread + spread / 2
    if terms.is_call:
        return carried * _NORMAL.cdf(d1) - discounted * _NORMAL.cdf(d1 - spread)
    return discounted * _NORMAL.cdf(spread - d1) - carried * _NORMAL.cdf(-d1)


def greeks(terms: Terms, volatility: float) -> Greeks:
    """The price of a European option and its derivatives."""
    root = math.sqrt(terms.years)
    spread = volatility * root
    discounted = terms.strike * math.exp(-RATE * terms.years)
    fade = math.exp(-terms.dividend * terms.years)
    carried = terms.spot * fade
    d1 = math.log(carried / discounted) / spread + spread / 2
    density = math.exp(-d1 * d1 / 2) / math.sqrt(2 * math.pi)
    sign = 1.0 if terms.is_call else -1.0
    in_shares, in_cash = _NORMAL.cdf(sign * d1), _NORMAL.cdf(sign * (d1 - spread))
    decay = -carried * density * volatility / (2 * root)
    carry = sign * (terms.dividend * carried * in_shares - RATE * discounted * in_cash)
    return Greeks(
        price=max(0.0, sign * (carried * in_shares - discounted * in_cash)),
        delta=sign * fade * in_shares,
        gamma=fade * density / (terms.spot * spread),
        vega=carried * density * root / 100,
        theta=(decay + carry) / 365,
    )


def implied_volatility(terms: Terms, target: float, guess: float) -> float | None:
    """The volatility at which the price is ``target``; None when no volatility in (0.1 %, 1000 %) gives it."""
    low, high = 0.001, 10.0
    volatility = min(max(guess, 0.01), 5.0)
    for _ in range(60):
        point = greeks(terms, volatility)
        gap = point.price - target
        if abs(gap) < 1e-8 * max(1.0, target):
            return volatility
        low, high = (low, volatility) if gap > 0 else (volatility, high)
        slope = point.vega * 100
        step = volatility - gap / slope if slope > 1e-10 else low
        volatility = step if low < step < high else (low + high) / 2
    return None
