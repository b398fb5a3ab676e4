"""A smile as five numbers without butterfly arbitrage: SVI, w(k) = a + b (ρ (k - m) + sqrt((k - m)² + σ²)).

k is ln(strike / forward), w the total variance (volatility² times years). Gatheral, A parsimonious arbitrage-free
implied volatility parameterization (2004); Gatheral and Jacquier, Arbitrage-free SVI volatility surfaces, Quantitative
Finance 14 (2014), called GJ below. A fit is free of butterfly arbitrage: where the free SVI would not be, the slice of
an SSVI takes its place, whose bounds exclude it (GJ, theorem 4.2).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from v6.derivations.least_squares import least_squares

STEEPEST_WING = 1.99  # b (1 + |ρ|) stays below 2: Lee's bound on the wings
LEAST_ERROR = 5e-4  # of a volatility: no quote counts as much better known than that
REACH = 4.0  # standard deviations from the money within which quotes are fitted
# A density below the first number costs the second, in standard errors: harder, until none is below zero.
PENALTIES = ((0.005, 100.0), (0.01, 1e3), (0.02, 1e4))
FREE = 1e-5  # a density whose least is above it is nowhere below zero
MOST_TILT = 0.995
POOR = 4.0  # squared errors a quote: a fit as bad is tried again from elsewhere
LEAST_SIGMA = math.log(1e-3)
STEPS_AROUND = np.concatenate([np.linspace(-20, 20, 1601), np.geomspace(20, 2000, 200), -np.geomspace(20, 2000, 200)])
LOOKED_AT = np.concatenate([np.linspace(-8, 8, 65), np.geomspace(9, 200, 12), -np.geomspace(9, 200, 12)])

Floats = npt.NDArray[np.float64]


class SviKind(StrEnum):
    """Which bounds kept butterfly arbitrage out."""

    SVI = "svi"
    SSVI = "ssvi"


@dataclass(frozen=True, kw_only=True, slots=True)
class Svi:
    """The five parameters of one expiry."""

    a: float
    b: float
    rho: float
    m: float
    sigma: float
    kind: SviKind

    def total_variance(self, k: Floats) -> Floats:
        """w at these log-moneynesses."""
        x = k - self.m
        return self.a + self.b * (self.rho * x + np.sqrt(x * x + self.sigma * self.sigma))

    def density(self, k: Floats) -> Floats:
        """Durrleman's g: butterfly arbitrage is where it is below zero (GJ, lemma 2.2)."""
        x = k - self.m
        root = np.sqrt(x * x + self.sigma * self.sigma)
        w = self.a + self.b * (self.rho * x + root)
        first, second = self.b * (self.rho + x / root), self.b * self.sigma**2 / root**3
        lead = (1 - k * first / (2 * w)) ** 2
        return lead - first * first / 4 * (1 / w + 0.25) + second / 2

    def least_density(self) -> float:
        """The least of g over a range beyond which only the wings' slopes count."""
        deviation = math.sqrt(max(float(self.total_variance(np.zeros(1))[0]), 1e-12))
        found = np.concatenate([self.m + self.sigma * STEPS_AROUND, deviation * STEPS_AROUND])
        found.sort()
        place = int(np.argmin(self.density(found)))
        around = np.linspace(found[max(place - 2, 0)], found[min(place + 2, len(found) - 1)], 401)
        return float(np.min(self.density(around)))


def fit_svi(k: Floats, iv: Floats, error: Floats, years: float) -> Svi:
    """The SVI nearest to these volatilities (at least five) in units of their errors; free of butterfly arbitrage."""
    z = np.abs(k) / (float(np.interp(0.0, k, iv)) * math.sqrt(years))
    kept = z <= max(REACH, float(np.sort(z)[4]))
    k, iv, error, z = k[kept], iv[kept], error[kept], z[kept]
    target = iv * iv * years
    scale = 2 * iv * years * np.hypot(error, LEAST_ERROR) * (1 + z * z / 4)  # the money counts more than the wings
    quotes = _Quotes(k=k, target=target, scale=scale)
    slice_ = _fit_ssvi(k, target, scale)
    best = _fit_from(_unbounded(slice_), quotes, slice_)
    if _misfit(best, quotes) > POOR * len(k):
        for start in _other_starts(slice_, math.sqrt(float(np.interp(0.0, k, target)))):
            best = _fit_from(start, quotes, best)
    return best


@dataclass(frozen=True, kw_only=True, slots=True)
class _Quotes:
    """Total variances to be met at log-moneynesses, each in units of its scale."""

    k: Floats
    target: Floats
    scale: Floats


def _fit_from(start: Floats, quotes: _Quotes, other: Svi) -> Svi:
    """All five parameters from a start, or the other fit where that is nearer or this is not free of arbitrage."""
    for margin, penalty in PENALTIES:
        start = _fit_free(quotes.k, quotes.target, quotes.scale, start, margin=margin, penalty=penalty)
        free = _free(start)
        if free.least_density() > FREE:
            return free if _misfit(free, quotes) < _misfit(other, quotes) else other
    return other


def _other_starts(slice_: Svi, deviation: float) -> Iterator[Floats]:
    """Starts away from where a fit ended badly: other tilts, the vertex on both sides of the money, a sharper one."""
    for rho in (-0.7, 0.0, 0.7):
        for m in (-deviation, 0.0, deviation):
            yield _unbounded(replace(slice_, a=slice_.a / 2, rho=rho, m=m, sigma=deviation / 2))


def _misfit(svi: Svi, quotes: _Quotes) -> float:
    return float(np.sum(((svi.total_variance(quotes.k) - quotes.target) / quotes.scale) ** 2))


def _fit_ssvi(k: Floats, target: Floats, scale: Floats) -> Svi:
    """A slice θ/2 (1 + ρφk + sqrt((φk + ρ)² + 1 - ρ²)); φ within the bounds of GJ, theorem 4.2."""
    middle = float(np.interp(0.0, k, target))

    def residuals(x: Floats) -> Floats:
        return np.asarray((_ssvi(x).total_variance(k) - target) / scale)

    starts = [np.array([math.log(middle), math.atanh(rho), 0.0]) for rho in (-0.6, 0.0)]
    found = [least_squares(residuals, start) for start in starts]
    return _ssvi(min(found, key=lambda x: float(np.sum(residuals(x) ** 2))))


def _ssvi(x: Floats) -> Svi:
    """From numbers without bounds: ln θ, artanh ρ, and φ's share of its bound."""
    theta, rho = math.exp(min(float(x[0]), 50.0)), MOST_TILT * math.tanh(float(x[1]))
    largest = min(4 / (theta * (1 + abs(rho))), 2 / math.sqrt(theta * (1 + abs(rho))))
    phi = largest * 0.9999 * _share(float(x[2]))
    root = math.sqrt(1 - rho * rho)
    return Svi(a=theta * root * root / 2, b=theta * phi / 2, rho=rho, m=-rho / phi, sigma=root / phi, kind=SviKind.SSVI)


def _fit_free(k: Floats, target: Floats, scale: Floats, start: Floats, *, margin: float, penalty: float) -> Floats:
    """All five parameters, from a slice, a density below zero costing what a bad fit does."""
    deviation = math.sqrt(max(float(np.interp(0.0, k, target)), 1e-12))
    grid = LOOKED_AT * deviation

    def residuals(x: Floats) -> Floats:
        svi = _free(x)
        density = np.minimum(svi.density(grid) - margin, 0.0)
        return np.concatenate([(svi.total_variance(k) - target) / scale, penalty * math.sqrt(len(k)) * density])

    return least_squares(residuals, start)


def _free(x: Floats) -> Svi:
    """From numbers without bounds: ln of the least variance, b's share of Lee's bound, artanh ρ, m, ln σ."""
    rho, sigma = MOST_TILT * math.tanh(float(x[2])), math.exp(min(max(float(x[4]), LEAST_SIGMA), 5.0))
    b = STEEPEST_WING / (1 + abs(rho)) * _share(float(x[1]))
    least = math.exp(min(max(float(x[0]), -40.0), 5.0))
    return Svi(
        a=least - b * sigma * math.sqrt(1 - rho * rho), b=b, rho=rho, m=float(x[3]), sigma=sigma, kind=SviKind.SVI
    )


def _unbounded(svi: Svi) -> Floats:
    """The numbers that ``_free`` makes nearly this SVI of."""
    rho = min(max(svi.rho / MOST_TILT, -0.99), 0.99)
    share = min(max(svi.b * (1 + abs(svi.rho)) / STEEPEST_WING, 1e-6), 0.999)
    least = max(svi.a + svi.b * svi.sigma * math.sqrt(1 - svi.rho**2), 1e-12)
    return np.array([math.log(least), math.log(share / (1 - share)), math.atanh(rho), svi.m, math.log(svi.sigma)])


def _share(x: float) -> float:
    return 1 / (1 + math.exp(-min(max(x, -40.0), 40.0)))
