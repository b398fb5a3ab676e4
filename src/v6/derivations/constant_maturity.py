"""Values at a fixed number of days, between the expiries around it: in total variance, volatility² times years, as the
variance of independent days adds up."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from v6.derivations.chain import Chain, ExpiryQuotes, quote_doubts
from v6.derivations.estimate import FINE, Estimate
from v6.derivations.expiry_time import YEAR_DAYS
from v6.derivations.monotone_cubic import cubic_at
from v6.derivations.statistic import Statistic, Value, joined

TENORS = (7, 30, 60, 90)
NEARER = {30: 7, 60: 30, 90: 30}  # what the slope of the term structure is against

Formula = Callable[[ExpiryQuotes], Estimate | None]
Known = tuple[ExpiryQuotes, Estimate]


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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scale:
    """What of a value and its years is interpolated over what of the years, and how the value comes back."""

    quantity: Callable[[float, float], float]
    value: Callable[[float, float], float]
    over: Callable[[float], float]
    is_straight: bool = False


_VARIANCE = _Scale(
    quantity=lambda iv, years: iv * iv * years, value=lambda w, years: math.sqrt(w / years), over=lambda years: years
)
_STRAIGHT_VARIANCE = replace(_VARIANCE, is_straight=True)
_DIFFERENCE = _Scale(quantity=lambda value, _: value, value=lambda value, _: value, over=math.sqrt)


def at_tenor(expiries: Sequence[ExpiryQuotes], days: int, volatility: Formula) -> TenorVolatility:
    """A volatility of expiries, interpolated to a number of days in total variance; nothing is extrapolated.

    The total variance is a monotone cubic in time through the two expiries on each side that have the volatility.
    """
    return _interpolated(_around(expiries, days, volatility), days, _VARIANCE)


def straight_at_tenor(expiries: Sequence[ExpiryQuotes], days: int, volatility: Formula) -> TenorVolatility:
    """As ``at_tenor``, linear in time between the two nearest expiries: as the VIX does."""
    return _interpolated(_around(expiries, days, volatility), days, _STRAIGHT_VARIANCE)


def difference_at_tenor(expiries: Sequence[ExpiryQuotes], days: int, difference: Formula) -> TenorVolatility:
    """A difference of volatilities, interpolated as ``at_tenor``, but itself and over the root of time.

    A skew that is a straight line in ln(K / F) makes differences between deltas grow with the root of time.
    """
    return _interpolated(_around(expiries, days, difference), days, _DIFFERENCE)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Around:
    """What is known on both sides of a tenor: expiries and estimates, up to two on each side, the nearest inside."""

    before: Sequence[Known]
    after: Sequence[Known]
    skips: bool

    @property
    def points(self) -> list[Known]:
        """All of them, ascending in time."""
        return [*reversed(self.before), *self.after]


def _around(expiries: Sequence[ExpiryQuotes], days: int, formula: Formula) -> _Around:
    years = days / YEAR_DAYS
    before = _first_known((q for q in reversed(expiries) if q.years <= years), formula)
    after = _first_known((q for q in expiries if q.years > years), formula)
    return _Around(before=before, after=after, skips=_skips(expiries, before, after))


def _skips(expiries: Sequence[ExpiryQuotes], before: Sequence[Known], after: Sequence[Known]) -> bool:
    """Whether an expiry without the value lies between the nearest ones that have it."""
    if not before or not after:
        return False
    last, first = before[0][0].years, after[0][0].years
    return any(last < quotes.years < first for quotes in expiries)


def _interpolated(around: _Around, days: int, scale: _Scale) -> TenorVolatility:
    """Between the expiries around a tenor."""
    if not around.before or not around.after:
        nearest = next(iter((*around.before, *around.after)), None)
        return TenorVolatility(estimate=None, why_not=_why_not(nearest, days))
    years, (near, far) = days / YEAR_DAYS, (around.before[0][0], around.after[0][0])
    curve = [(scale.over(q.years), scale.quantity(e.value, q.years)) for q, e in around.points]
    ends = slice(len(around.before) - 1, len(around.before) + 1)  # the nearest on both sides
    straight, bent = (cubic_at(scale.over(years), points) for points in (curve[ends], curve))
    chosen = straight if scale.is_straight else bent
    value, other = (scale.value(found, years) for found in (chosen, straight))
    used = around.points[ends] if scale.is_straight else around.points
    error = scale.value(chosen + _left_open(used, years, scale), years) - value
    is_wide = around.skips or far.days - near.days > days or abs(value - other) > FINE
    width = f"between expiries {near.days} and {far.days} days away" if is_wide else ""
    expiries = (near,) if near.years == years else tuple(quotes for quotes, _ in used)
    doubts = joined(quote_doubts(expiries), width)
    return TenorVolatility(estimate=Estimate(value=value, by_quotes=error), expiries=expiries, doubts=doubts)


def _left_open(points: Sequence[Known], years: float, scale: _Scale) -> float:
    """The standard error of what is interpolated: how far it moves when each point does by its own."""
    curve = [(scale.over(quotes.years), scale.quantity(found.value, quotes.years)) for quotes, found in points]
    moves = []
    for place, (quotes, found) in enumerate(points):
        moved = (curve[place][0], scale.quantity(found.value + found.error, quotes.years))
        shifted = [*curve[:place], moved, *curve[place + 1 :]]
        moves.append(cubic_at(scale.over(years), shifted) - cubic_at(scale.over(years), curve))
    return math.hypot(*moves)


def _first_known(expiries: Iterable[ExpiryQuotes], formula: Formula) -> list[Known]:
    """The first two expiries that have the value, and it."""
    both = ((quotes, formula(quotes)) for quotes in expiries)
    return list(islice(((quotes, found) for quotes, found in both if found is not None), 2))


def _why_not(nearest: Known | None, days: int) -> str:
    if nearest is None:
        return "no expiry has it"
    return f"it lies on one side of {days} days only: the nearest expiry that has it is {nearest[0].days} days away"


def money(quotes: ExpiryQuotes) -> Estimate | None:
    """At-the-money volatility of an expiry."""
    return None if quotes.obstacle else quotes.smile.at_the_money


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

    Formula: sqrt(w / T), w = σ² T interpolated in T by a monotone cubic through the nearest two expiries on each side;
    quality names the expiries on both sides where a straight line would give another volatility by more than ten basis
    points. T is calendar time from the quotes to 16:00 New York of the last trading day.
    Source: Gatheral, The Volatility Surface (2006), ch. 3: total variance; Fritsch and Butland, SIAM J. Sci. Stat.
    Comput. 5 (1984): the cubic.
    Ties: an expiry exactly at the tenor counts alone.
    Null: no expiry with a volatility lies on one of the sides: nothing is extrapolated.
    """
    for days in TENORS:
        yield value_at(chain, days, money)


def value_at(chain: Chain, days: int, volatility: Formula) -> Value:
    """An interpolated volatility as a value."""
    found = at_tenor(chain.expiries, days, volatility)
    return Value(value=found.iv, observations=found.observations, quality=found.quality, tenor_days=days)


def term_structure_slope(chain: Chain) -> Iterator[Value]:
    """How much higher the at-the-money volatility is at a tenor than nearer: 30 against 7 days, 60 and 90 against 30.

    Formula: σ(tenor) - σ(nearer tenor), both at constant maturity; above 0 the curve rises.
    Source: the definition.
    Ties: none arise.
    Null: one of the two volatilities is.
    """
    for days, nearer in NEARER.items():
        far, near = (at_tenor(chain.expiries, tenor, money) for tenor in (days, nearer))
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
    return Estimate(value=one.value - other.value, by_quotes=math.hypot(one.error, other.error))


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
