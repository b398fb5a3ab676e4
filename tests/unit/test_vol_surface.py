"""Smiles and the surface: no butterfly arbitrage, what comes back of a known surface, and what lies outside."""

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest
import QuantLib as ql  # noqa: N813 - as everybody does
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.simulated_chains import chain_rows, surface_of

import v6
from v6.data.lake import Lake
from v6.data.vol_surfaces import VolSurfacesTable
from v6.derivations.chain import Chain
from v6.derivations.least_squares import least_squares
from v6.derivations.svi import Floats, Svi, SviKind, fit_svi
from v6.derivations.vol_surface import (
    FittedSurface,
    SurfaceSlice,
    VolSurface,
    fit_surface,
    rms_error,
    surface_calendar_violations,
    surface_frame,
)
from v6.simulator.pricing import RATE

BASIS_POINT = 1e-4
NOW = datetime(2026, 11, 24, 20, 50, tzinfo=UTC)
DAY = NOW.date()


@cache
def rows() -> pl.DataFrame:
    return chain_rows("SPY", NOW, dte=range(5, 130))


@cache
def fitted() -> FittedSurface:
    return fit_surface(Chain.of(rows(), day=DAY))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    store(Lake(tmp_path), surface_frame(fitted(), symbol="SPY", day=DAY), NOW)
    return Lake(tmp_path)


def store(lake: Lake, frame: pl.DataFrame, known_at: datetime) -> None:
    VolSurfacesTable(lake).append(frame.with_columns(request_id=pl.lit("r"), known_at=pl.lit(known_at)))


def test_least_squares_finds_the_parameters_of_a_curve() -> None:
    x = np.linspace(0, 4, 30)
    y = 3 * np.exp(-0.7 * x) + 0.5
    found = least_squares(lambda p: p[0] * np.exp(-p[1] * x) + p[2] - y, np.array([1.0, 1.0, 0.0]))
    assert found == pytest.approx([3, 0.7, 0.5], abs=1e-6)


def test_known_parameters_come_back_as_volatilities() -> None:
    known = Svi(a=0.004, b=0.04, rho=-0.6, m=0.01, sigma=0.12, kind=SviKind.SVI)
    assert known.least_density() > 0
    k = np.linspace(-0.25, 0.15, 60)
    iv = np.sqrt(known.total_variance(k) / 0.25)
    found = fit_svi(k, iv, np.full(60, 1e-3), 0.25)
    assert np.sqrt(found.total_variance(k) / 0.25) == pytest.approx(iv, abs=BASIS_POINT / 2)


def test_the_fit_is_as_near_as_that_of_quantlib() -> None:
    for one in fitted().expiries[::4]:
        smile, years = one.quotes.smile, one.quotes.years
        near = np.abs(smile.k) < 2 * smile.deviation
        k, iv = smile.k[near], smile.iv[near]
        expiry = ql.Date(1, 1, 2030)
        ql.Settings.instance().evaluationDate = expiry - int(years * 365)
        strikes = (100 * np.exp(k)).tolist()
        section = ql.SviInterpolatedSmileSection(
            expiry, 100.0, strikes, False, float(np.interp(0, k, iv)), iv.tolist(),
            0.04, 0.1, 0.1, -0.4, 0.0, False, False, False, False, False,
        )  # fmt: skip
        theirs = np.array([section.volatility(strike) for strike in strikes])
        ours = np.sqrt(fit_svi(k, iv, np.full(len(k), 1e-3), years).total_variance(k) / years)
        assert rms(ours - iv) < rms(theirs - iv) + 3 * BASIS_POINT


def rms(errors: Floats) -> float:
    return float(np.sqrt(np.mean(errors**2)))


@dataclass(frozen=True)
class Quotes:
    level: float
    slope: float
    curve: float
    noise: float
    years: float
    points: int
    seed: int


ANY_QUOTES = st.builds(
    Quotes,
    level=st.floats(0.05, 1.5),
    slope=st.floats(-3, 3),
    curve=st.floats(-4, 12),
    noise=st.floats(0, 0.1),
    years=st.floats(0.003, 2),
    points=st.integers(5, 60),
    seed=st.integers(0, 1000),
)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(ANY_QUOTES)
@example(Quotes(level=1.5, slope=0.125, curve=-2.0, noise=0.0, years=1.5, points=5, seed=5))
@example(Quotes(level=1.25, slope=-2.0, curve=0.0, noise=0.0, years=0.75, points=5, seed=418))
def test_no_fit_has_butterfly_arbitrage_whatever_the_quotes_are(quotes: Quotes) -> None:
    level, years, points = quotes.level, quotes.years, quotes.points
    random = np.random.default_rng(quotes.seed)
    k = np.sort(random.uniform(-4, 3, points)) * level * math.sqrt(years)
    noise = quotes.noise * random.standard_normal(points)
    iv = np.clip(level + quotes.slope * k + quotes.curve * k * k + noise, 0.01, 5)
    svi = fit_svi(k, iv, np.full(points, 0.002), years)
    steps = np.concatenate([np.linspace(-30, 30, 6007), np.linspace(-3, 3, 6007)])
    wide = np.concatenate([steps * level * math.sqrt(years), svi.m + steps * svi.sigma])
    assert svi.density(wide).min() > -1e-9
    assert svi.total_variance(wide).min() > 0
    assert svi.b * (1 + abs(svi.rho)) < 2


def test_the_density_is_that_of_the_prices() -> None:
    """Durrleman's g against the second difference of Black-Scholes prices: one is a multiple of the other."""
    svi = fitted().expiries[6].slice_
    assert svi is not None

    def call(strike: float) -> float:
        w = svi.total_variance(math.log(strike))
        d1 = (-math.log(strike) + w / 2) / math.sqrt(w)
        normal = ql.CumulativeNormalDistribution()
        return float(normal(d1) - strike * normal(d1 - math.sqrt(w)))

    for k in (-0.1, -0.03, 0.0, 0.04):
        strike, step = math.exp(k), 1e-4
        second = (call(strike + step) - 2 * call(strike) + call(strike - step)) / step**2
        w = svi.total_variance(k)
        d2 = (-k - w / 2) / math.sqrt(w)
        expected = math.exp(-d2 * d2 / 2) / math.sqrt(2 * math.pi * w) * svi.svi.density(np.array([k]))[0] / strike
        assert second == pytest.approx(expected, rel=1e-3)


def test_the_simulators_smiles_come_back_near_the_money_and_no_expiry_has_arbitrage() -> None:
    known = surface_of(rows())
    for one in fitted().expiries:
        assert one.slice_ is not None
        assert one.slice_.svi.least_density() >= 0
        for z in (-1.5, -1, -0.5, 0, 0.5, 1):
            years = one.quotes.years
            k = z * known.at_the_money(years) * math.sqrt(years)
            if one.slice_.k_min <= k <= one.slice_.k_max:
                true = known.iv(known.forward(years) * math.exp(k), years)
                assert math.sqrt(one.slice_.total_variance(k) / years) == pytest.approx(true, abs=15 * BASIS_POINT)


OTHER_CHAINS = [
    ("SPY", datetime(2026, 11, 23, 20, 30, tzinfo=UTC)),
    ("QQQ", datetime(2025, 11, 4, 18, 0, tzinfo=UTC)),
    ("IWM", datetime(2026, 2, 5, 20, 0, tzinfo=UTC)),
    ("AAPL", datetime(2026, 6, 11, 15, 0, tzinfo=UTC)),
]


@pytest.mark.parametrize(("symbol", "now"), OTHER_CHAINS, ids=["SPY", "QQQ calm", "IWM storm", "a stock"])
def test_every_fit_is_near_its_quotes(symbol: str, now: datetime) -> None:
    frame = chain_rows(symbol, now, dte=range(2, 70))
    surface = fit_surface(Chain.of(frame, day=now.date()))
    errors = [rms_error(one.quotes, one.slice_.svi) for one in surface.expiries if one.slice_ is not None]
    assert len(errors) >= 5
    assert max(errors) < 15 * BASIS_POINT
    assert float(np.median(errors)) < 10 * BASIS_POINT
    assert all(one.slice_.svi.least_density() >= 0 for one in surface.expiries if one.slice_ is not None)


def test_a_stored_surface_gives_volatilities_at_any_strike_and_date(lake: Lake) -> None:
    surface = VolSurface.read(lake, "SPY")
    assert surface is not None
    known = surface_of(rows())
    for expiry in (date(2026, 12, 14), date(2026, 12, 24), date(2027, 1, 11), date(2027, 2, 4)):
        years = ((expiry - DAY).days * 86_400 + 600) / (365 * 86_400)
        for strike in (0.95 * known.spot, known.spot, 1.02 * known.spot):
            point = surface.iv(strike, expiry)
            assert not point.is_extrapolated
            assert point.iv == pytest.approx(known.iv(strike, years), abs=20 * BASIS_POINT)
        assert surface.forward(expiry) == pytest.approx(known.forward(years), rel=2e-4)


def test_what_lies_outside_is_said_to_be_extrapolated(lake: Lake) -> None:
    surface = VolSurface.read(lake, "SPY")
    assert surface is not None
    spot = rows()["underlying_price"][0]
    assert surface.iv(spot, date(2026, 11, 26)).extrapolation == "nearer than the first expiry 2026-11-30"
    assert surface.iv(spot, date(2028, 1, 21)).extrapolation == "later than the last expiry 2027-03-19"
    assert surface.iv(0.3 * spot, date(2026, 12, 24)).extrapolation == "below the strikes that were quoted"
    assert surface.iv(2 * spot, date(2026, 12, 24)).extrapolation == "above the strikes that were quoted"
    grid = surface.grid([spot, 2 * spot], [date(2026, 12, 24)])
    assert grid["extrapolation"].to_list() == [None, "above the strikes that were quoted"]
    assert all(0.05 < iv < 2 for iv in grid["iv"])
    for strike in (0.0, -5.0, math.nan, math.inf, 1e-300):
        no_strike = surface.iv(strike, date(2026, 12, 24))
        assert (no_strike.iv, no_strike.quality) == (None, f"{strike} is no strike: it has to be above 0")
    assert surface.iv(spot, date(2026, 11, 20)).quality == "it lies before the surface's date 2026-11-24"
    assert surface.iv(spot, date(9999, 12, 31)).extrapolation.startswith("later than the last expiry")
    mixed = surface.grid([0.0, spot], [date(2026, 11, 20), date(2026, 12, 24)])
    assert mixed["iv"].is_null().to_list() == [True, True, True, False]
    assert surface.grid([], [date(2026, 12, 24)]).is_empty()


def test_the_surface_of_a_date_as_it_was_known(lake: Lake) -> None:
    later = NOW + timedelta(hours=1)
    frame = surface_frame(fitted(), symbol="SPY", day=DAY)
    table = VolSurfacesTable(lake)
    store(lake, frame, later)
    assert table.scan().collect().height == frame.height  # nothing changed, nothing is written again
    store(lake, frame.with_columns(pl.col("a") + 0.001), later)
    spot, expiry = rows()["underlying_price"][0], date(2026, 12, 24)
    now, before = (VolSurface.read(lake, "SPY", DAY, as_of=moment) for moment in (None, NOW))
    assert now is not None
    assert before is not None
    higher, lower = now.iv(spot, expiry).iv, before.iv(spot, expiry).iv
    assert higher is not None
    assert lower is not None
    assert higher > lower
    assert table.current(symbol="SPY").collect().height == frame.height
    assert VolSurface.read(lake, "SPY", date(2026, 11, 23)) is None
    assert VolSurface.read(lake, "QQQ") is None


def test_calendar_violations_are_counted() -> None:
    def slice_(expiry: date, years: float, level: float) -> SurfaceSlice:
        svi = Svi(a=level * level * years - 0.0001, b=0.001, rho=0.0, m=0.0, sigma=0.1, kind=SviKind.SVI)
        return SurfaceSlice(
            expiry=expiry, at=NOW, years=years, spot=100, forward=100, svi=svi, k_min=-0.1, k_max=0.1
        )  # fmt: skip

    near, far = slice_(date(2026, 12, 24), 0.08, 0.3), slice_(date(2027, 1, 22), 0.16, 0.2)
    assert far.calendar_violations(near) == 41  # 0.16 * 0.04 is less than 0.08 * 0.09
    assert near.calendar_violations(far) == 0
    value = next(surface_calendar_violations(fitted()))
    assert value.value == 0
    assert value.observations == 41 * (len(fitted().expiries) - 1)


def test_an_expiry_that_cannot_be_fitted_has_a_row_with_the_reason() -> None:
    bare = rows().filter(pl.col("expiry") <= date(2026, 12, 4)).with_columns(bid=pl.lit(0.0))
    frame = surface_frame(fit_surface(Chain.of(bare, day=DAY)), symbol="SPY", day=DAY)
    assert frame.height > 1
    assert frame["kind"].null_count() == frame["a"].null_count() == frame.height
    assert frame["quality"].unique().to_list() == ["no strike has a call and a put that can be used"]


def test_a_smile_that_is_no_svi_says_how_far_the_fit_misses(tmp_path: Path) -> None:
    """Two humps, as before an event: prices are a mixture of two outcomes."""
    humps = rows().filter(pl.col("expiry") == date(2026, 12, 24)).pipe(two_outcomes)
    whole = pl.concat([rows().filter(pl.col("expiry") != date(2026, 12, 24)), humps])
    frame = surface_frame(fit_surface(Chain.of(whole, day=DAY)), symbol="SPY", day=DAY)
    doubtful = frame.filter(pl.col("rms_error") > 50 * BASIS_POINT)
    assert doubtful["expiry"].to_list() == [date(2026, 12, 24)]
    assert "the fit misses its quotes by" in doubtful["quality"][0]
    assert doubtful["least_density"][0] >= 0
    store(Lake(tmp_path), frame, NOW)
    spot, between = rows()["underlying_price"][0], date(2026, 12, 28)
    grid = v6.iv_surface("SPY", strikes=[spot], expiries=[date(2026, 12, 24), between, date(2027, 2, 4)], lake=tmp_path)
    doubts = grid.collect()["quality"].to_list()
    assert all("the fit of 2026-12-24 misses its quotes by" in doubt for doubt in doubts[:2])
    assert doubts[2] == "ok"


def two_outcomes(options: pl.DataFrame) -> pl.DataFrame:
    """The same options at prices of an underlying that jumps 8 % up or down at the expiry, and moves little before."""
    known = surface_of(rows())
    years = ((date(2026, 12, 24) - DAY).days * 86_400 + 600) / (365 * 86_400)
    forward, deviation = known.forward(years), 0.012
    strikes = options["strike"].to_numpy()
    calls = sum(0.5 * undiscounted_call(forward * up, strikes, deviation) for up in (0.92, 1.08))
    price = np.where(options["right"] == "C", calls, calls - forward + strikes) * math.exp(-RATE * years)
    bid, ask = np.floor(price * 100) / 100, np.ceil(price * 100) / 100
    return options.with_columns(bid=pl.Series(bid), ask=pl.Series(ask))


def undiscounted_call(forward: float, strikes: Floats, deviation: float) -> Floats:
    normal = np.vectorize(NormalDist().cdf)
    d1 = np.log(forward / strikes) / deviation + deviation / 2
    return np.asarray(forward * normal(d1) - strikes * normal(d1 - deviation))


def test_an_expiry_quoted_only_far_from_the_money_has_an_error_all_the_same() -> None:
    far = rows().filter((pl.col("strike") / pl.col("underlying_price") - 1).abs() > 0.12)
    surface = fit_surface(Chain.of(far, day=DAY))
    assert all(np.isfinite(one.slice_.rms_error) for one in surface.expiries if one.slice_ is not None)


def test_the_readers_give_a_grid_of_any_strikes_and_dates_and_what_is_stored(lake: Lake) -> None:
    spot = rows()["underlying_price"][0]
    grid = v6.iv_surface("SPY", strikes=[spot], expiries=[date(2026, 12, 21)], lake=lake).collect()
    surface = VolSurface.read(lake, "SPY")
    assert surface is not None
    assert grid["iv"].item() == surface.iv(spot, date(2026, 12, 21)).iv
    usual = v6.iv_surface("SPY", lake=lake).collect()
    assert usual["expiry"].unique().sort().to_list() == [one.expiry for one in surface.slices]
    assert usual.height == 41 * len(surface.slices)
    assert v6.vol_surfaces("SPY", lake=lake).collect().height == len(surface.slices)
    assert v6.iv_surface("QQQ", lake=lake).collect().schema == grid.schema
