"""Volatility and greeks against QuantLib, a second library of its own, over ten thousand contracts."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import QuantLib as ql  # noqa: N813 - as everybody does

from v6.derivations import black_scholes
from v6.derivations.black_scholes import SOLVED, Floats, Terms, greeks, implied_volatilities, prices

CONTRACTS = 10_000
TOLERANCE = 1e-6
LEAST_VEGA = 1e-4  # of spot, for 1.00 of volatility


@dataclass(frozen=True)
class Theirs:
    """QuantLib's price, vega per 1.00, delta, gamma and theta per year, by its Black formula for one contract each."""

    price: Floats
    vega: Floats
    delta: Floats
    gamma: Floats
    theta: Floats


@pytest.fixture(scope="module")
def terms(volatility: Floats) -> Terms:
    """Hours to years, far in and out of the money, rates below zero, yields above them."""
    random = np.random.default_rng(7)
    spot = np.exp(random.uniform(0, math.log(30_000), CONTRACTS))
    years = np.exp(random.uniform(math.log(1 / 8760), math.log(5), CONTRACTS))
    deviations = random.uniform(-8, 8, CONTRACTS) * volatility * np.sqrt(years)
    width = np.exp(np.clip(deviations, -5, 5))
    return Terms(
        flags=random.choice(["c", "p"], CONTRACTS),
        spot=spot,
        strike=spot * width,
        years=years,
        rate=random.uniform(-0.03, 0.12, CONTRACTS),
        carry=random.uniform(-0.05, 0.2, CONTRACTS),
    )


@pytest.fixture(scope="module")
def volatility() -> Floats:
    return np.exp(np.random.default_rng(8).uniform(math.log(0.01), math.log(5), CONTRACTS))


@pytest.fixture(scope="module")
def theirs(terms: Terms, volatility: Floats) -> Theirs:
    rows = [one(terms, volatility, place) for place in range(CONTRACTS)]
    return Theirs(*np.array(rows).T)


def one(terms: Terms, volatility: Floats, place: int) -> tuple[float, ...]:
    years, rate = float(terms.years[place]), float(terms.rate[place])
    spot, carry = float(terms.spot[place]), float(terms.carry[place])
    kind = ql.Option.Call if terms.flags[place] == "c" else ql.Option.Put
    payoff = ql.PlainVanillaPayoff(kind, float(terms.strike[place]))
    forward, deviation = spot * math.exp((rate - carry) * years), float(volatility[place]) * math.sqrt(years)
    formula = ql.BlackCalculator(payoff, forward, deviation, math.exp(-rate * years))
    return (
        formula.value(),
        formula.vega(years),
        formula.delta(spot),
        formula.gamma(spot),
        formula.theta(spot, years),
    )


def test_prices_and_greeks_are_those_of_quantlib(terms: Terms, volatility: Floats, theirs: Theirs) -> None:
    ours = greeks(terms, volatility)
    assert np.max(np.abs(prices(terms, volatility) - theirs.price) / terms.spot) < 1e-12
    assert np.max(np.abs(ours.delta - theirs.delta)) < TOLERANCE
    assert np.max(np.abs(ours.gamma - theirs.gamma) * terms.spot) < TOLERANCE
    assert np.max(np.abs(ours.vega * 100 - theirs.vega) / terms.spot) < TOLERANCE
    assert np.max(np.abs(ours.theta * 365 - theirs.theta) / terms.spot) < TOLERANCE


def test_volatilities_come_back_from_quantlibs_prices_or_are_null_with_a_reason(
    terms: Terms, volatility: Floats, theirs: Theirs
) -> None:
    found = implied_volatilities(theirs.price, terms)
    telling = theirs.vega >= LEAST_VEGA * terms.spot
    assert telling.sum() > 4500
    assert (~telling).sum() > 4500
    assert np.max(np.abs(found.iv - volatility)[telling]) < TOLERANCE
    solved = np.isfinite(found.iv)
    assert np.array_equal(solved, found.why == SOLVED)
    back = prices(terms, np.where(solved, found.iv, 0.2))
    assert np.max((np.abs(back - theirs.price) / terms.spot)[solved & ~telling]) < 1e-8
    assert all(found.why[~solved])


@pytest.mark.parametrize(
    ("price", "why"),
    [
        (0.0, black_scholes.NO_PRICE),
        (-1.0, black_scholes.NO_PRICE),
        (math.nan, black_scholes.NO_PRICE),
        (9.0, black_scholes.BELOW_INTRINSIC),
        (101.0, black_scholes.ABOVE_BOUND),
        (10.5, SOLVED),
    ],
)
def test_a_price_that_no_volatility_gives_says_why(price: float, why: str) -> None:
    call = Terms(
        flags=np.array(["c"]), spot=np.array([100.0]), strike=np.array([90.0]), years=np.array([0.1]),
        rate=np.array([0.0]), carry=np.array([0.0]),
    )  # fmt: skip
    found = implied_volatilities(np.array([price]), call)
    assert found.why[0] == why
    assert math.isnan(found.iv[0]) == (why != SOLVED)
