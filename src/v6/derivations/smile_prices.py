"""What an expiry's smile says that its options are worth: of use where a quote is missing, crossed or tells nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from v6.derivations.black_scholes import Terms, prices

if TYPE_CHECKING:
    from v6.derivations.chain import ExpiryQuotes, Side

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class SmilePrices:
    """Prices in currency of the calls or the puts at every strike, ``usual`` and at ``most``; NaN without a smile.

    At most an option is worth what it is where the smile goes on straight for ever beyond the quotes, and no more than
    is asked for it.
    """

    usual: Floats
    most: Floats


def smile_prices(quotes: ExpiryQuotes, side: Side, flag: str) -> SmilePrices:
    """Of one side, ``flag`` c or p."""
    if quotes.obstacle:
        unknown = np.full(len(quotes.strikes), np.nan)
        return SmilePrices(usual=unknown, most=unknown)
    usual, straight = (_prices(quotes, flag, reach) for reach in (1.0, math.inf))
    return SmilePrices(usual=usual, most=np.fmin(np.maximum(usual, straight), side.ask))


def _prices(quotes: ExpiryQuotes, flag: str, reach: float) -> Floats:
    count, forward = len(quotes.strikes), quotes.forward.ratio * quotes.spot
    terms = Terms(
        flags=np.full(count, flag),
        spot=np.full(count, quotes.spot),
        strike=quotes.strikes,
        years=np.full(count, quotes.years),
        rate=np.full(count, quotes.forward.used_rate),
        carry=np.full(count, quotes.forward.carry(quotes.years)),
    )
    return prices(terms, quotes.smile.beyond(np.log(quotes.strikes / forward), reach=reach))
