"""Where a date's implied volatility stands within its year, and against what was realised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from v6.derivations.bar_history import YEAR
from v6.derivations.statistic import OK, Statistic, Value, joined

LEAST_SHARE = 0.9  # of the sessions that must have a volatility
LARGEST = 1e3  # of a volatility: what is larger is none
INDEX_DAYS = 30
REALISED_SESSIONS = 20

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class VolatilityYear:
    """Implied volatilities (fractions) of the last 252 sessions, the date last, NaN where a session has none;
    the date's 30-day variance index and its realised volatility of 20 sessions, None where unknown."""

    iv: Floats
    index: float | None = None
    realised: float | None = None
    why_not: str = ""
    doubts: str = ""  # what limits the date's volatility, and its index
    index_doubts: str = ""


def rank(iv: Floats) -> float | None:
    """0 where the last value is the least of all, 100 where it is the greatest; None where all are equal."""
    known = iv[np.isfinite(iv)]
    low, high = float(np.min(known)), float(np.max(known))
    return 100 * ((float(iv[-1]) - low) / (high - low)) if high > low else None


def percentile(iv: Floats) -> float:
    """How many percent of the known values are less than the last one."""
    known = iv[np.isfinite(iv)]
    return 100 * float(np.sum(known < iv[-1])) / len(known)


def iv_rank(year: VolatilityYear) -> Iterator[Value]:
    """Where the 30-day implied volatility lies between the least and the greatest of 252 sessions, the date included.

    Formula: 100 (σ - min σ_i) / (max σ_i - min σ_i), σ_i = iv_constant_maturity at 30 days; of a volatility index
    (VIX, VXN, …) its closes.
    Source: the usual definition.
    Ties: none arise.
    Null: the date has no volatility, fewer than nine in ten of the 252 sessions have one, or all are equal.
    """
    obstacle = _obstacle(year)
    value = None if obstacle else rank(year.iv)
    yield _value(year, value, obstacle or "all volatilities are equal")


def iv_percentile(year: VolatilityYear) -> Iterator[Value]:
    """On how many percent of 252 sessions, the date included, the 30-day implied volatility was less than the date's.

    Formula: 100 · #{σ_i < σ} / n, n the sessions that have a volatility; σ_i as for iv_rank.
    Source: the usual definition.
    Ties: equal volatilities do not count as less.
    Null: the date has no volatility, or fewer than nine in ten of the 252 sessions have one.
    """
    obstacle = _obstacle(year)
    yield _value(year, None if obstacle else percentile(year.iv), obstacle)


def variance_risk_premium(year: VolatilityYear) -> Iterator[Value]:
    """What the market asks for variance of the next 30 days beyond what was realised lately.

    Formula: I² - σ², I the variance_index at 30 days, σ the realised_volatility_close_to_close of 20 sessions; annual
    variances, 0.04 is a volatility of 20 %.
    Source: Bollerslev, Tauchen and Zhou, Expected Stock Returns and Variance Risk Premia, Review of Financial Studies
    22 (2009).
    Ties: none arise.
    Null: one of the two is.
    """
    index, realised = _known(year.index), _known(year.realised)
    known = index is not None and realised is not None
    value = index**2 - realised**2 if index is not None and realised is not None else None
    reasons = ((index, "no variance index"), (realised, "no realised volatility"))
    missing = (text for found, text in reasons if found is None)
    quality = joined(year.index_doubts) if known else joined(*missing)
    yield Value(
        value=value,
        observations=REALISED_SESSIONS + 1 if known else 0,
        quality=quality,
        tenor_days=INDEX_DAYS,
        window_days=REALISED_SESSIONS,
    )


def _known(volatility: float | None) -> float | None:
    return volatility if volatility is not None and 0 <= volatility <= LARGEST else None


def _obstacle(year: VolatilityYear) -> str:
    known = int(np.isfinite(year.iv).sum())
    if not len(year.iv) or not np.isfinite(year.iv[-1]):
        return year.why_not or "the date has no 30-day volatility"
    return f"{known} of {YEAR} sessions have a volatility" if known < LEAST_SHARE * YEAR else ""


def _value(year: VolatilityYear, value: float | None, otherwise: str) -> Value:
    known = int(np.isfinite(year.iv).sum())
    partial = OK if known == YEAR else f"{known} of {YEAR} sessions have a volatility"
    quality = otherwise if value is None else joined(partial, year.doubts)
    return Value(value=value, observations=known, quality=quality, window_days=YEAR)


RANKS = (
    Statistic(name="iv_rank", unit="%", compute=iv_rank),
    Statistic(name="iv_percentile", unit="%", compute=iv_percentile),
)
PREMIUM = (Statistic(name="variance_risk_premium", unit="1/year", compute=variance_risk_premium),)
STATISTICS = (*RANKS, *PREMIUM)
