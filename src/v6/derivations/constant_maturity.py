"""Values at a fixed number of days, between the two expiries around it: linear in total variance, volatility² times
years, as the variance of independent days adds up."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from v6.derivations.chain import Chain, ExpiryQuotes, quote_doubts
from v6.derivations.estimate import Estimate
from v6.derivations.expiry_time import YEAR_DAYS
from v6.derivations.statistic import Statistic, Value, joined

TENORS = (7, 30, 60, 90)
NEARER = {30: 7, 60: 30, 90: 30}  # what the slope of the term structure is against

Formula = Callable[[ExpiryQuotes], Estimate | None]
Point = tuple[float, Estimate]  # years and value


@dataclass(frozen=True, kw_only=True, slots=True)
class TenorVolatility:
    """A volatility at a tenor: None with the reason in ``why_not``. ``expiries`` are those that it rests on."""

    estimate: Estimate | None
    why_not: str = ""
    expiries: tuple[ExpiryQuotes, ...] = ()
    doubts: str = ""  # of quotes and of how far its expiries lie apart

    @property
    def iv(self) -> float | None:
        """The volatility."""
        return None if self.estimate is None else self.estimate.value

    @property
    def quality(self) -> str:
        """Why there is none, or what limits it."""
        return self.why_not if self.estimate is None else joined(self.doubts, self.estimate.doubt)

    @property
    def observations(self) -> int:
        """How many quotes it rests on."""
        return sum(quotes.quotes for quotes in self.expiries)


def at_tenor(expiries: Sequence[ExpiryQuotes], days: int, volatility: Formula) -> TenorVolatility:
    """A volatility of expiries, interpolated to a number of days in total variance; nothing is extrapolated."""
    return _interpolated(expiries, days, volatility, _by_variance)


def difference_at_tenor(expiries: Sequence[ExpiryQuotes], days: int, difference: Formula) -> TenorVolatility:
    """A difference of volatilities, interpolated to a number of days linearly in time; nothing is extrapolated."""
    return _interpolated(expiries, days, difference, _by_time)


def _by_variance(near: Point, far: Point, years: float) -> Estimate:
    (near_years, near_iv), (far_years, far_iv) = near, far
    share = (years - near_years) / (far_years - near_years)
    variances = (1 - share) * near_iv.value**2 * near_years, share * far_iv.value**2 * far_years
    iv = math.sqrt(sum(variances) / years)
    errors = (w * point.error / point.value for w, point in zip(variances, (near_iv, far_iv), strict=True))
    return Estimate(value=iv, error=math.hypot(*errors) / (years * iv))


def _by_time(near: Point, far: Point, years: float) -> Estimate:
    share = (years - near[0]) / (far[0] - near[0])
    return Estimate(
        value=(1 - share) * near[1].value + share * far[1].value,
        error=math.hypot((1 - share) * near[1].error, share * far[1].error),
    )


def _interpolated(
    expiries: Sequence[ExpiryQuotes],
    days: int,
    volatility: Formula,
    between: Callable[[Point, Point, float], Estimate],
) -> TenorVolatility:
    years = days / YEAR_DAYS
    before = _first_known((q for q in reversed(expiries) if q.years <= years), volatility)
    after = _first_known((q for q in expiries if q.years > years), volatility)
    if before is None or after is None:
        return TenorVolatility(estimate=None, why_not=_why_not(before or after, days))
    (near, near_iv), (far, far_iv) = before, after
    both = (near,) if near.years == years else (near, far)
    skips = any(near.years < quotes.years < far.years for quotes in expiries)
    doubts = joined(quote_doubts(both), _width(near, far, days, skips=skips))
    estimate = between((near.years, near_iv), (far.years, far_iv), years)
    return TenorVolatility(estimate=estimate, expiries=both, doubts=doubts)


def _first_known(expiries: Iterable[ExpiryQuotes], volatility: Formula) -> tuple[ExpiryQuotes, Estimate] | None:
    """The first expiry that has the volatility, and it."""
    both = ((quotes, volatility(quotes)) for quotes in expiries)
    return next(((quotes, iv) for quotes, iv in both if iv is not None), None)


def _why_not(nearest: tuple[ExpiryQuotes, Estimate] | None, days: int) -> str:
    if nearest is None:
        return "no expiry has it"
    return f"it lies on one side of {days} days only: the nearest expiry that has it is {nearest[0].days} days away"


def _width(near: ExpiryQuotes, far: ExpiryQuotes, days: int, *, skips: bool) -> str:
    """Between which expiries a value lies, where they lie far apart or others between them have none."""
    is_wide = skips or far.days - near.days > days
    return f"between expiries {near.days} and {far.days} days away" if is_wide else ""


def money(quotes: ExpiryQuotes) -> Estimate | None:
    """At-the-money volatility of an expiry."""
    return quotes.smile.at_the_money


def iv_at_the_money_by_expiry(chain: Chain) -> Iterator[Value]:
    """Implied volatility at the money of each expiry; the money is the forward.

    Formula: σ at K = F, by a quadratic in ln(K / F) through the volatilities of the options out of the money near it
    (both rights within a quarter of a standard deviation), weighted by nearness and by vega / spread. It looks 0.45
    standard deviations to either side, and further (up to 2.5) where noise of the quotes hides what a wider look costs.
    Source: Black-Scholes-Merton on the implied forward; local regression by Cleveland, JASA 74 (1979), how far it looks
    by Lepski, Theory of Probability and Its Applications 35 (1990).
    Ties: of several trading classes of an expiry the one with the most two-sided quotes, then the first name.
    Null: it expires within a day, the underlying's price is missing, no strike has both a call and a put that can be
    used, fewer than five quotes tell a volatility, or none lies on one side of the forward.
    """
    for quotes in chain.expiries:
        yield by_expiry(quotes, money, "the quotes do not reach the forward")


def by_expiry(quotes: ExpiryQuotes, formula: Formula, otherwise: str, *, unit: float = 1.0) -> Value:
    """A value of one expiry that needs its smile, times a unit; None with why it has none, or with ``otherwise``."""
    found = None if quotes.obstacle else formula(quotes)
    return Value(
        value=None if found is None else found.value * unit,
        observations=quotes.quotes,
        quality=(quotes.obstacle or otherwise) if found is None else joined(quotes.doubts, found.doubt),
        tenor_days=quotes.days,
    )


def iv_constant_maturity(chain: Chain) -> Iterator[Value]:
    """At-the-money implied volatility at 7, 30, 60 and 90 days.

    Formula: sqrt(w / T), w = σ² T interpolated linearly in T between the nearest expiries on both sides; T is calendar
    time from the quotes to 16:00 New York of the last trading day.
    Source: Gatheral, The Volatility Surface (2006), ch. 3: total variance.
    Ties: an expiry exactly at the tenor counts alone.
    Null: no expiry with a volatility lies on one of the sides: nothing is extrapolated.
    """
    for days in TENORS:
        yield value_at(chain, days, money)


def value_at(chain: Chain, days: int, volatility: Formula) -> Value:
    """An interpolated volatility as a value."""
    found = at_tenor(chain.with_smile, days, volatility)
    return Value(value=found.iv, observations=found.observations, quality=found.quality, tenor_days=days)


def term_structure_slope(chain: Chain) -> Iterator[Value]:
    """How much higher the at-the-money volatility is at a tenor than nearer: 30 against 7 days, 60 and 90 against 30.

    Formula: σ(tenor) - σ(nearer tenor), both at constant maturity; above 0 the curve rises.
    Source: the definition.
    Ties: none arise.
    Null: one of the two volatilities is.
    """
    for days, nearer in NEARER.items():
        far, near = (at_tenor(chain.with_smile, tenor, money) for tenor in (days, nearer))
        rise = _difference(far.estimate, near.estimate)
        reasons = (far.why_not, near.why_not) if rise is None else (near.doubts, far.doubts, rise.doubt)
        yield Value(
            value=None if rise is None else rise.value,
            observations=far.observations,
            quality=joined(*dict.fromkeys(reasons)),
            tenor_days=days,
        )


def _difference(one: Estimate | None, other: Estimate | None) -> Estimate | None:
    if one is None or other is None:
        return None
    return Estimate(value=one.value - other.value, error=math.hypot(one.error, other.error))


def expected_move_by_expiry(chain: Chain) -> Iterator[Value]:
    """How far the underlying is priced to move until each expiry: one standard deviation, in currency.

    Formula: F σ sqrt(T), σ at the money.
    Source: the definition.
    Ties: none arise.
    Null: the at-the-money volatility of the expiry is.
    """

    for quotes in chain.expiries:
        yield by_expiry(quotes, money, "the quotes do not reach the forward", unit=_move_of_one(quotes))


def _move_of_one(quotes: ExpiryQuotes) -> float:
    """The move until an expiry at a volatility of 1, in currency."""
    return quotes.forward.ratio * quotes.spot * math.sqrt(quotes.years)


STATISTICS = (
    Statistic(name="iv_at_the_money_by_expiry", unit="1/year", compute=iv_at_the_money_by_expiry),
    Statistic(name="iv_constant_maturity", unit="1/year", compute=iv_constant_maturity),
    Statistic(name="term_structure_slope", unit="1/year", compute=term_structure_slope),
    Statistic(name="expected_move_by_expiry", unit="currency", compute=expected_move_by_expiry),
)
