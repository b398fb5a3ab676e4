"""Where the price stands against its own past: true range, moving averages, drawdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from v6.derivations.bar_history import BarHistory, Floats
from v6.derivations.bar_windows import over_windows
from v6.derivations.statistic import Statistic, Value

ATR_WINDOWS = (14, 20)
SMOOTHING_SESSIONS = 252  # where a recursive average begins: by then its start no longer counts
SIMPLE_WINDOWS = (10, 20, 50, 60, 200, 252)
EXPONENTIAL_WINDOWS = (12, 20, 26, 50)
DRAWDOWN_WINDOWS = (20, 60, 252)

_Recursion = Callable[[BarHistory, int], float]


def true_ranges(high: Floats, low: Floats, close: Floats) -> Floats:
    """The true range of every session but the first."""
    before = close[:-1]
    ranges: Floats = np.maximum(high[1:], before) - np.minimum(low[1:], before)
    return ranges


def wilder_average(values: Floats, window: int) -> float:
    """Wilder's smoothing: the mean of the first ``window`` values, then each new one with weight 1 / window."""
    average = float(np.mean(values[:window]))
    for value in values[window:].tolist():
        average += (value - average) / window
    return average


def exponential_average(values: Floats, window: int) -> float:
    """Each value with weight 2 / (window + 1) against all before it; begins with the mean of the first ``window``."""
    average, weight = float(np.mean(values[:window])), 2 / (window + 1)
    for value in values[window:].tolist():
        average += weight * (value - average)
    return average


def average_true_range(bars: BarHistory) -> Iterator[Value]:
    """Wilder's average of the true range over n sessions, in the price's currency.

    Formula: ATR_t = ATR_{t-1} + (TR_t - ATR_{t-1}) / n, TR_t = max(H_t, C_{t-1}) - min(L_t, C_{t-1}); the first ATR is
    the mean of the first n TR of the last 252 sessions (of all that are stored, when they are fewer).
    Source: Wilder, New Concepts in Technical Trading Systems (1978).
    Ties: none arise.
    Null: fewer than n + 1 sessions are stored up to the date, or a price is missing or not positive.
    """
    return _recursive(bars, ATR_WINDOWS, lambda p, n: wilder_average(true_ranges(p.high, p.low, p.close), n), before=1)


def simple_moving_average(bars: BarHistory) -> Iterator[Value]:
    """Mean of the last n closes, in the price's currency.

    Formula: Σ C_i / n.
    Source: the definition.
    Ties: none arise.
    Null: fewer than n sessions are stored up to the date, or a price is missing or not positive.
    """
    return over_windows(bars, SIMPLE_WINDOWS, lambda part: float(np.mean(part.close)))


def exponential_moving_average(bars: BarHistory) -> Iterator[Value]:
    """Exponential average of the closes with the weight of n sessions, in the price's currency.

    Formula: E_t = E_{t-1} + 2 / (n + 1) · (C_t - E_{t-1}); the first E is the mean of the first n closes of the last
    253 sessions (of all that are stored, when they are fewer).
    Source: the usual definition.
    Ties: none arise.
    Null: fewer than n sessions are stored up to the date, or a price is missing or not positive.
    """
    return _recursive(bars, EXPONENTIAL_WINDOWS, lambda part, n: exponential_average(part.close, n), before=0)


def drawdown(bars: BarHistory) -> Iterator[Value]:
    """How far the close lies below the highest close of the last n sessions, the date included; 0 at a new high.

    Formula: C_t / max C_i - 1.
    Source: the definition.
    Ties: of equal highs it does not matter which.
    Null: fewer than n sessions are stored up to the date, or a price is missing or not positive.
    """
    return over_windows(bars, DRAWDOWN_WINDOWS, lambda part: part.close[-1] / np.max(part.close) - 1)


def max_drawdown(bars: BarHistory) -> Iterator[Value]:
    """The deepest fall from a close to a later one within the last n sessions; 0 where none fell.

    Formula: min over t of C_t / max_{s ≤ t} C_s - 1.
    Source: the definition.
    Ties: of equal falls it does not matter which.
    Null: fewer than n sessions are stored up to the date, or a price is missing or not positive.
    """
    return over_windows(
        bars, DRAWDOWN_WINDOWS, lambda part: float(np.min(part.close / np.maximum.accumulate(part.close) - 1))
    )


def _recursive(bars: BarHistory, windows: tuple[int, ...], formula: _Recursion, *, before: int) -> Iterator[Value]:
    """A recursive average over all of the history that counts, null where its first window is not there."""
    part = bars.last(SMOOTHING_SESSIONS + 1)
    for window in windows:
        needed = window + before
        if len(part) < needed:
            text = f"{len(part)} of {needed} sessions that it needs are stored"
            yield Value(value=None, observations=len(part), quality=text, window_days=window)
        elif part.obstacle:
            yield Value(value=None, observations=len(part), quality=part.obstacle, window_days=window)
        else:
            yield Value(value=formula(part, window), observations=len(part), quality=part.doubts, window_days=window)


STATISTICS = (
    Statistic(name="average_true_range", unit="currency", compute=average_true_range),
    Statistic(name="simple_moving_average", unit="currency", compute=simple_moving_average),
    Statistic(name="exponential_moving_average", unit="currency", compute=exponential_moving_average),
    Statistic(name="drawdown", unit="1", compute=drawdown),
    Statistic(name="max_drawdown", unit="1", compute=max_drawdown),
)
