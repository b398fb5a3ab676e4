"""Every statistic there is, by what it is computed from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from v6.derivations import market_beta, realised_volatility, returns, trend
from v6.derivations.bar_history import BarHistory
from v6.derivations.statistic import Statistic

FROM_BARS: Sequence[Statistic[BarHistory]] = (
    *returns.STATISTICS,
    *realised_volatility.STATISTICS,
    *trend.STATISTICS,
    *market_beta.STATISTICS,
)


def all_statistics() -> dict[str, Sequence[Statistic[Any]]]:
    """The statistics by family."""
    return {"From bars": FROM_BARS}
