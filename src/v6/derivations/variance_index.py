"""The model-free variance index: the published method of the VIX, on the chain of any underlying."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from v6.derivations.chain import LEAST_YEARS, Chain, ExpiryQuotes, Side
from v6.derivations.constant_maturity import TENORS, TenorVolatility, straight_at_tenor
from v6.derivations.estimate import DEVIATIONS, FINE, ROUNDING, USUAL_SCATTER, Estimate
from v6.derivations.smile_prices import SmilePrices
from v6.derivations.statistic import Statistic, Value, joined
from v6.derivations.stray_quotes import stray_quotes

ZERO_BIDS_END = 2  # so many zero bids in a row end a wing
ENOUGH_BELOW, ENOUGH_ABOVE = 3.0, 2.0  # standard deviations that strikes have to reach for the whole variance
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Strip:
    """The options that a variance is made of: strikes ascending, the price of each, and K0, the last at or below F.

    ``noise`` is the standard deviation of each price; ``guessed`` how far prices may be off that are little more than
    guesses, all of them the same way. ``left_out`` is what listed options beyond the ends may add to half the variance.
    """

    strikes: Floats
    prices: Floats
    noise: Floats
    guessed: Floats
    left_out: float
    money_strike: float
    forward: float
    years: float
    discount: float
    discount_error: float = 0.0  # standard error of its logarithm
    strays: int = 0  # quotes that lie far above those nearer the money

    @property
    def variance(self) -> float:
        """Annual variance: 2/T Σ ΔK/K² Q(K)/D - (F/K0 - 1)²/T."""
        total = float(np.sum(self._shares * self.prices))
        return 2 * total - (self.forward / self.money_strike - 1) ** 2 / self.years

    @property
    def index(self) -> Estimate | None:
        """The root of the variance; None where it is not above zero."""
        if self.variance <= 0:
            return None
        index = math.sqrt(self.variance)
        by_noise = float(np.sqrt(np.sum((self._shares * self.noise) ** 2)))
        by_guesses = (float(np.sum(self._shares * self.guessed)) + self.left_out) / DEVIATIONS
        by_discount = self.discount_error * index / 2
        return Estimate(value=index, by_quotes=math.hypot(by_noise / index, by_guesses / index, by_discount))

    @property
    def _shares(self) -> Floats:
        """How much of half the variance a price of 1 makes: ΔK / (K² D T)."""
        return _shares(self.strikes, self.discount * self.years)


def _shares(strikes: Floats, scale: float) -> Floats:
    shares: Floats = np.abs(np.gradient(strikes)) / strikes**2 / scale
    return shares


@dataclass(frozen=True, kw_only=True, slots=True)
class _Option:
    """One option of a strip: its place among the strikes, its price, the price's noise, and how far it is a guess."""

    place: int
    price: float
    noise: float
    guessed: float = 0.0


def strip_of(quotes: ExpiryQuotes, *, strict: bool = False) -> Strip | None:
    """The strip of one expiry; None where its forward is not known or a wing has no option.

    ``strict`` takes every mid as it is, also those of the least quotes.
    """
    if quotes.forward.obstacle or not quotes.spot > 0:
        return None
    forward = _forward(quotes)
    middle = _middle(quotes, forward)
    if middle is None:
        return None
    downwards, upwards = range(middle - 1, -1, -1), range(middle + 1, len(quotes.strikes))
    puts = _OneSide.of(quotes, quotes.puts, quotes.put_prices, downwards)
    calls = _OneSide.of(quotes, quotes.calls, quotes.call_prices, upwards)
    below, above = list(puts.wing(downwards, strict)), list(calls.wing(upwards, strict))
    if not below or not above:
        return None
    options = [*reversed(below), _at_middle((puts, calls), middle), *above]
    left_out = puts.left_out(slice(0, options[0].place)) + calls.left_out(slice(options[-1].place + 1, None))
    strip = _strip(quotes, options, forward, middle, left_out)
    return replace(strip, strays=len(puts.strays) + len(calls.strays))


def _strip(quotes: ExpiryQuotes, options: Sequence[_Option], forward: float, middle: int, left_out: float) -> Strip:
    return Strip(
        strikes=quotes.strikes[[option.place for option in options]],
        prices=np.array([option.price for option in options]),
        noise=np.array([option.noise for option in options]),
        guessed=np.array([option.guessed for option in options]),
        left_out=left_out,
        money_strike=float(quotes.strikes[middle]),
        forward=forward,
        years=quotes.years,
        discount=quotes.forward.discount,
        discount_error=quotes.forward.rate_error * quotes.years,
    )


def _forward(quotes: ExpiryQuotes) -> float:
    """K + (C - P) / D at the strike with the smallest |C - P|; of equal ones the lowest."""
    difference = quotes.calls.mid - quotes.puts.mid
    place = int(np.nanargmin(np.abs(difference)))
    return float(quotes.strikes[place] + difference[place] / quotes.forward.discount)


def _middle(quotes: ExpiryQuotes, forward: float) -> int | None:
    """The place of K0: without a smile to price what lacks, the last strike at or below the forward with both mids."""
    can_be = quotes.strikes <= forward
    if quotes.obstacle:
        can_be &= quotes.calls.is_usable & quotes.puts.is_usable
    places = np.flatnonzero(can_be)
    return int(places[-1]) if len(places) else None


def _at_middle(sides: Sequence[_OneSide], place: int) -> _Option:
    both = [side.at(place) for side in sides]
    noise = math.hypot(*(option.noise for option in both)) / 2
    return _Option(place=place, price=sum(option.price for option in both) / 2, noise=noise)


@dataclass(frozen=True, kw_only=True, slots=True)
class _OneSide:
    """The calls or the puts, with what the smile says that they are worth."""

    quotes: ExpiryQuotes
    side: Side
    by_smile: SmilePrices
    strays: frozenset[int]  # places of quotes that lie far above those nearer the money

    @classmethod
    def of(cls, quotes: ExpiryQuotes, side: Side, by_smile: SmilePrices, outwards: range) -> Self:
        return cls(quotes=quotes, side=side, by_smile=by_smile, strays=frozenset(stray_quotes(side, outwards)))

    def at(self, place: int) -> _Option:
        """As it is quoted, or by the smile where the quote cannot be used."""
        return self._quoted(place) if self.side.is_usable[place] else self._priced(place)

    def wing(self, outwards: range, strict: bool) -> Iterator[_Option]:
        """A wing's options from the money outwards, up to two zero bids in a row."""
        zeros, last = 0, self._steps_to_last_zero(outwards)
        for steps, place in enumerate(outwards):
            zeros = zeros + 1 if self.side.has_no_bid[place] else 0
            if zeros == ZERO_BIDS_END:
                return
            tells = self.side.is_usable[place] and (strict or place not in self.strays)
            if tells and (strict or steps < last or not self.side.is_least[place]):
                yield self._quoted(place)
            elif not zeros and not self.quotes.obstacle:
                yield self._priced(place)

    def left_out(self, beyond: slice) -> float:
        """What options beyond the end of a wing may add to half the variance."""
        strikes = self.quotes.strikes[beyond]
        if self.quotes.obstacle or len(strikes) < ZERO_BIDS_END:
            return 0.0
        shares = _shares(strikes, self.quotes.forward.discount * self.quotes.years)
        return float(np.sum(shares * self.by_smile.most[beyond]))

    def _steps_to_last_zero(self, outwards: range) -> int:
        """How far out lies the last option without a bid: the least quote of a nearer one tells what that is worth."""
        without = np.flatnonzero(self.side.has_no_bid[list(outwards)])
        return int(without[-1]) if len(without) else 0

    def _quoted(self, place: int) -> _Option:
        scatter = USUAL_SCATTER if self.quotes.obstacle else self.quotes.smile.scatter
        noise = float(max(self.side.rounding[place], scatter * self.side.doubt[place]))
        return self._option(place, float(self.side.mid[place]), noise, 0.0)

    def _priced(self, place: int) -> _Option:
        price, most = float(self.by_smile.usual[place]), float(self.by_smile.most[place])
        noise = ROUNDING * float(self.side.steps.at(np.array([price]))[0])
        return self._option(place, price, noise, most - price)

    def _option(self, place: int, price: float, noise: float, guessed: float) -> _Option:
        """One that is bid at the least there can be is worth half as much or once more of it."""
        least = price / 2 if self.side.is_least_bid[place] else 0.0
        return _Option(place=place, price=price, noise=noise, guessed=max(guessed, least))


def index_of(quotes: ExpiryQuotes) -> Estimate | None:
    """The root of one expiry's annual variance; None without a strip, or where the variance is not above zero."""
    strip = strip_of(quotes)
    return None if strip is None else strip.index


def published_index_of(quotes: ExpiryQuotes) -> Estimate | None:
    """As ``index_of`` with every mid as it is quoted."""
    strip = strip_of(quotes, strict=True)
    return None if strip is None else strip.index


def variance_index(chain: Chain) -> Iterator[Value]:
    """Expected volatility at 7, 30, 60 and 90 days by the method of the VIX: 0.2 where the VIX says 20.

    Formula: per expiry σ² = 2/T Σ ΔK/K² e^{RT} Q(K) - (F/K0 - 1)²/T over the options out of the money, Q their mids, at
    K0 the mean of both; F = K + e^{RT} (C - P) at the strike with the smallest |C - P|, K0 the last strike at or below
    F; ΔK half the distance between the neighbours, at the ends to the only one; a wing ends at two zero bids in a row,
    single ones are left out. Between the expiries around the tenor T σ² is interpolated linearly in time, as the VIX
    does between its near and next term. R is the implied rate. Four kinds of options count with the price that the
    smile of their neighbours gives them (beyond them it goes on straight for half a standard deviation, then flat):
    those whose quote is missing, those whose quote is crossed, those that ask over three times their bid and whose mid
    is over twice the ask of the one nearer the money (quality counts all three), and those quoted at the least there
    can be (one step bid and two asked, 0.01 to 0.02 of options quoted in cents) where none further out is without
    a bid: their mids add up to a volatility that is not there when it is low; variance_index_published takes them as
    they are. What such options and those beyond the end of a wing may be worth counts as left open by the quotes.
    Source: Cboe, Volatility Index Methodology: Cboe Volatility Index (the VIX takes expiries of 23 to 37 days; here it
    is the nearest on each side of the tenor).
    Ties: of equal |C - P| the lowest strike; an expiry exactly at the tenor counts alone.
    Null: no expiry on one of the sides of the tenor has options in both wings: nothing is extrapolated.
    """
    for days in TENORS:
        yield index_at(chain, days)


def index_at(chain: Chain, days: int) -> Value:
    """The variance index at a number of days."""
    return _value_of(straight_at_tenor(_candidates(chain), days, index_of), days)


def variance_index_published(chain: Chain) -> Iterator[Value]:
    """Expected volatility at 7, 30, 60 and 90 days by the method of the VIX to the letter, for comparing with the VIX.

    Formula: as variance_index, with the mid of every option that has a bid, however small; quality says what the least
    ones add where it is more than ten basis points.
    Source: Cboe, Volatility Index Methodology: Cboe Volatility Index.
    Ties: of equal |C - P| the lowest strike; an expiry exactly at the tenor counts alone.
    Null: no expiry on one of the sides of the tenor has options in both wings: nothing is extrapolated.
    """
    for days in TENORS:
        published, own = (straight_at_tenor(_candidates(chain), days, each) for each in (published_index_of, index_of))
        yield _value_of(published, days, _least_doubt(published.iv, own.iv))


def _candidates(chain: Chain) -> list[ExpiryQuotes]:
    return [quotes for quotes in chain.expiries if quotes.years >= LEAST_YEARS]


def _value_of(found: TenorVolatility, days: int, doubt: str = "") -> Value:
    quality = joined(found.quality, doubt, *dict.fromkeys(reach_doubt(quotes) for quotes in found.expiries))
    return Value(value=found.iv, observations=found.observations, quality=quality, tenor_days=days)


def _least_doubt(published: float | None, own: float | None) -> str:
    """That the mids of the least quotes add volatility, and how much; empty where it is little."""
    if published is None or own is None or abs(published - own) <= FINE:
        return ""
    return f"mids of the least quotes add {(published - own) * 1e4:.0f} basis points"


def reach_doubt(quotes: ExpiryQuotes) -> str:
    """That quotes of an expiry tell nothing, or that its strikes end so near to the money that variance beyond them is
    left out; empty where not."""
    strip = strip_of(quotes)
    if strip is None:
        return ""
    return "; ".join(filter(None, (_stray_doubt(quotes, strip), _end_doubt(quotes, strip))))


def _stray_doubt(quotes: ExpiryQuotes, strip: Strip) -> str:
    if not strip.strays:
        return ""
    return f"{strip.strays} of {quotes.quotes} quotes of {quotes.days} days far above those nearer the money"


def _end_doubt(quotes: ExpiryQuotes, strip: Strip) -> str:
    if quotes.obstacle:
        return ""
    ends = np.log(strip.strikes[[0, -1]] / strip.forward) / quotes.smile.deviation
    if -ends[0] >= ENOUGH_BELOW and ends[1] >= ENOUGH_ABOVE:
        return ""
    return f"strikes of {quotes.days} days end at {ends[0]:.1f} and {ends[1]:+.1f} standard deviations"


STATISTICS = (
    Statistic(name="variance_index", unit="1/year", compute=variance_index),
    Statistic(name="variance_index_published", unit="1/year", compute=variance_index_published),
)
