"""European options by Black-Scholes-Merton over arrays: volatility, greeks, prices.

pyvolr computes (Jäckel's rational method); a volatility counts only when it gives its price back.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from pyvolr import bs

VOLATILITY_RANGE = (0.001, 10.0)
LEAST, LARGEST = 1e-12, 1e12  # of a spot or strike, in currency; of years
LARGEST_GROWTH = 100.0  # of a rate or carry times years, to either side
PRICE_TOLERANCE = 1e-8  # of the underlying's price: how near a volatility brings its price back

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.str_]

SOLVED = ""
UNSOUND = "spot, strike and years have to be above zero, rate and carry known, the right c or p"
NO_PRICE = "there is no price above zero"
BELOW_INTRINSIC = "the price is below the option's intrinsic value"
ABOVE_BOUND = "the price is above what any volatility gives"
TELLS_NOTHING = "the price tells no volatility between 0.1 % and 1000 %"


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What prices depend on beside the volatility, one array element an option.

    ``flags`` are c and p; spot and strike in currency; years to expiry; rate continuously compounded a year; ``carry``
    the continuous yield of the underlying, such that the forward is spot * exp((rate - carry) * years).
    """

    flags: Flags
    spot: Floats
    strike: Floats
    years: Floats
    rate: Floats
    carry: Floats

    @cached_property
    def are_sound(self) -> npt.NDArray[np.bool_]:
        """Where an option can be priced with these numbers."""
        spot, strike, years = ((x > LEAST) & (x < LARGEST) for x in (self.spot, self.strike, self.years))
        with np.errstate(over="ignore", invalid="ignore"):
            rate, carry = (np.abs(x * self.years) < LARGEST_GROWTH for x in (self.rate, self.carry))
        sound: npt.NDArray[np.bool_] = spot & strike & years & rate & carry & np.isin(self.flags, ("c", "p"))
        return sound

    @cached_property
    def made_sound(self) -> Terms:
        """The same with harmless numbers where no option can be priced."""
        if self.are_sound.all():
            return self
        numbers = ("spot", "strike", "years", "rate", "carry")
        mended = {name: np.where(self.are_sound, getattr(self, name), 1.0) for name in numbers}
        return Terms(flags=np.where(self.are_sound, self.flags, "c"), **mended)

    def intrinsic(self) -> Floats:
        """The least a European option is worth."""
        stock, cash = self.spot * np.exp(-self.carry * self.years), self.strike * np.exp(-self.rate * self.years)
        worth: Floats = np.maximum(np.where(self.flags == "c", stock - cash, cash - stock), 0.0)
        return worth

    def bound(self) -> Floats:
        """The most it is worth: the discounted underlying of a call, the discounted strike of a put."""
        stock, cash = self.spot * np.exp(-self.carry * self.years), self.strike * np.exp(-self.rate * self.years)
        return np.where(self.flags == "c", stock, cash)


@dataclass(frozen=True, kw_only=True)
class ImpliedVolatilities:
    """Volatilities a year as fractions, NaN where there is none, and ``why`` by element: empty where there is one."""

    iv: Floats
    why: npt.NDArray[np.str_]


def prices(terms: Terms, iv: Floats) -> Floats:
    """Prices in currency; NaN where a volatility is none (below 0, not finite) or the terms are not sound."""
    sound, known = terms.made_sound, terms.are_sound & (iv >= 0) & np.isfinite(iv)
    found: Floats = np.asarray(
        bs.price(
            sound.flags, sound.spot, sound.strike, sound.years, sound.rate, np.where(known, iv, 0.2), q=sound.carry
        ),
        dtype=np.float64,
    )
    return np.where(known, found, np.nan)


def implied_volatilities(price: Floats, terms: Terms) -> ImpliedVolatilities:
    """The volatilities that give these prices; null with the reason where none does, within 1e-8 of spot."""
    is_sound, terms = terms.are_sound, terms.made_sound
    iv = np.asarray(
        bs.implied_vol(
            price, terms.flags, terms.spot, terms.strike, terms.years, terms.rate, q=terms.carry, on_error="ignore"
        ),
        dtype=np.float64,
    )
    why = np.select(
        [~is_sound, ~(price > 0), price < terms.intrinsic(), price >= terms.bound(), ~_gives_back(price, terms, iv)],
        [UNSOUND, NO_PRICE, BELOW_INTRINSIC, ABOVE_BOUND, TELLS_NOTHING],
        SOLVED,
    )
    return ImpliedVolatilities(iv=np.where(why == SOLVED, iv, np.nan), why=why)


def _gives_back(price: Floats, terms: Terms, iv: Floats) -> npt.NDArray[np.bool_]:
    """Where a volatility lies in the range and its price is the one that was asked for."""
    low, high = VOLATILITY_RANGE
    is_within = np.isfinite(iv) & (iv >= low) & (iv <= high)
    error = np.abs(prices(terms, np.where(is_within, iv, 0.2)) - price)
    return is_within & (error <= PRICE_TOLERANCE * terms.spot)


@dataclass(frozen=True, kw_only=True)
class GreekArrays:
    """delta and gamma per 1.00 of the underlying, vega per 1 % of volatility, theta per calendar day: IB's units."""

    delta: Floats
    gamma: Floats
    vega: Floats
    theta: Floats


def greeks(terms: Terms, iv: Floats) -> GreekArrays:
    """The greeks at these volatilities; NaN where one is none (not above 0, not finite) or the terms are not sound."""
    sound, known = terms.made_sound, terms.are_sound & (iv > 0) & np.isfinite(iv)
    found = bs.greeks(
        sound.flags, sound.spot, sound.strike, sound.years, sound.rate, np.where(known, iv, 0.2), q=sound.carry
    )
    raw = {name: np.where(known, found[name], np.nan) for name in ("delta", "gamma", "vega", "theta")}
    return GreekArrays(delta=raw["delta"], gamma=raw["gamma"], vega=raw["vega"] / 100, theta=raw["theta"] / 365)
