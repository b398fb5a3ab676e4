"""A volatility with its standard error: what the rounding and the noise of quotes leave open."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ROUNDING = 1 / math.sqrt(24)  # of a step: standard deviation of a mid whose bid was rounded down and ask up
USUAL_SCATTER = 0.2  # of half a spread: how far mids lie off, where too few tell it
FINE = 0.001  # a volatility that is known better than that is known well: 10 basis points
DEVIATIONS = 3.0  # standard errors to either side that quality speaks of


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A volatility, or a difference of some, a year as a fraction, and its standard errors.

    ``by_quotes`` is that of the quotes' noise; ``by_forward`` what a forward higher by one standard error would add.
    """

    value: float
    by_quotes: float
    by_forward: float = 0.0

    @property
    def error(self) -> float:
        """One standard error of it."""
        return math.hypot(self.by_quotes, self.by_forward)

    @property
    def doubt(self) -> str:
        """That quotes leave more than ten basis points open, and how many; empty where not."""
        open_ = DEVIATIONS * self.error
        return f"the quotes leave {open_ * 1e4:.0f} basis points open" if open_ > FINE else ""


def robust_scatter(distances: npt.NDArray[np.float64]) -> float:
    """The standard deviation of distances from 0 by their median: a few outliers do not count."""
    return 1.4826 * float(np.median(np.abs(distances)))
