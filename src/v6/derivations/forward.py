"""The forward price and the rate of an expiry by put-call parity, C - P = D (F - K), at the strikes near the money."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from v6.derivations.estimate import USUAL_SCATTER, robust_scatter

if TYPE_CHECKING:
    from v6.derivations.chain import ExpiryQuotes

DEFAULT_RATE = 0.04
NEAR_MONEY = 0.12  # of spot: further away the early exercise of American options tells in the parity
LEAST_PAIRS = 6  # to tell the rate
NEAREST_PAIRS = 9  # to tell the forward
SOONEST_YEARS = 6.5 / 365  # from here on the slope can tell a rate
RATE_RANGE = (-0.05, 0.25)
OUTLIER = 4.0  # robust standard deviations
REJECTIONS = 4

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Forward:
    """``ratio`` is forward / spot and ``discount`` the price of 1 at the expiry; ``rate`` is None when parity does not
    tell it and ``discount`` is by ``used_rate``, the usual one. Errors are standard errors, 0 of the usual rate."""

    ratio: float
    discount: float
    used_rate: float
    rate: float | None
    rate_note: str
    pairs: int
    obstacle: str = ""
    ratio_error: float = 0.0
    rate_error: float = 0.0

    def carry(self, years: float) -> float:
        """The underlying's continuous yield: dividends less what lending it costs."""
        return self.used_rate - math.log(self.ratio) / years


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pairs:
    """Strikes with both mids, over spot: moneyness x = K / S, difference y = (C - P) / S, its error and rounding."""

    x: Floats
    y: Floats
    error: Floats
    rounding: Floats

    def where(self, keep: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> _Pairs:
        return _Pairs(x=self.x[keep], y=self.y[keep], error=self.error[keep], rounding=self.rounding[keep])

    def nearest(self, count: int) -> _Pairs:
        """Those nearest to the money, by the size of C - P; of equal ones the lower strikes."""
        order = np.argsort(np.abs(self.y), kind="stable")[:count]
        return self.where(order)


def fit_forward(quotes: ExpiryQuotes, *, usual_rate: float | None) -> Forward:
    """The forward and the rate of one expiry.

    The rate is the slope of C - P on K by weighted least squares, outliers rejected; where the expiry is too near, has
    too few pairs, or the slope gives no sensible rate, the usual rate is used. The forward is the median of
    K + (C - P) / D over the nine pairs nearest the money. Each pair counts with its own underlying price.
    """
    pairs = _pairs(quotes)
    usual = DEFAULT_RATE if usual_rate is None else usual_rate
    if not len(pairs.x):
        discount = math.exp(-usual * quotes.years)
        text = "no strike has a call and a put that can be used"
        return Forward(ratio=1.0, discount=discount, used_rate=usual, rate=None, rate_note=text, pairs=0, obstacle=text)
    near = pairs.where(np.abs(pairs.x - 1) <= NEAR_MONEY)
    rate, rate_error, note = _rate(near if len(near.x) >= LEAST_PAIRS else pairs, quotes.years)
    used = usual if rate is None else rate
    discount = math.exp(-used * quotes.years)
    nearest = pairs.nearest(NEAREST_PAIRS)
    ratios = nearest.x + nearest.y / discount
    ratio = float(np.median(ratios))
    return Forward(
        ratio=ratio, discount=discount, used_rate=used, rate=rate, rate_note=note, pairs=len(pairs.x),
        obstacle="" if ratio > 0 else "parity gives no forward",
        ratio_error=_error_of_median(nearest, ratios - ratio) / discount,
        rate_error=rate_error,
    )  # fmt: skip


def _error_of_median(pairs: _Pairs, distances: Floats) -> float:
    """The standard error of the median of these pairs' forwards, over spot: as of a normal sample."""
    count = len(distances)
    scatter = robust_scatter(distances) if count >= LEAST_PAIRS else USUAL_SCATTER * float(np.median(pairs.error))
    return math.sqrt(math.pi / 2 / count) * max(scatter, float(np.median(pairs.rounding)))


def _pairs(quotes: ExpiryQuotes) -> _Pairs:
    calls, puts = quotes.calls, quotes.puts
    spot = (calls.spot(quotes.spot) + puts.spot(quotes.spot)) / 2
    both = calls.is_usable & puts.is_usable & np.isfinite(spot)
    return _Pairs(
        x=(quotes.strikes / spot)[both],
        y=((calls.mid - puts.mid) / spot)[both],
        error=((calls.doubt + puts.doubt) / spot)[both],
        rounding=(np.hypot(calls.rounding, puts.rounding) / spot)[both],
    )


def _rate(pairs: _Pairs, years: float) -> tuple[float | None, float, str]:
    """The rate by the slope and its standard error, or None and why."""
    if years < SOONEST_YEARS:
        return None, 0.0, "it expires within a week: the slope tells no rate"
    if len(pairs.x) < LEAST_PAIRS:
        return None, 0.0, f"{len(pairs.x)} pairs of calls and puts, fewer than {LEAST_PAIRS}"
    line = _robust_line(pairs)
    rate = math.nan if line.slope >= 0 else -math.log(-line.slope) / years
    if not RATE_RANGE[0] <= rate <= RATE_RANGE[1]:
        return None, 0.0, "parity gives a rate outside of -5 % to 25 %"
    return rate, line.slope_error / -line.slope / years, ""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Line:
    """y = intercept + slope x by least squares weighted with 1 / error²."""

    slope: float
    intercept: float
    slope_error: float
    distances: Floats

    @classmethod
    def through(cls, pairs: _Pairs) -> _Line:
        slope, intercept = (float(c) for c in np.polyfit(pairs.x, pairs.y, 1, w=1 / pairs.error))
        distances = np.abs(pairs.y - intercept - slope * pairs.x)
        noise = max(robust_scatter(distances / pairs.error), float(np.median(pairs.rounding / pairs.error)))
        weights = 1 / pairs.error**2
        around = pairs.x - float(np.average(pairs.x, weights=weights))
        slope_error = noise / math.sqrt(float(np.sum(weights * around**2)))
        return cls(slope=slope, intercept=intercept, slope_error=slope_error, distances=distances)


def _robust_line(pairs: _Pairs) -> _Line:
    """The line without the pairs that lie far off it."""
    line = _Line.through(pairs)
    for _ in range(REJECTIONS):
        keep = line.distances <= max(OUTLIER * robust_scatter(line.distances), 1e-9)
        if keep.all() or keep.sum() < LEAST_PAIRS:
            break
        pairs = pairs.where(keep)
        line = _Line.through(pairs)
    return line
