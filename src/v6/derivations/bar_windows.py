"""Runs a formula over the last so many sessions of daily bars, with one rule for what makes it null."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from v6.derivations.bar_history import BarHistory
from v6.derivations.statistic import Value, finite, joined

Formula = Callable[[BarHistory], float]


def over_windows(
    bars: BarHistory, windows: Sequence[int], formula: Formula, *, before: int = 0, uses_open: bool = False
) -> Iterator[Value]:
    """The formula over each window; ``before`` are sessions that it needs ahead of the window."""
    for window in windows:
        yield over_window(bars, window, formula, before=before, uses_open=uses_open)


def over_window(bars: BarHistory, window: int, formula: Formula, *, before: int, uses_open: bool) -> Value:
    """The formula over the last ``window`` sessions and ``before`` more ahead of them."""
    needed = window + before
    if len(bars) < needed:
        text = f"{len(bars)} of {needed} sessions that it needs are stored"
        return Value(value=None, observations=len(bars), quality=text, window_days=window)
    part = bars.last(needed)
    if part.obstacle:
        return Value(value=None, observations=needed, quality=part.obstacle, window_days=window)
    notes = bars.last(window + 1).open_doubts if uses_open else ""
    return finite(formula(part), needed, joined(part.doubts, notes), window_days=window)
