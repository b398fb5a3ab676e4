"""Statistics from chains: of a known surface that the simulator priced, clean and spoiled, and by hand."""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl
import pytest
from bench.bench_surface import SAYS, compared, surfaces
from bench.known_surface import KnownSurface, Steps, spoiled
from tests.simulated_chains import chain_rows, discretised_index, index_at, surface_of

from v6.derivations import constant_maturity as cm
from v6.derivations import positioning, put_call_parity
from v6.derivations import risk_reversals as rr
from v6.derivations.catalogue import FROM_OPTIONS
from v6.derivations.chain import Chain
from v6.derivations.estimate import Estimate
from v6.derivations.gamma_exposure import gamma_exposure, gamma_exposure_by_strike, gamma_exposure_zero, zero_nearest
from v6.derivations.quote_steps import LEAST_PRICES, QuoteSteps, coarsest
from v6.derivations.statistic import OK, Value
from v6.derivations.variance_index import (
    index_of,
    published_index_of,
    reach_doubt,
    variance_index,
    variance_index_published,
)

BASIS_POINT = 1e-4
NOW = datetime(2026, 11, 24, 20, 50, tzinfo=UTC)
CALM = datetime(2025, 11, 4, 18, 0, tzinfo=UTC)  # the session of the VIX's lowest close but one
DAY = NOW.date()
MARKETS = [("SPY", NOW), ("QQQ", CALM), ("IWM", NOW)]
WITHIN = range(1, 130)


@cache
def rows(symbol: str, now: datetime) -> pl.DataFrame:
    return chain_rows(symbol, now, dte=WITHIN)


def chain(frame: pl.DataFrame) -> Chain:
    return Chain.of(frame, day=frame["date"][0])


def level(found: Estimate | None) -> float:
    assert found is not None
    return found.value


def by_tenor(values: Iterable[Value]) -> dict[int | None, Value]:
    return {value.tenor_days: value for value in values}


def compare(found: Iterable[Value], expected: Callable[[float], float], tolerance: float, tenors: set[int]) -> None:
    values = by_tenor(found)
    for tenor in tenors:
        value = values[tenor].value
        assert value is not None, (tenor, values[tenor].quality)
        assert abs(value - expected(tenor / 365)) < tolerance * BASIS_POINT, tenor


def compare_all(made: Chain, frame: pl.DataFrame, known: KnownSurface, tolerance: float) -> None:
    compare(cm.iv_constant_maturity(made), known.at_the_money, tolerance, {7, 30, 60, 90})

    def tilt(delta: float) -> Callable[[float], float]:
        return lambda years: known.at_delta(delta, years) - known.at_delta(-delta, years)

    compare(rr.risk_reversal_25_delta(made), tilt(0.25), tolerance, {30, 60, 90})
    compare(rr.risk_reversal_10_delta(made), tilt(0.10), tolerance, {30, 60})

    def curve(years: float) -> float:
        return (known.at_delta(0.25, years) + known.at_delta(-0.25, years)) / 2 - known.at_the_money(years)

    compare(rr.butterfly_25_delta(made), curve, tolerance, {30, 60, 90})
    index = by_tenor(variance_index(made))
    for days in (30, 60, 90):
        value = index[days].value
        assert value is not None
        assert abs(value - index_at(frame, known, days, "model_price")) < tolerance * BASIS_POINT, days


@pytest.mark.parametrize(("symbol", "now"), MARKETS, ids=["SPY", "QQQ calm", "IWM"])
def test_a_known_surface_comes_back_within_ten_basis_points(symbol: str, now: datetime) -> None:
    frame = rows(symbol, now)
    made, known = chain(frame), surface_of(frame)
    compare_all(made, frame, known, 10)
    for quotes in made.with_smile:
        if quotes.days >= 2:
            assert level(cm.money(quotes)) == pytest.approx(known.at_the_money(quotes.years), abs=10 * BASIS_POINT)
    assert {value.quality for value in cm.iv_constant_maturity(made)} == {OK}


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("symbol", "now"), MARKETS[::2], ids=["SPY", "IWM"])
def test_with_a_tenth_missing_or_crossed_it_comes_back_within_fifty_and_quality_says_so(
    symbol: str, now: datetime, seed: int
) -> None:
    frame = rows(symbol, now)
    made, known = chain(spoiled(frame, 0.1, seed)), surface_of(frame)
    compare_all(made, frame, known, 50)
    for statistic in (cm.iv_constant_maturity, rr.risk_reversal_25_delta, variance_index):
        for value in statistic(made):
            assert "missing" in value.quality, statistic
            assert "crossed" in value.quality, statistic


STOCKS = 0.01  # their dividend yield, docs/simulated-market.md


@pytest.mark.parametrize("symbol", ["KO", "BAC", "XOM", "WMT"])
def test_what_the_cents_of_a_cheap_stock_leave_open_quality_says(symbol: str) -> None:
    frame = chain_rows(symbol, NOW, dte=range(2, 100)).filter(trading_class=symbol)
    made, known = chain(frame), surface_of(frame, dividend=STOCKS)
    values = zip(cm.iv_at_the_money_by_expiry(made), rr.risk_reversal_25_delta_by_expiry(made), strict=True)
    for quotes, (money, tilt) in zip(made.expiries, values, strict=True):
        years = quotes.years
        assert money.value is not None
        assert abs(money.value - known.at_the_money(years)) < 10 * BASIS_POINT
        if tilt.value is not None:
            expected = known.at_delta(0.25, years) - known.at_delta(-0.25, years)
            assert abs(tilt.value - expected) < 10 * BASIS_POINT or "the quotes leave" in tilt.quality
        assert ("the quotes leave" in money.quality) == (quotes.days == 3 or (symbol == "KO" and quotes.days == 10))
        assert "the quotes leave" not in tilt.quality or quotes.days <= (30 if symbol == "KO" else 10)


def steps_of(steps: Steps) -> tuple[float, ...]:
    surface = KnownSurface(
        spot=600.0, level=0.2, long_run=0.2, tilt=0.6, curve=0.3, dividend=0.0, listing="fund", now=NOW, days=(10, 35)
    )
    return chain(surface.rows(steps)).expiries[0].calls.steps.by_band


@pytest.mark.parametrize(("cheap", "dear"), [(1, 1), (1, 5), (5, 10), (5, 5), (10, 25)])
def test_the_steps_of_quotes_are_told_by_the_quotes(cheap: int, dear: int) -> None:
    assert steps_of(Steps(cheap=cheap, dear=dear)) == (cheap / 100, dear / 100, dear / 100, dear / 100)


def test_a_step_needs_prices_that_agree_and_a_price_band_without_any_has_that_of_the_cheaper_ones() -> None:
    nickels = np.append(np.tile([0.05, 0.15, 0.2, 0.35, 1.05], 6), [3.1, 3.2])
    assert QuoteSteps.of(nickels).by_band == (0.05, 0.05, 0.05, 0.05)
    assert QuoteSteps.of(np.append(nickels, [0.01, 0.02])).by_band == (0.01, 0.01, 0.01, 0.01)
    many = np.append(np.tile(nickels, 20), 0.01)
    assert QuoteSteps.of(many).by_band == (0.05, 0.1, 0.1, 0.1)  # one wrong price of many counts for nothing
    assert QuoteSteps.of(np.array([])).by_band == (0.01, 0.01, 0.01, 0.01)
    assert QuoteSteps.of(np.tile([0.004, 0.007, 0.001, 0.002, 0.003], 6)).by_band[0] == 0.01
    assert QuoteSteps(by_band=(0.05, 0.1, 0.2, 0.25)).at(np.array([2.99, 3.0, 9.99, 10.0])).tolist() == [
        0.05, 0.1, 0.2, 0.25,
    ]  # fmt: skip


def test_prices_that_were_stored_in_32_bits_tell_the_same_step() -> None:
    nickels = np.round(np.arange(20.0, 900.0, 0.05), 2)
    assert QuoteSteps.of(nickels).by_band[3] == 0.05
    assert QuoteSteps.of(nickels.astype(np.float32).astype(np.float64)).by_band[3] == 0.05


def test_cents_lie_on_a_coarser_step_by_chance_in_less_than_one_of_ten_thousand_draws() -> None:
    draws = np.random.default_rng(5).integers(1, 300, size=(10_000, LEAST_PRICES)) / 100
    assert {coarsest(draw[:6]) for draw in draws[:100]} == {None}
    assert sum(coarsest(draw) != 0.01 for draw in draws) == 0


@pytest.mark.parametrize(("cheap", "dear"), [(1, 5), (5, 10), (10, 10)])
def test_what_nickels_and_dimes_leave_open_quality_says(cheap: int, dear: int) -> None:
    """Of surfaces at several spots: whatever is off by more than ten basis points says how much is left open."""
    off = 0
    for surface in surfaces((20.0, 60.0, 250.0, 6000.0), 1, seed=9):
        for name, value, known in compared(surface, surface.rows(Steps(cheap=cheap, dear=dear))):
            if value.value is None or known is None or abs(value.value - known) < 10 * BASIS_POINT:
                continue
            off += 1
            assert re.search(SAYS, value.quality), (surface.spot, name, value, known)
    assert off > 5


def test_a_forward_that_is_off_counts_in_a_skew_and_hardly_at_the_money() -> None:
    frame = rows("SPY", NOW)
    for quotes in chain(frame).with_smile:
        if quotes.days < 10:
            continue
        moved = replace(quotes.smile, forward_error=1e-3)
        call, middle, put = (level_moved(moved.at_delta(delta)) for delta in (0.25, 0.0, -0.25))
        each = 0.25 / (NormalDist().pdf(NormalDist().inv_cdf(0.25)) * math.sqrt(quotes.years))
        assert put - call == pytest.approx(2e-3 * each, rel=0.35)  # the smile's slope moves both a little the same way
        assert abs(middle) < abs(call)


def level_moved(found: Estimate | None) -> float:
    assert found is not None
    return found.by_forward


@pytest.mark.parametrize("level", [0.12, 0.4])
def test_between_far_expiries_of_a_bent_term_structure_a_tenor_comes_back(level: float) -> None:
    surface = KnownSurface(
        spot=400.0, level=level, long_run=0.19, tilt=0.9, curve=0.5, dividend=0.015, listing="fund", now=NOW,
        days=(3, 10, 17, 24, 52, 87, 115),
    )  # fmt: skip
    made = chain(surface.rows())
    compare(cm.iv_constant_maturity(made), surface.at_the_money, 10, {7, 30, 60, 90})
    compare(rr.risk_reversal_25_delta(made), lambda years: surface.tilt_at(0.25, years), 10, {7, 30, 60, 90})
    found = by_tenor(cm.iv_constant_maturity(made))

    # A straight line lies further off where the curve is bent.
    assert found[30].quality == ("between expiries 24 and 52 days away" if level > 0.3 else OK)
    assert found[90].quality == OK


def test_a_delta_is_found_on_a_smile_that_falls_steeply() -> None:
    surface = KnownSurface(
        spot=89.21, level=0.996, long_run=0.3, tilt=0.98, curve=0.23, dividend=0.0, listing="fund", now=NOW,
        days=(28, 35),
    )  # fmt: skip
    for quotes in chain(surface.rows()).expiries:
        for delta in (0.1, 0.25, -0.25):
            expected = surface.at_delta(delta, quotes.years)
            assert level(quotes.smile.at_delta(delta)) == pytest.approx(expected, abs=20 * BASIS_POINT)


@pytest.mark.parametrize("lacking", [(-1,), (-1, 0), (0, 1), (-13, -12), (10, 11)])
def test_the_index_stands_where_strikes_at_the_money_or_at_the_ends_have_no_quotes(lacking: tuple[int, ...]) -> None:
    surface = KnownSurface(
        spot=250.0, level=0.5, long_run=0.4, tilt=0.8, curve=0.3, dividend=0.0, listing="stock", now=NOW, days=(14, 35)
    )
    frame, strikes = surface.rows(), np.array(surface.strikes())
    at_forward = int(np.searchsorted(strikes, surface.forward(surface.years(35))))
    without = [float(strikes[at_forward + place]) for place in lacking]
    nothing = pl.when(pl.col("strike").is_in(without)).then(None)
    spoilt = frame.with_columns(bid=nothing.otherwise(pl.col("bid")), ask=nothing.otherwise(pl.col("ask")))
    for quotes in chain(spoilt).expiries:
        assert level(index_of(quotes)) == pytest.approx(surface.index(quotes.days), abs=50 * BASIS_POINT)


def test_what_the_least_quotes_add_to_the_published_index_quality_says() -> None:
    surface = KnownSurface(
        spot=20.0, level=0.2, long_run=0.2, tilt=0.3, curve=0.2, dividend=0.0, listing="fund", now=NOW, days=(28, 35)
    )
    made = chain(surface.rows())
    published, own = (by_tenor(statistic(made))[30] for statistic in (variance_index_published, variance_index))
    assert published.value is not None
    assert own.value is not None
    added = (published.value - own.value) / BASIS_POINT
    assert added > 50
    assert f"mids of the least quotes add {added:.0f} basis points" in published.quality


def test_the_index_is_the_published_formula_on_the_quotes() -> None:
    frame = rows("SPY", NOW).with_columns(mid=(pl.col("bid") + pl.col("ask")) / 2)
    known = surface_of(frame)
    for quotes in chain(frame).expiries:
        if quotes.days >= 17:
            expected = discretised_index(frame, known, quotes.expiry, "mid")
            # rate and forward are implied
            assert level(published_index_of(quotes)) == pytest.approx(expected, abs=1 * BASIS_POINT)


def test_two_zero_bids_in_a_row_end_a_wing_of_the_index() -> None:
    frame = rows("SPY", NOW).filter(pl.col("expiry") == date(2026, 12, 24))
    below = frame.filter(right="P").filter(pl.col("strike") < 240)["strike"].sort(descending=True)[:2].to_list()
    zero = pl.col("strike").is_in(below) & (pl.col("right") == "P")
    cut = frame.with_columns(bid=pl.when(zero).then(0.0).otherwise(pl.col("bid")))
    gone = frame.filter(pl.col("strike") > below[0])
    whole, shorter, without = (level(index_of(chain(rows).expiries[0])) for rows in (frame, cut, gone))
    assert shorter == pytest.approx(without, abs=0.2 * BASIS_POINT)
    assert shorter != pytest.approx(whole, abs=BASIS_POINT)


@pytest.mark.parametrize(("right", "away"), [("P", 0.95), ("C", 1.05)])
def test_one_wide_quote_far_above_its_neighbours_moves_no_index_and_quality_counts_it(right: str, away: float) -> None:
    frame = rows("SPY", NOW).filter(pl.col("expiry") == rows("SPY", NOW)["expiry"].min())
    [quotes] = chain(frame).expiries
    strike = float(quotes.strikes[np.argmin(np.abs(quotes.strikes - away * quotes.spot))])
    stray = (pl.col("strike") == strike) & (pl.col("right") == right)
    wide = frame.with_columns(
        bid=pl.when(stray).then(0.004).otherwise(pl.col("bid")), ask=pl.when(stray).then(30.0).otherwise(pl.col("ask"))
    )
    [spoilt] = chain(wide).expiries
    assert level(index_of(spoilt)) == pytest.approx(level(index_of(quotes)), abs=5 * BASIS_POINT)
    assert level(published_index_of(spoilt)) > level(index_of(quotes)) + 20 * BASIS_POINT
    assert f"1 of {spoilt.quotes} quotes of {spoilt.days} days far above" in reach_doubt(spoilt)
    assert "far above" not in reach_doubt(quotes)


def test_parity_gives_back_the_forward_and_the_rate() -> None:
    frame = rows("SPY", NOW)
    known = surface_of(frame)
    rates = by_tenor(put_call_parity.implied_rate_by_expiry(chain(frame)))
    forwards = by_tenor(put_call_parity.implied_forward_by_expiry(chain(frame)))
    assert rates[3].value is None
    assert "within a week" in rates[3].quality
    for quotes in chain(frame).expiries:
        forward = forwards[quotes.days].value
        assert forward == pytest.approx(known.forward(quotes.years), rel=1e-4)
        if quotes.days >= 30:
            assert rates[quotes.days].value == pytest.approx(0.04, abs=0.003)


def test_what_cannot_be_computed_is_null_and_says_why() -> None:
    frame = rows("SPY", NOW).filter(pl.col("expiry") <= date(2026, 12, 4))
    values = by_tenor(cm.iv_constant_maturity(chain(frame)))
    assert values[30].value is None
    assert values[30].quality == "it lies on one side of 30 days only: the nearest expiry that has it is 10 days away"
    bare = frame.with_columns(bid=pl.lit(None, pl.Float64))
    assert all(v.value is None for v in cm.iv_at_the_money_by_expiry(chain(bare)))
    no_spot = frame.with_columns(underlying_price=pl.lit(None, pl.Float64))
    reasons = {v.quality for v in cm.iv_at_the_money_by_expiry(chain(no_spot))}
    assert reasons == {"the underlying's price is missing"}


@pytest.mark.parametrize("spoil", ["no calls", "one option", "no quotes", "no interest", "zero prices", "one strike"])
def test_a_crippled_chain_gives_values_or_reasons_and_never_an_error(spoil: str) -> None:
    frame = rows("IWM", NOW).filter(pl.col("expiry") <= date(2026, 12, 11))
    nothing = dict.fromkeys(("bid", "ask", "volume", "open_interest", "underlying_price"), pl.lit(None, pl.Float64))
    crippled = {
        "no calls": frame.filter(right="P"),
        "one option": frame.head(1),
        "no quotes": frame.with_columns(**nothing),
        "no interest": frame.with_columns(open_interest=pl.lit(0.0), volume=pl.lit(0.0)),
        "zero prices": frame.with_columns(bid=pl.lit(0.0), ask=pl.lit(0.0)),
        "one strike": frame.filter(pl.col("strike") == 142.0),
    }[spoil]
    values = [value for statistic in FROM_OPTIONS for value in statistic.compute(chain(crippled))]
    assert len(values) > 10
    assert all(value.value is not None or value.quality != OK for value in values)


def test_of_two_classes_of_an_expiry_the_one_with_more_quotes_counts() -> None:
    frame = rows("SPY", NOW).filter(pl.col("expiry") == date(2026, 12, 18))
    other = frame.head(40).with_columns(trading_class=pl.lit("AM"), bid=pl.col("bid") * 3, ask=pl.col("ask") * 3)
    both = pl.concat([frame, other])
    assert list(cm.iv_at_the_money_by_expiry(chain(both))) == list(cm.iv_at_the_money_by_expiry(chain(frame)))


def test_ratios_and_max_pain_by_hand() -> None:
    frame = rows("SPY", NOW).filter(pl.col("expiry") == date(2026, 12, 18)).sort("strike", "right")
    three = frame.filter(pl.col("strike").is_in([260.0, 265.0, 270.0]))
    counts = {("C", 260): 10.0, ("C", 265): 0.0, ("C", 270): 5.0, ("P", 260): 0.0, ("P", 265): 4.0, ("P", 270): 20.0}
    interest = [counts[right, int(strike)] for right, strike in three.select("right", "strike").iter_rows()]
    made = chain(three.with_columns(open_interest=pl.Series(interest), volume=pl.Series(interest) * 2))
    assert next(positioning.put_call_open_interest_ratio(made)).value == pytest.approx(24 / 15)
    assert next(positioning.put_call_volume_ratio_by_expiry(made)).value == pytest.approx(24 / 15)
    # Worth at 260: puts 4*5 + 20*10 = 220; at 265: calls 50, puts 100 = 150; at 270: calls 100.
    assert next(positioning.max_pain_by_expiry(made)).value == 270.0
    level = positioning.max_pain(np.array([1.0, 2.0]), np.array([0.0, 1.0]), np.array([0.0, 0.0]))
    assert level == 1.0  # of equal strikes the lowest


def test_gamma_exposure_adds_up_by_strike_and_changes_its_sign_where_it_says() -> None:
    frame = rows("SPY", NOW).filter(pl.col("expiry").is_in([date(2026, 12, 18), date(2026, 12, 24)]))
    spot = frame["underlying_price"][0]
    # Calls are held above the money and puts below it: somewhere between the exposure turns.
    held = pl.when((pl.col("right") == "C") == (pl.col("strike") > spot)).then(100.0).otherwise(0.0)
    made = chain(frame.with_columns(open_interest=held))
    by_strike = list(gamma_exposure_by_strike(made))
    total = next(gamma_exposure(made)).value
    assert total == pytest.approx(sum(value.value or 0 for value in by_strike))
    assert all((value.value or 0) * ((value.strike or 0) - spot) >= 0 for value in by_strike)
    zero = next(gamma_exposure_zero(made)).value
    assert zero is not None
    assert abs(zero / spot - 1) < 0.05
    option = frame.filter(strike=270.0, right="C", expiry=date(2026, 12, 18)).row(0, named=True)
    alone = chain(frame.with_columns(open_interest=pl.when(con_id=option["con_id"]).then(7.0).otherwise(0.0)))
    years = made.expiries[0].years
    d1 = math.log(surface_of(frame).forward(years) / 270) / (option["iv"] * years**0.5) + option["iv"] * years**0.5 / 2
    gamma = math.exp(-0.015 * years - d1 * d1 / 2) / math.sqrt(2 * math.pi) / (spot * option["iv"] * math.sqrt(years))
    assert next(gamma_exposure(alone)).value == pytest.approx(7 * 100 * gamma * spot**2 / 100, rel=2e-3)
    calls_only = chain(frame.with_columns(open_interest=pl.when(right="C").then(1.0).otherwise(0.0)))
    assert next(gamma_exposure_zero(calls_only)).value is None


def test_a_crossing_is_found_between_places_the_nearest_of_several_the_lower_of_equal_ones() -> None:
    places = np.array([1.0, 2.0, 3.0, 4.0])
    assert zero_nearest(places, np.array([-1.0, 1.0, 1.0, -3.0]), 1.0) == 1.5
    assert zero_nearest(places, np.array([-1.0, 1.0, 1.0, -3.0]), 4.0) == 3.25
    assert zero_nearest(places, np.array([1.0, 0.0, 1.0, 0.0]), 3.0) == 2.0
    assert zero_nearest(places, np.ones(4), 3.0) is None


def test_an_expected_move_is_a_standard_deviation() -> None:
    frame = rows("SPY", NOW)
    known = surface_of(frame)
    for value in cm.expected_move_by_expiry(chain(frame)):
        if value.value is not None and (value.tenor_days or 0) > 10:
            years = next(q.years for q in chain(frame).expiries if q.days == value.tenor_days)
            expected: Any = known.forward(years) * known.at_the_money(years) * math.sqrt(years)
            assert value.value == pytest.approx(expected, rel=1e-3)
