"""Implied volatility of every strike and expiry, from VIX: a term structure times a skew."""

from __future__ import annotations

import math

LONG_RUN = 0.19
REVERSION = 4.0  # a year
_LOWEST, _HIGHEST = -1.2, 0.9


def at_the_money(level: float, years: float) -> float:
    """At-the-money volatility: ``level`` (VIX / 100 times the product's factor) reverting to the long run."""
    fade = -math.expm1(-REVERSION * years) / (REVERSION * years)
    return LONG_RUN + (level - LONG_RUN) * fade


def skew(strike: float, forward: float, years: float) -> float:
    """The factor on the at-the-money volatility: 1 - 0.9 m + 0.5 m², m = ln(K/F) / sqrt(T + 0.02) in [-1.2, 0.9]."""
    distance = math.log(strike / forward) / math.sqrt(years + 0.02)
    distance = min(max(distance, _LOWEST), _HIGHEST)
    return 1 - 0.9 * distance + 0.5 * distance * distance


def volatility(level: float, strike: float, forward: float, years: float) -> float:
    """Annual volatility of an option, 0.2 for 20 %."""
    return at_the_money(level, years) * skew(strike, forward, years)
