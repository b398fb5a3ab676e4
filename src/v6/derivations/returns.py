"""Returns from daily bars, as fractions: 0.01 is 1 %."""

from __future__ import annotations

from collections.abc import Iterator

from v6.derivations.bar_history import BarHistory
from v6.derivations.bar_windows import over_windows
from v6.derivations.statistic import Statistic, Value

WINDOWS = (1, 5, 20, 60, 252)


def total_return(bars: BarHistory) -> Iterator[Value]:
    """Close against the close n sessions before.

    Formula: C_t / C_{t-n} - 1. Bars are as the gateway serves them: adjusted for splits, not for dividends.
    Source: the definition.
    Ties: none arise.
    Null: fewer than n + 1 sessions are stored up to the date, or a price is missing or not positive.
    """
    return over_windows(bars, WINDOWS, lambda part: part.close[-1] / part.close[0] - 1, before=1)


def overnight_return(bars: BarHistory) -> Iterator[Value]:
    """The date's open against the close before.

    Formula: O_t / C_{t-1} - 1.
    Source: the definition.
    Ties: none arise.
    Null: the session before is not stored, or a price is missing or not positive.
    """
    return over_windows(bars, (1,), lambda part: part.open[-1] / part.close[-2] - 1, before=1, uses_open=True)


def intraday_return(bars: BarHistory) -> Iterator[Value]:
    """The date's close against its open.

    Formula: C_t / O_t - 1.
    Source: the definition.
    Ties: none arise.
    Null: a price is missing or not positive.
    """
    return over_windows(bars, (1,), lambda part: part.close[-1] / part.open[-1] - 1, uses_open=True)


STATISTICS = (
    Statistic(name="return", unit="1", compute=total_return),
    Statistic(name="overnight_return", unit="1", compute=overnight_return),
    Statistic(name="intraday_return", unit="1", compute=intraday_return),
)
