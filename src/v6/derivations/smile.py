"""Implied volatility of one expiry as a function of the strike: a local fit to the options out of the money.

Options in the money are left out (but near the money, where both count): they tell less, and an American one's early
exercise, which European formulas do not price, lies there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from v6.derivations.black_scholes import Terms, greeks, implied_volatilities

if TYPE_CHECKING:
    from v6.derivations.chain import ExpiryQuotes, Side

LEAST_POINTS = 5
BOTH_SIDES = 0.25  # standard deviations around the forward within which calls and puts both count
BANDWIDTH = 0.45  # standard deviations to either side that a local fit uses
NEIGHBOURS = 8  # points that it uses at the least
LARGEST_DOUBT = 0.4  # of a price that spread and rounding leave open: beyond, a price tells no volatility
TICK = 0.01  # what quotes are rounded to, in currency
OUTLIER = 6.0  # robust standard deviations from the local fit
DELTA_STEPS = 12
_NORMAL = NormalDist()

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Smile:
    """Volatilities ``iv`` at log-moneyness ``k`` = ln(strike / forward), ascending, each with the error of its quote.

    ``deviation`` is at-the-money volatility times the root of the years. ``carry_discount`` is exp(-carry * years).
    """

    k: Floats
    iv: Floats
    error: Floats
    years: float
    carry_discount: float
    deviation: float
    rejected: int = 0
    obstacle: str = ""
    _by_delta: dict[float, float | None] = field(default_factory=dict, repr=False)

    @property
    def at_the_money(self) -> float | None:
        """Volatility at the forward; None where the quotes do not reach it."""
        return self.at_delta(0.0)

    def at(self, k: float) -> float | None:
        """Volatility at a log-moneyness within the quotes; None beyond them."""
        return self.nearest(k) if self.k[0] <= k <= self.k[-1] else None

    def at_delta(self, delta: float) -> float | None:
        """Volatility of the option with a delta: of a call above 0, of a put below; None where quotes do not reach it.

        Delta is that of the option on spot, exp(-carry T) N(d1), as the gateway's; 0 stands for the forward.
        """
        if delta not in self._by_delta:
            self._by_delta[delta] = self._found_at(delta) if delta else self.at(0.0)
        return self._by_delta[delta]

    def _found_at(self, delta: float) -> float | None:
        """By stepping from the strike of a delta at the volatility of the strike before."""
        share = (delta if delta > 0 else self.carry_discount + delta) / self.carry_discount
        if not 0 < share < 1:
            return None
        d1, k = _NORMAL.inv_cdf(share), 0.0
        for _ in range(DELTA_STEPS):
            deviation = self.nearest(k) * math.sqrt(self.years)
            before, k = k, -d1 * deviation + deviation * deviation / 2
            if abs(k - before) < 1e-9:
                break
        return self.at(k)

    def nearest(self, k: float) -> float:
        """Volatility at a log-moneyness, or at the nearest one that the quotes reach."""
        nearest = min(max(k, self.k[0]), self.k[-1])
        return float(local_fit(self.k, self.iv, self.error, np.array([nearest]), BANDWIDTH * self.deviation)[0])


def fit_smile(quotes: ExpiryQuotes) -> Smile:
    """The smile of an expiry with a forward; it has an ``obstacle`` where too few quotes tell a volatility."""
    calls, puts = _points(quotes, quotes.calls, "c"), _points(quotes, quotes.puts, "p")
    merged = _Points.together(calls, puts)
    deviation = _first_deviation(merged, quotes.years)
    margin = BOTH_SIDES * deviation
    used = _Points.together(calls.where(calls.k >= -margin), puts.where(puts.k <= margin))
    kept = _without_outliers(used, deviation)
    carry = quotes.forward.carry(quotes.years)
    return Smile(
        k=kept.k,
        iv=kept.iv,
        error=kept.error,
        years=quotes.years,
        carry_discount=math.exp(-carry * quotes.years),
        deviation=deviation,
        rejected=len(used.k) - len(kept.k),
        obstacle="" if len(kept.k) >= LEAST_POINTS else f"{len(kept.k)} quotes tell a volatility, too few for a smile",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Points:
    k: Floats
    iv: Floats
    error: Floats

    def where(self, keep: Bools) -> _Points:
        return _Points(k=self.k[keep], iv=self.iv[keep], error=self.error[keep])

    @classmethod
    def together(cls, one: _Points, other: _Points) -> _Points:
        k = np.concatenate([one.k, other.k])
        order = np.argsort(k, kind="stable")
        iv, error = np.concatenate([one.iv, other.iv]), np.concatenate([one.error, other.error])
        return cls(k=k[order], iv=iv[order], error=error[order])


def _points(quotes: ExpiryQuotes, side: Side, flag: str) -> _Points:
    """Volatility and its error at every strike of a side that tells one."""
    there, years = side.is_usable, quotes.years
    count = int(there.sum())
    spot = np.where(np.isfinite(side.underlying_price), side.underlying_price, quotes.spot)[there]
    terms = Terms(
        flags=np.full(count, flag),
        spot=spot,
        strike=quotes.strikes[there],
        years=np.full(count, years),
        rate=np.full(count, quotes.forward.used_rate),
        carry=np.full(count, quotes.forward.carry(years)),
    )
    solved = implied_volatilities(side.mid[there], terms)
    vega = greeks(terms, solved.iv).vega * 100
    doubt = (side.ask - side.bid)[there] / 2 + TICK / 2
    error = doubt / np.maximum(vega, 1e-12)
    k = np.log(terms.strike / (spot * quotes.forward.ratio))
    found = _Points(k=k, iv=solved.iv, error=error)
    return found.where(np.isfinite(solved.iv) & (doubt < LARGEST_DOUBT * side.mid[there]))


def _first_deviation(points: _Points, years: float) -> float:
    """Standard deviation of the underlying to the expiry, from the points nearest the money."""
    if not len(points.k):
        return 0.2 * math.sqrt(years)
    nearest = np.argsort(np.abs(points.k), kind="stable")[:NEIGHBOURS]
    return float(np.median(points.iv[nearest])) * math.sqrt(years)


def _without_outliers(points: _Points, deviation: float) -> _Points:
    """The points but those that lie far from what their neighbours say and from what their own spread allows."""
    if len(points.k) <= NEIGHBOURS:
        return points
    fitted = local_fit(points.k, points.iv, points.error, points.k, BANDWIDTH * deviation)
    scaled = np.abs(points.iv - fitted) / points.error
    limit = max(OUTLIER * 1.4826 * float(np.median(scaled)), 1.5)
    return points.where(scaled <= limit)


def local_fit(k: Floats, values: Floats, error: Floats, targets: Floats, bandwidth: float) -> Floats:
    """A quadratic through the points around each target, weighted by nearness and by 1 / error², at the target.

    Cleveland, Robust Locally Weighted Regression, JASA 74 (1979), with tricube weights; each fit has eight points at
    the least, where there are so many.
    """
    distance = np.abs(k[None, :] - targets[:, None])
    count = min(NEIGHBOURS, len(k)) - 1
    reach = np.maximum(bandwidth, 1.001 * np.partition(distance, count, axis=1)[:, count])
    near = np.clip(1 - (distance / reach[:, None]) ** 3, 0, None) ** 3
    weight = near / np.maximum(error, 1e-6)[None, :] ** 2
    z = (k[None, :] - targets[:, None]) / reach[:, None]
    moments = [np.sum(weight * z**power, axis=1) for power in range(5)]
    left = np.array([[moments[i + j] for j in range(3)] for i in range(3)]).transpose(2, 0, 1)
    right = np.array([np.sum(weight * z**power * values[None, :], axis=1) for power in range(3)]).T
    ridge = 1e-10 * np.trace(left, axis1=1, axis2=2)[:, None, None] * np.eye(3)[None, :, :]
    solved: Floats = np.linalg.solve(left + ridge, right[:, :, None])[:, 0, 0]
    return solved
