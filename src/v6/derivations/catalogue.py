"""Every statistic there is, by what it is computed from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from v6.derivations import (
    constant_maturity,
    futures_curve,
    gamma_exposure,
    implied_ranks,
    market_beta,
    positioning,
    put_call_parity,
    realised_volatility,
    returns,
    risk_reversals,
    trend,
    variance_index,
    vol_surface,
)
from v6.derivations.bar_history import BarHistory
from v6.derivations.chain import Chain
from v6.derivations.futures_curve import FuturesCurve
from v6.derivations.statistic import Statistic
from v6.derivations.vol_surface import FittedSurface

FROM_BARS: Sequence[Statistic[BarHistory]] = (
    *returns.STATISTICS,
    *realised_volatility.STATISTICS,
    *trend.STATISTICS,
    *market_beta.STATISTICS,
)
FROM_OPTIONS: Sequence[Statistic[Chain]] = (
    *put_call_parity.STATISTICS,
    *constant_maturity.STATISTICS,
    *variance_index.STATISTICS,
    *risk_reversals.STATISTICS,
    *positioning.STATISTICS,
    *gamma_exposure.STATISTICS,
)
FROM_SURFACE: Sequence[Statistic[FittedSurface]] = vol_surface.STATISTICS
FROM_FUTURES: Sequence[Statistic[FuturesCurve]] = futures_curve.STATISTICS


def all_statistics() -> dict[str, Sequence[Statistic[Any]]]:
    """The statistics by family."""
    return {
        "From bars": FROM_BARS,
        "From options": [*FROM_OPTIONS, *FROM_SURFACE],
        "From a year of implied volatility": implied_ranks.STATISTICS,
        "From futures": FROM_FUTURES,
    }
