"""The steps that quotes come in, told by the quotes themselves: cents, nickels or dimes, by class and by price."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Self

import numpy as np
import numpy.typing as npt

FINEST = 0.01  # in currency: no quote counts as better known than to a cent
STEPS = (FINEST, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 5.0)  # of exchanges
COARSER_FROM = (3.0, 5.0, 10.0)  # in currency: prices from which one exchange or another takes a coarser step
LEAST_PRICES = 30  # that tell a step: fewer lie on a coarser one by chance, the more so as bid and ask are akin
ON_STEP = 0.95  # of prices: a few may be wrong
ROUNDED, ROUNDED_SHARE = 1e-5, 1e-7  # in currency, or of the price: how exactly 32 bits store it

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class QuoteSteps:
    """Steps in currency of prices below 3.00, from there below 5.00, from there below 10.00, and from there on."""

    by_band: tuple[float, float, float, float] = (FINEST, FINEST, FINEST, FINEST)

    @classmethod
    def of(cls, prices: Floats) -> Self:
        """From the bids and asks of one class: a band where fewer than thirty lie has the step of the one below."""
        bands = _band(prices)
        told = accumulate(range(4), lambda below, band: coarsest(prices[bands == band]) or below, initial=FINEST)
        cheapest, *others = list(told)[1:]
        return cls(by_band=(cheapest, others[0], others[1], others[2]))

    def at(self, prices: Floats) -> Floats:
        """The step at each price."""
        return np.array(self.by_band)[_band(prices)]


def coarsest(prices: Floats) -> float | None:
    """The coarsest step on which nineteen in twenty prices lie, a cent at the least; None of fewer than thirty."""
    if len(prices) < LEAST_PRICES:
        return None
    return max((step for step in STEPS if _share_on(step, prices) >= ON_STEP), default=FINEST)


def _share_on(step: float, prices: Floats) -> float:
    off = np.abs(prices - np.round(prices / step) * step)
    return float(np.mean(off < np.maximum(ROUNDED, ROUNDED_SHARE * prices)))


def _band(prices: Floats) -> npt.NDArray[np.intp]:
    return np.searchsorted(COARSER_FROM, prices, side="right")
