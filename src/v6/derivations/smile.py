"""Implied volatility of one expiry as a function of the strike: a local fit to the options out of the money.

Options in the money are left out (but near the money, where both count): they tell less, and an American one's early
exercise, which European formulas do not price, lies there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from v6.derivations.black_scholes import Terms, greeks, implied_volatilities
from v6.derivations.bracketing import zero_between
from v6.derivations.estimate import USUAL_SCATTER, Estimate, robust_scatter
from v6.derivations.local_regression import NEIGHBOURS, local_fit, smoother, widest_bandwidth

if TYPE_CHECKING:
    from v6.derivations.chain import ExpiryQuotes, Side

LEAST_POINTS = 5
BOTH_SIDES = 0.25  # standard deviations around the forward within which calls and puts both count
BANDWIDTH = 0.45  # standard deviations to either side that a local fit uses
WIDER = (0.45, 0.8, 1.4, 2.5)  # the same where quotes are noisy: as wide as they allow
BEYOND = 0.5  # standard deviations that the smile goes on as straight as it ended, beyond the quotes
PRECISE = 5e-5  # of a volatility: where the money is known as well, a narrow fit is as good as a wide one
LARGEST_DOUBT = 0.4  # of a price that spread and rounding leave open: beyond, a price tells no volatility
OUTLIER = 6.0  # robust standard deviations from the local fit
_NORMAL = NormalDist()

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Smile:
    """Volatilities ``iv`` at log-moneyness ``k`` = ln(strike / forward), ascending, each with the error of its quote.

    ``error`` is what spread and rounding leave open, ``scatter`` how far quotes lie off the smile in units of it, and
    ``noise`` the standard deviation that this and rounding make; ``by_forward`` what each volatility gains when the
    forward's logarithm does, ``forward_error`` the standard error of that. ``deviation`` is at-the-money volatility
    times the root of the years, ``bandwidth`` how far a local fit looks, in k, ``carry_discount`` exp(-carry * years).
    """

    k: Floats
    iv: Floats
    error: Floats
    noise: Floats
    by_forward: Floats
    years: float
    carry_discount: float
    deviation: float
    bandwidth: float
    scatter: float
    rate_error: float
    forward_error: float
    rejected: int = 0
    obstacle: str = ""

    @property
    def at_the_money(self) -> Estimate | None:
        """Volatility at the forward; None where the quotes do not reach it."""
        return self.at_delta(0.0)

    def at(self, k: float) -> Estimate | None:
        """Volatility at a log-moneyness within the quotes; None beyond them."""
        if not self.k[0] <= k <= self.k[-1]:
            return None
        counts = smoother(self.k, self.error, np.array([k]), self.bandwidth)[0]
        iv, by_noise = float(counts @ self.iv), float(np.sqrt(counts**2 @ self.noise**2))
        by_rate = self.rate_error * self.years * iv  # what a discount moves a price by, at the money
        by_forward = self.forward_error * (float(counts @ self.by_forward) + self._slope(k))
        return Estimate(value=iv, by_quotes=math.hypot(by_noise, by_rate), by_forward=by_forward)

    def _slope(self, k: float) -> float:
        """Of the volatility over log-moneyness."""
        ends = np.clip([k - self.bandwidth / 2, k + self.bandwidth / 2], self.k[0], self.k[-1])
        below, above = self.nearest_of(ends)
        return float((above - below) / max(ends[1] - ends[0], 1e-12))

    def at_delta(self, delta: float) -> Estimate | None:
        """Volatility of the option with a delta: of a call above 0, of a put below; None where quotes do not reach it.

        Delta is that of the option on spot, exp(-carry T) N(d1), as the gateway's; 0 stands for the forward.
        """
        if delta not in self._found:
            self._found[delta] = self._found_at(delta) if delta else self.at(0.0)
        return self._found[delta]

    @cached_property
    def _found(self) -> dict[float, Estimate | None]:
        """What was asked for so far, by delta: each is asked for by several statistics."""
        return {}

    def _found_at(self, delta: float) -> Estimate | None:
        """At the strike that is where its own volatility puts the delta, between the money and the last quote."""
        share = (delta if delta > 0 else self.carry_discount + delta) / self.carry_discount
        if not 0 < share < 1:
            return None
        d1 = _NORMAL.inv_cdf(share)

        def too_far(k: float) -> float:
            deviation = self.nearest(k) * math.sqrt(self.years)
            return k + d1 * deviation - deviation * deviation / 2

        is_above = too_far(0.0) < 0
        k = zero_between(too_far, 0.0, float(self.k[-1] if is_above else self.k[0]))
        return None if k is None else self.at(k)

    def nearest(self, k: float) -> float:
        """Volatility at a log-moneyness, or at the nearest one that the quotes reach."""
        return float(self.nearest_of(np.array([k]))[0])

    def beyond(self, k: Floats, *, reach: float = 1.0) -> Floats:
        """Volatilities at many log-moneynesses; beyond the quotes the smile goes on straight for a while, then flat.

        ``reach`` is how many halves of a standard deviation it goes on straight.
        """
        found, edge = self.nearest_of(k), np.clip(k, self.k[0], self.k[-1])
        out = np.flatnonzero(edge != k)
        if len(out):
            distance, step, last = (k - edge)[out], BEYOND * max(self.deviation, 1e-12), found[out]
            rise = last - self.nearest_of(edge[out] - np.copysign(step, distance))
            found[out] = np.maximum(last + rise * np.minimum(np.abs(distance) / step, reach), last / 2)
        return found

    def nearest_of(self, k: Floats) -> Floats:
        """Volatilities at many log-moneynesses, or at the nearest that the quotes reach."""
        return local_fit(self.k, self.iv, self.error, np.clip(k, self.k[0], self.k[-1]), self.bandwidth)


def fit_smile(quotes: ExpiryQuotes) -> Smile:
    """The smile of an expiry with a forward; it has an ``obstacle`` where too few quotes tell a volatility."""
    calls, puts = _points(quotes, quotes.calls, "c"), _points(quotes, quotes.puts, "p")
    merged = _Points.together(calls, puts)
    deviation = _first_deviation(merged, quotes.years)
    margin = BOTH_SIDES * deviation
    used = _Points.together(calls.where(calls.k >= -margin), puts.where(puts.k <= margin))
    kept, scatter = _without_outliers(used, deviation)
    noise = np.maximum(kept.rounding, scatter * kept.error)
    carry = quotes.forward.carry(quotes.years)
    return Smile(
        k=kept.k,
        iv=kept.iv,
        error=kept.error,
        noise=noise,
        by_forward=kept.by_forward,
        years=quotes.years,
        carry_discount=math.exp(-carry * quotes.years),
        deviation=deviation,
        bandwidth=_bandwidth(kept, noise, deviation),
        scatter=scatter,
        rate_error=quotes.forward.rate_error,
        forward_error=quotes.forward.ratio_error / quotes.forward.ratio,
        rejected=len(used.k) - len(kept.k),
        obstacle="" if len(kept.k) >= LEAST_POINTS else f"{len(kept.k)} quotes tell a volatility, too few for a smile",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Points:
    k: Floats
    iv: Floats
    error: Floats
    rounding: Floats  # what rounding alone leaves open
    by_forward: Floats

    def where(self, keep: Bools | npt.NDArray[np.intp]) -> _Points:
        return _Points(**{field.name: getattr(self, field.name)[keep] for field in fields(self)})

    @classmethod
    def together(cls, one: _Points, other: _Points) -> _Points:
        """Those of both, by log-moneyness ascending."""
        names = [field.name for field in fields(cls)]
        both = cls(**{name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in names})
        return both.where(np.argsort(both.k, kind="stable"))


def _points(quotes: ExpiryQuotes, side: Side, flag: str) -> _Points:
    """Volatility and its error at every strike of a side that tells one."""
    there, years = side.is_usable, quotes.years
    count = int(there.sum())
    spot = side.spot(quotes.spot)[there]
    terms = Terms(
        flags=np.full(count, flag),
        spot=spot,
        strike=quotes.strikes[there],
        years=np.full(count, years),
        rate=np.full(count, quotes.forward.used_rate),
        carry=np.full(count, quotes.forward.carry(years)),
    )
    solved = implied_volatilities(side.mid[there], terms)
    tangents = greeks(terms, solved.iv)
    vega = np.maximum(tangents.vega * 100, 1e-12)
    doubt, rounding = side.doubt[there], side.rounding[there]
    k = np.log(terms.strike / (spot * quotes.forward.ratio))
    by_forward = -spot * tangents.delta / vega
    found = _Points(k=k, iv=solved.iv, error=doubt / vega, rounding=rounding / vega, by_forward=by_forward)
    return found.where(np.isfinite(solved.iv) & (doubt < LARGEST_DOUBT * side.mid[there]))


def _first_deviation(points: _Points, years: float) -> float:
    """Standard deviation of the underlying to the expiry, from the points nearest the money."""
    if not len(points.k):
        return 0.2 * math.sqrt(years)
    nearest = np.argsort(np.abs(points.k), kind="stable")[:NEIGHBOURS]
    return float(np.median(points.iv[nearest])) * math.sqrt(years)


def _without_outliers(points: _Points, deviation: float) -> tuple[_Points, float]:
    """The points but those that lie far from what their neighbours say and from what their own spread allows; and how
    far points lie from their neighbours, in units of their errors."""
    if len(points.k) <= NEIGHBOURS:
        return points, USUAL_SCATTER
    counts = smoother(points.k, points.error, points.k, BANDWIDTH * deviation)
    scaled = np.abs(points.iv - counts @ points.iv) / points.error
    scatter = robust_scatter(scaled)
    left = 1 - float(np.trace(counts)) / len(points.k)  # of the degrees of freedom
    return points.where(scaled <= max(OUTLIER * scatter, 1.5)), scatter / math.sqrt(max(left, 0.1))


def _bandwidth(points: _Points, noise: Floats, deviation: float) -> float:
    """How far local fits look: narrow where the quotes are precise, else as wide as they allow."""
    narrow = BANDWIDTH * deviation
    if len(points.k) <= NEIGHBOURS:
        return narrow
    counts = smoother(points.k, points.error, np.zeros(1), narrow)[0]
    if float(np.sqrt(counts**2 @ noise**2)) < PRECISE:
        return narrow
    return widest_bandwidth(points.k, points.iv, points.error, noise, [share * deviation for share in WIDER])
