"""How a symbol moves with the market, which is SPY."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from v6.derivations.bar_history import BarHistory, Floats
from v6.derivations.statistic import Statistic, Value, finite, joined

MARKET = "SPY"
WINDOWS = (60, 252)
MISSING_SHARE = 0.1  # of the market's returns that may be missing


def beta_of(own: Floats, market: Floats) -> float:
    """Slope of own returns on the market's; NaN where the market did not move."""
    variance = float(np.var(market, ddof=1))
    return float(np.cov(own, market, ddof=1)[0, 1]) / variance if variance > 0 else math.nan


def correlation_of(own: Floats, market: Floats) -> float:
    """Pearson's correlation of two series of returns; NaN where one of them did not move."""
    spread = float(np.std(own, ddof=1) * np.std(market, ddof=1))
    return float(np.clip(np.cov(own, market, ddof=1)[0, 1] / spread, -1, 1)) if spread > 0 else math.nan


def beta(bars: BarHistory) -> Iterator[Value]:
    """Beta to SPY over the last n daily logarithmic returns.

    Formula: cov(r, r_SPY) / var(r_SPY), both with n - 1; a return that SPY lacks leaves out that of the symbol.
    Source: the definition; Hull, ch. 3.
    Ties: none arise.
    Null: fewer than n + 1 sessions are stored, more than a tenth of SPY's returns are missing, or SPY did not move.
    """
    return _beside_the_market(bars, beta_of)


def correlation(bars: BarHistory) -> Iterator[Value]:
    """Correlation with SPY over the last n daily logarithmic returns.

    Formula: cov(r, r_SPY) / (sd(r) sd(r_SPY)); a return that SPY lacks leaves out that of the symbol.
    Source: Pearson's correlation.
    Ties: none arise.
    Null: fewer than n + 1 sessions are stored, more than a tenth of SPY's returns are missing, or one did not move.
    """
    return _beside_the_market(bars, correlation_of)


def _beside_the_market(bars: BarHistory, formula: Callable[[Floats, Floats], float]) -> Iterator[Value]:
    for window in WINDOWS:
        yield _over(bars, window, formula)


def _over(bars: BarHistory, window: int, formula: Callable[[Floats, Floats], float]) -> Value:
    if len(bars) < window + 1:
        text = f"{len(bars)} of {window + 1} sessions that it needs are stored"
        return Value(value=None, observations=len(bars), quality=text, window_days=window)
    part = bars.last(window + 1)
    if part.obstacle or part.market is None:
        text = part.obstacle or f"there are no daily bars of {MARKET}"
        return Value(value=None, observations=window, quality=text, window_days=window)
    own, market = np.diff(np.log(part.close)), np.diff(np.log(part.market.on(part.days)))
    there = np.isfinite(market)
    n = int(there.sum())
    if n < (1 - MISSING_SHARE) * window:
        text = f"{n} of {window} returns of {MARKET} are stored"
        return Value(value=None, observations=n, quality=text, window_days=window)
    note = "" if n == window else f"{n} of {window} returns of {MARKET}"
    return finite(formula(own[there], market[there]), n, joined(part.doubts, note), window_days=window)


STATISTICS = (
    Statistic(name="beta", unit="1", compute=beta),
    Statistic(name="correlation", unit="1", compute=correlation),
)
