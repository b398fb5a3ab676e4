"""Which numbers a market can have: sources and imports send zeros, -1 and worse where they know nothing."""

from __future__ import annotations

from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

LARGEST = 1e9  # of a price, a strike or a count: what is larger is none
LEAST = 1e-6  # of a price that is none of an option, of a strike or a multiplier
FROM_ZERO = ("bid", "ask", "volume", "open_interest")
ABOVE_ZERO = ("underlying_price", "multiplier")

Floats = npt.NDArray[np.float64]


def sound_prices(prices: Floats) -> Floats:
    """The prices of something that is always worth something; NaN where a number is no such price."""
    return np.where((prices >= LEAST) & (prices <= LARGEST), prices, np.nan)


def is_price(number: float | None) -> bool:
    """Whether a number can be such a price."""
    return number is not None and LEAST <= number <= LARGEST


def sound_rows(rows: pl.DataFrame, day: date) -> pl.DataFrame:
    """A chain's calls and puts that have a strike, a time and an expiry from the date on; numbers that cannot be are
    null."""
    numbers = {name: _within(name, 0.0) for name in FROM_ZERO} | {name: _within(name, LEAST) for name in ABOVE_ZERO}
    return rows.with_columns(strike=_within("strike", LEAST), **numbers).filter(
        pl.col("right").is_in(["C", "P"]),
        pl.col("strike").is_not_null(),
        pl.col("timestamp").is_not_null(),
        pl.col("expiry") >= day,
    )


def _within(name: str, least: float) -> pl.Expr:
    number = pl.col(name).cast(pl.Float64)
    return pl.when(number.is_between(least, LARGEST)).then(number)
