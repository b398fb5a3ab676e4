"""The volatility surface of a symbol and date: fitted from a chain, stored, and read again at any strike and date."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise
from typing import Any, Self

import numpy as np
import polars as pl

from v6.data.lake import Lake
from v6.data.vol_surfaces import VOL_SURFACES, VolSurfacesTable
from v6.derivations.chain import Chain, ExpiryQuotes
from v6.derivations.expiry_time import years_to
from v6.derivations.sound import is_price
from v6.derivations.statistic import OK, Statistic, Value, joined
from v6.derivations.svi import Svi, SviKind, fit_svi

CALENDAR_STRIKES = 41
NEAR_MONEY = 2.0  # standard deviations within which the error of a fit is told
LARGEST_ERROR = 0.005  # of a fit, in volatility: beyond, quality says that it is not what was quoted
TOLERANCE = 1e-10  # of total variance, that rounding leaves
GRID = {"strike": pl.Float64, "expiry": pl.Date, "iv": pl.Float64, "extrapolation": pl.String, "quality": pl.String}
STAMPED_BY_WORKER = ("request_id", "known_at")


@dataclass(frozen=True, kw_only=True, slots=True)
class SurfaceSlice:
    """The smile of one expiry; ``years`` from ``at`` to the expiry, spot and forward in currency, ``k`` = ln(K / F)."""

    expiry: date
    at: datetime
    years: float
    spot: float
    forward: float
    svi: Svi
    k_min: float
    k_max: float
    rms_error: float = 0.0

    @property
    def doubt(self) -> str:
        """That the fit is far from its quotes, and how far; empty where it is near them."""
        return _miss_text(self.rms_error, f"the fit of {self.expiry}")

    def total_variance(self, k: float) -> float:
        """Volatility² times years at a log-moneyness."""
        return float(self.svi.total_variance(np.array([k]))[0])

    def calendar_violations(self, nearer: SurfaceSlice) -> int:
        """At how many of 41 log-moneynesses that both were fitted at the total variance is below the nearer one's."""
        k = np.linspace(max(self.k_min, nearer.k_min), min(self.k_max, nearer.k_max), CALENDAR_STRIKES)
        if k[0] > k[-1]:
            return 0
        return int(np.sum(self.svi.total_variance(k) < nearer.svi.total_variance(k) - TOLERANCE))


@dataclass(frozen=True, kw_only=True, slots=True)
class SurfacePoint:
    """A volatility a year as a fraction; ``extrapolation`` says beyond what it lies, empty within the quotes.

    ``quality`` is ok, or says by how much a fit that it rests on misses its quotes; or why there is no volatility.
    """

    iv: float | None
    extrapolation: str
    quality: str = OK

    @property
    def is_extrapolated(self) -> bool:
        """Whether no quotes surround it."""
        return bool(self.extrapolation)


@dataclass(frozen=True, kw_only=True)
class VolSurface:
    """The fitted expiries of one symbol and date, nearest first, at least one."""

    symbol: str
    day: date
    slices: tuple[SurfaceSlice, ...]

    @classmethod
    def read(cls, lake: Lake, symbol: str, day: date | None = None, *, as_of: datetime | None = None) -> Self | None:
        """The surface of a date, or the newest; None where none is stored or no expiry of it was fitted.

        Raises:
            LakeError: the table cannot be read.
        """
        table = VolSurfacesTable(lake)
        chosen = day or table.newest_date(symbol, as_of=as_of)
        if chosen is None:
            return None
        rows = table.current(symbol=symbol, start=chosen, as_of=as_of).filter(pl.col("date") == chosen).collect()
        slices = tuple(_slice_of_row(row) for row in rows.iter_rows(named=True) if row["kind"] is not None)
        return cls(symbol=symbol, day=chosen, slices=slices) if slices else None

    def forward(self, expiry: date) -> float:
        """The forward price for a date: the underlying's yearly carry is interpolated linearly, and flat outside."""
        return self.slices[0].spot * math.exp(self._growth(self._years(expiry)))

    def _growth(self, years: float) -> float:
        """The logarithm of forward / spot."""
        carries = [math.log(s.forward / s.spot) / s.years for s in self.slices]
        return float(np.interp(years, [s.years for s in self.slices], carries)) * years

    def iv(self, strike: float, expiry: date) -> SurfacePoint:
        """The volatility at a strike (in currency) and a date; None where the strike is not above 0 or the date before
        the surface's own.

        Between expiries total variance is linear in time at constant ln(K / F). Nearer than the first or later than the
        last expiry the volatility is that of this expiry; beyond the strikes that were fitted the SVI goes on. Both are
        extrapolation, and the answer says so.
        """
        if not is_price(strike):
            return SurfacePoint(iv=None, extrapolation="", quality=f"{strike} is no strike: it has to be above 0")
        if expiry < self.day:
            return SurfacePoint(iv=None, extrapolation="", quality=f"it lies before the surface's date {self.day}")
        years = self._years(expiry)
        near, far = self._around(years)
        k = math.log(strike / self.slices[0].spot) - self._growth(years)
        variance = _between(near, far, k, years)
        return SurfacePoint(
            iv=math.sqrt(variance / years),
            extrapolation=self._extrapolation(near, far, k, years),
            quality=joined(near.doubt, "" if far is near else far.doubt),
        )

    def grid(self, strikes: Sequence[float], expiries: Sequence[date]) -> pl.DataFrame:
        """strike, expiry, iv, extrapolation (null within the quotes) and quality (ok, a doubt, or why iv is null), one
        row a pair."""
        points = [(strike, expiry, self.iv(strike, expiry)) for expiry in expiries for strike in strikes]
        rows = [(strike, day, point.iv, point.extrapolation or None, point.quality) for strike, day, point in points]
        return pl.DataFrame(rows, schema=GRID, orient="row")

    def _years(self, expiry: date) -> float:
        own = next((s.years for s in self.slices if s.expiry == expiry), None)
        return years_to(expiry, self.slices[0].at) if own is None else own

    def _around(self, years: float) -> tuple[SurfaceSlice, SurfaceSlice]:
        """The fitted expiries on both sides; twice the same at one of them and outside."""
        place = bisect_left([s.years for s in self.slices], years)
        far = self.slices[min(place, len(self.slices) - 1)]
        is_between = 0 < place < len(self.slices) and far.years != years
        return (self.slices[place - 1] if is_between else far), far

    def _extrapolation(self, near: SurfaceSlice, far: SurfaceSlice, k: float, years: float) -> str:
        first, last = self.slices[0], self.slices[-1]
        return joined(
            f"nearer than the first expiry {first.expiry}" if years < first.years else "",
            f"later than the last expiry {last.expiry}" if years > last.years else "",
            "below the strikes that were quoted" if k < max(near.k_min, far.k_min) else "",
            "above the strikes that were quoted" if k > min(near.k_max, far.k_max) else "",
        ).removeprefix(OK)


def _between(near: SurfaceSlice, far: SurfaceSlice, k: float, years: float) -> float:
    if near is far:
        return far.total_variance(k) * years / far.years
    share = (years - near.years) / (far.years - near.years)
    return (1 - share) * near.total_variance(k) + share * far.total_variance(k)


def _slice_of_row(row: dict[str, Any]) -> SurfaceSlice:
    svi = Svi(**{name: row[name] for name in ("a", "b", "rho", "m", "sigma")}, kind=SviKind(row["kind"]))
    return SurfaceSlice(
        expiry=row["expiry"],
        at=row["timestamp"],
        years=row["years"],
        spot=row["spot"],
        forward=row["forward"],
        svi=svi,
        k_min=row["k_min"],
        k_max=row["k_max"],
        rms_error=row["rms_error"],
    )


# Fitting


@dataclass(frozen=True, kw_only=True)
class FittedExpiry:
    """One expiry and its slice; None where it has no smile."""

    quotes: ExpiryQuotes
    slice_: SurfaceSlice | None
    violations: int | None = None  # against the fitted expiry before it; None where there is none


@dataclass(frozen=True, kw_only=True)
class FittedSurface:
    """All expiries of a chain, fitted one by one."""

    expiries: tuple[FittedExpiry, ...]


def fit_surface(chain: Chain) -> FittedSurface:
    """An SVI without butterfly arbitrage for each expiry with a smile; calendar arbitrage is counted, not mended."""
    slices = [None if quotes.obstacle else _fit_slice(quotes) for quotes in chain.expiries]
    fitted = [s for s in slices if s is not None]
    violations = {far.expiry: far.calendar_violations(near) for near, far in pairwise(fitted)}
    return FittedSurface(
        expiries=tuple(
            FittedExpiry(quotes=quotes, slice_=s, violations=None if s is None else violations.get(s.expiry))
            for quotes, s in zip(chain.expiries, slices, strict=True)
        )
    )


def _fit_slice(quotes: ExpiryQuotes) -> SurfaceSlice:
    smile = quotes.smile
    svi = fit_svi(smile.k, smile.iv, smile.error, quotes.years)
    return SurfaceSlice(
        expiry=quotes.expiry,
        at=quotes.at,
        years=quotes.years,
        spot=quotes.spot,
        forward=quotes.forward.ratio * quotes.spot,
        svi=svi,
        k_min=float(smile.k[0]),
        k_max=float(smile.k[-1]),
        rms_error=rms_error(quotes, svi),
    )


def surface_frame(surface: FittedSurface, *, symbol: str, day: date) -> pl.DataFrame:
    """The surface as rows of ``vol_surfaces`` without what the worker stamps."""
    rows = [{"symbol": symbol, "date": day, **_row(fitted)} for fitted in surface.expiries]
    schema = {name: dtype for name, dtype in VOL_SURFACES.schema.items() if name not in STAMPED_BY_WORKER}
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema, orient="row")


def _row(fitted: FittedExpiry) -> dict[str, Any]:
    quotes, slice_ = fitted.quotes, fitted.slice_
    same = {"timestamp": quotes.at, "expiry": quotes.expiry, "years": quotes.years}
    if slice_ is None:
        return {**same, "n_quotes": quotes.quotes, "quality": quotes.obstacle}
    svi = slice_.svi
    return {
        **same,
        **{name: getattr(svi, name) for name in ("a", "b", "rho", "m", "sigma")},
        "spot": slice_.spot,
        "forward": slice_.forward,
        "discount": quotes.forward.discount,
        "kind": str(svi.kind),
        "k_min": slice_.k_min,
        "k_max": slice_.k_max,
        "n_quotes": len(quotes.smile.k),
        "rms_error": slice_.rms_error,
        "least_density": svi.least_density(),
        "calendar_violations": fitted.violations,
        "quality": joined(quotes.doubts, _miss_text(slice_.rms_error), _violations_text(fitted.violations)),
    }


def rms_error(quotes: ExpiryQuotes, svi: Svi) -> float:
    """Root mean square error of an expiry's fit within two standard deviations of the money, in volatility.

    Where none is as near, of the nearest.
    """
    smile = quotes.smile
    near = np.abs(smile.k) <= max(NEAR_MONEY * smile.deviation, float(np.min(np.abs(smile.k))))
    fitted = np.sqrt(svi.total_variance(smile.k) / quotes.years)
    return float(np.sqrt(np.mean((fitted - smile.iv)[near] ** 2)))


def _miss_text(error: float, what: str = "the fit") -> str:
    return f"{what} misses its quotes by {error * 1e4:.0f} basis points" if error > LARGEST_ERROR else ""


def _violations_text(violations: int | None) -> str:
    return f"calendar arbitrage at {violations} of {CALENDAR_STRIKES} strikes" if violations else ""


def surface_calendar_violations(surface: FittedSurface) -> Iterator[Value]:
    """At how many strikes the surface allows calendar arbitrage; each expiry is compared with the fitted one before it.

    Formula: the count, over neighbouring expiries and 41 evenly spaced ln(K / F) that both were fitted at, of
    w_far(k) < w_near(k), w the fitted total variance.
    Source: Gatheral and Jacquier, Arbitrage-free SVI volatility surfaces, Quantitative Finance 14 (2014), lemma 2.1.
    Ties: equal variances are no violation.
    Null: fewer than two expiries were fitted.
    """
    counts = [fitted.violations for fitted in surface.expiries if fitted.violations is not None]
    quality = OK if counts else "fewer than two expiries were fitted"
    yield Value(
        value=float(sum(counts)) if counts else None, observations=CALENDAR_STRIKES * len(counts), quality=quality
    )


def surface_error_by_expiry(surface: FittedSurface) -> Iterator[Value]:
    """How far the fitted smile lies from the quotes of each expiry.

    Formula: root mean square of σ_fit - σ_quote over the quotes within two standard deviations of the money.
    Source: the definition; the fit is an SVI within bounds that exclude butterfly arbitrage (table vol_surfaces).
    Ties: none arise.
    Null: the expiry has no smile (as for iv_at_the_money_by_expiry).
    """
    for fitted in surface.expiries:
        quotes, slice_ = fitted.quotes, fitted.slice_
        yield Value(
            value=None if slice_ is None else slice_.rms_error,
            observations=0 if slice_ is None else len(quotes.smile.k),
            quality=quotes.obstacle if slice_ is None else joined(quotes.doubts, _miss_text(slice_.rms_error)),
            tenor_days=quotes.days,
        )


STATISTICS = (
    Statistic(name="surface_calendar_violations", unit="strikes", compute=surface_calendar_violations),
    Statistic(name="surface_error_by_expiry", unit="1/year", compute=surface_error_by_expiry),
)
