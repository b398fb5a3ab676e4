"""Daily prices and intraday paths of every product: the history, mixed, scaled and rounded to the tick."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, lru_cache

import numpy as np

from v6.simulator.calendar import Sessions, new_york_second
from v6.simulator.history import CLOSE, HIGH, LOW, MICRO, OPEN, FloatArray, History, IntArray, generator
from v6.simulator.path import DayPath, assemble, bridge, spread_volume
from v6.simulator.universe import Product

_RECENT_PATHS = 96
_NOISE_MEMORY = 0.999  # of a stock's own drift, from session to session


@dataclass(frozen=True, kw_only=True, slots=True)
class Daily:
    """All sessions of one product: ``[open, high, low, close] x session`` in ticks, and what traded."""

    ticks: IntArray
    volume: IntArray

    def ohlc(self, position: int) -> tuple[int, int, int, int]:
        """One session's open, high, low and close in ticks."""
        first, high, low, last = self.ticks[:, position].tolist()
        return first, high, low, last


class Prices:
    """What every product costs at every second, from history and a seed alone."""

    def __init__(self, sessions: Sessions, history: History, seed: int) -> None:
        self.sessions = sessions
        self.history = history
        self._seed = seed
        self.daily = lru_cache(maxsize=None)(self._daily)
        self.path = lru_cache(maxsize=_RECENT_PATHS)(self._path)

    def _daily(self, product: Product) -> Daily:
        if product.symbol == "VIX":
            ticks = self._vix_ticks
        elif product.noise:
            ticks = self._noisy_ticks(product)
        else:
            ticks = mix_ticks(product, self.history)
        volume = self.history.spx_volume if product.volume_of == "SPX" else self.history.comp_volume
        return Daily(ticks=ticks, volume=volume // product.volume_divisor if product.volume_divisor else volume * 0)

    @cached_property
    def _vix_ticks(self) -> IntArray:
        """It opens at the close before; the extremes lie 2 % outside of open and close."""
        closes = self.history.vix
        opens = np.concatenate([closes[:1], closes[:-1]])
        highs, lows = np.maximum(opens, closes) * 1.02, np.minimum(opens, closes) * 0.98
        return np.rint(np.asarray([opens, highs, lows, closes]) * 100).astype(np.int64)

    def _noisy_ticks(self, product: Product) -> IntArray:
        points = np.asarray(self.history.spx * float(product.spx) + self.history.comp * float(product.comp)) / MICRO
        drift = self._drift(product)
        before = np.concatenate([drift[:1], drift[:-1]])
        shifts = np.asarray([before, np.maximum(before, drift), np.minimum(before, drift), drift])
        ticks = np.floor(points * np.exp(shifts) / float(product.tick) + 0.5)
        return np.maximum(ticks, 1).astype(np.int64)

    def _drift(self, product: Product) -> FloatArray:
        """A stock's own logarithmic drift: it forgets slowly, and is 0 at the epoch."""
        shocks = generator(self._seed, "noise", product.symbol).standard_normal(len(self.sessions)) * product.noise
        level, levels = 0.0, []
        for shock in shocks.tolist():
            level = _NOISE_MEMORY * level + shock
            levels.append(level)
        drift = np.asarray(levels)
        return drift - drift[self.history.epoch]

    def _path(self, product: Product, position: int) -> DayPath:
        return self._globex_path(product, position) if product.sec_type == "FUT" else self._regular(product, position)

    def _regular(self, product: Product, position: int) -> DayPath:
        daily = self.daily(product)
        start = self.sessions.opens[position]
        seconds = self.sessions.closes[position] - start
        random = generator(self._seed, product.mover, "path", position)
        prices = bridge(daily.ohlc(position), seconds, random)
        return assemble(start, prices, spread_volume(int(daily.volume[position]), seconds, random))

    def _globex_path(self, product: Product, position: int) -> DayPath:
        """From 18:00 the evening before: to the open, the regular session, and on to the close of Globex."""
        regular = self._regular(product, position)
        start, end = self.globex_hours(position)
        daily = self.daily(product)
        first, high, low, last = daily.ohlc(position)
        before = int(daily.ticks[CLOSE, max(0, position - 1)])
        random = generator(self._seed, product.mover, "globex", position)
        night_range = (before, max(high, before), min(low, before), first)
        night = _calm_bridge(night_range, regular.start - start, random)
        evening = _calm_bridge((last, high, low, last), end - regular.end, random)
        night_volume = spread_volume(int(daily.volume[position]) // 8, len(night), random)
        evening_volume = spread_volume(int(daily.volume[position]) // 40, len(evening), random)
        day_volume = regular.volume + night_volume[-1]
        volume = np.concatenate([night_volume[:-1], day_volume[:-1], evening_volume + day_volume[-1]])
        return assemble(start, np.concatenate([night, regular.prices, evening]), volume)

    def globex_hours(self, position: int) -> tuple[int, int]:
        """UTC seconds between which futures trade for a session: to 17:00, on half days for 15 minutes after it."""
        day = self.sessions.dates[position]
        end = new_york_second(day, 17)
        if self.sessions.closes[position] < new_york_second(day, 16):
            end = self.sessions.closes[position] + 900
        return new_york_second(day - timedelta(days=1), 18), end


def _calm_bridge(ohlc: tuple[int, int, int, int], seconds: int, random: np.random.Generator) -> IntArray:
    """A bridge that keeps within a quarter of the range around its ends, and so inside the range."""
    first, high, low, last = ohlc
    room = (high - low) // 4
    top, bottom = min(high, max(first, last) + room), max(low, min(first, last) - room)
    return bridge((first, top, bottom, last), seconds, random)


def mix_ticks(product: Product, history: History) -> IntArray:
    """The mix of both indices in whole ticks: exact arithmetic on millionths of a point, halves rounded up."""
    denominator = math.lcm(product.spx.denominator, product.comp.denominator)
    spx, comp = int(product.spx * denominator), int(product.comp * denominator)
    unit = int(product.tick * denominator * MICRO)
    ticks: IntArray = (2 * (history.spx * spx + history.comp * comp) + unit) // (2 * unit)
    return np.maximum(ticks, 1)


__all__ = ["CLOSE", "HIGH", "LOW", "OPEN", "Daily", "Prices", "mix_ticks"]
