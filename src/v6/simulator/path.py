"""Prices second by second between an open, a high, a low and a close: a seeded bridge that touches all four."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from v6.simulator.history import FloatArray, IntArray

_NOISE = 0.6  # standard deviation of the free walk over the whole stretch, in ranges


@dataclass(frozen=True, kw_only=True, slots=True)
class DayPath:
    """One session: prices in ticks from the UTC second ``start`` on; ``volume[k]`` has traded before second k."""

    start: int
    prices: IntArray
    highs: IntArray  # so far
    lows: IntArray
    volume: IntArray  # one longer than prices

    @property
    def end(self) -> int:
        """The first UTC second after the session."""
        return self.start + len(self.prices)

    def offset(self, second: int) -> int:
        """The index of the price in force at a UTC second, the nearest one outside the session."""
        return min(max(second - self.start, 0), len(self.prices) - 1)


def assemble(start: int, prices: IntArray, volume: IntArray) -> DayPath:
    """A path with its running extremes."""
    highs, lows = np.maximum.accumulate(prices), np.minimum.accumulate(prices)
    return DayPath(start=start, prices=prices, highs=highs, lows=lows, volume=volume)


def bridge(ohlc: tuple[int, int, int, int], seconds: int, random: np.random.Generator) -> IntArray:
    """``seconds`` prices in whole ticks: the first is the open, the last the close, the extremes high and low."""
    first, high, low, last = ohlc
    high_at, low_at = _extremes(ohlc, seconds, random)
    anchors = {0: first, seconds - 1: last} | {high_at: high} | {low_at: low}
    times = np.array(sorted(anchors))
    values = np.array([anchors[int(moment)] for moment in times])
    return _walk(times, values, (low, high), random)


def _extremes(ohlc: tuple[int, int, int, int], seconds: int, random: np.random.Generator) -> tuple[int, int]:
    first, high, low, last = ohlc
    drawn = random.choice(np.arange(1, seconds - 1), size=2, replace=False, shuffle=False)
    ends = {last: seconds - 1} | {first: 0}
    return ends.get(high, int(drawn[0])), ends.get(low, int(drawn[1]))


def _walk(times: IntArray, values: IntArray, bounds: tuple[int, int], random: np.random.Generator) -> IntArray:
    low, high = bounds
    seconds = int(times[-1]) + 1
    span = high - low
    if span == 0:
        return np.full(seconds, low, dtype=np.int64)
    moments = np.arange(seconds)
    walk = np.cumsum(random.standard_normal(seconds)) * (_NOISE * span / np.sqrt(seconds))
    free = np.interp(moments, times, values) + walk - np.interp(moments, times, walk[times])
    folded = low + span - np.abs(span - np.mod(free - low, 2 * span))
    prices = np.clip(np.rint(folded), low, high).astype(np.int64)
    prices[times] = values
    return prices


def spread_volume(total: int, seconds: int, random: np.random.Generator) -> IntArray:
    """Traded before each second, from 0 to ``total``: busy at both ends of the day, quiet in the middle."""
    position = np.linspace(-1.0, 1.0, seconds)
    weights: FloatArray = (1 + 2 * position**2) * random.standard_exponential(seconds)
    volume = np.zeros(seconds + 1, dtype=np.int64)
    running = np.cumsum(weights)
    volume[1:] = np.floor(total * (running / running[-1]))
    volume[-1] = total
    return volume
