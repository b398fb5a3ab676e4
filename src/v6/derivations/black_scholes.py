"""European options by Black-Scholes-Merton over arrays: volatility, greeks, prices.

pyvolr computes (Jäckel's rational method); a volatility counts only when it gives its price back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyvolr import bs

VOLATILITY_RANGE = (0.001, 10.0)
PRICE_TOLERANCE = 1e-8  # of the underlying's price: how near a volatility brings its price back

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.str_]

SOLVED = ""
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
    """Prices in currency; NaN where a volatility is."""
    found: Floats = np.asarray(
        bs.price(terms.flags, terms.spot, terms.strike, terms.years, terms.rate, iv, q=terms.carry), dtype=np.float64
    )
    return found


def implied_volatilities(price: Floats, terms: Terms) -> ImpliedVolatilities:
    """The volatilities that give these prices; null with the reason where none does, within 1e-8 of spot."""
    iv = np.asarray(
        bs.implied_vol(
            price, terms.flags, terms.spot, terms.strike, terms.years, terms.rate, q=terms.carry, on_error="ignore"
        ),
        dtype=np.float64,
    )
    why = np.select(
        [~(price > 0), price < terms.intrinsic(), price >= terms.bound(), ~_gives_back(price, terms, iv)],
        [NO_PRICE, BELOW_INTRINSIC, ABOVE_BOUND, TELLS_NOTHING],
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
    """The greeks at these volatilities; NaN where a volatility is."""
    found = bs.greeks(terms.flags, terms.spot, terms.strike, terms.years, terms.rate, iv, q=terms.carry)
    raw = {name: np.asarray(found[name], dtype=np.float64) for name in ("delta", "gamma", "vega", "theta")}
    return GreekArrays(delta=raw["delta"], gamma=raw["gamma"], vega=raw["vega"] / 100, theta=raw["theta"] / 365)
