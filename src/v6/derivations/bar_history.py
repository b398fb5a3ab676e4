"""The daily bars of one symbol up to a date, as arrays, and what is doubtful about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from v6.derivations.sound import sound_prices
from v6.derivations.statistic import joined

YEAR = 252  # sessions
GAP_DAYS = 5  # calendar days between two sessions that a long weekend explains
REPEATED_SHARE = 0.05  # of opens that equal the close before; chance alone gives fewer
PRICES = ("open", "high", "low", "close")

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class BarHistory:
    """Daily bars, oldest first; the last one is the date's own. Prices in currency."""

    days: npt.NDArray[np.datetime64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    market: MarketCloses | None = None

    @classmethod
    def of(cls, bars: pl.DataFrame, *, market: pl.DataFrame | None = None) -> Self:
        """From frames with date, open, high, low, close, one row a date (of several the last); ``market`` is the index
        that beta is to."""
        ordered = bars.drop_nulls("date").unique("date", keep="last").sort("date")
        prices = {name: sound_prices(ordered[name].cast(pl.Float64).to_numpy()) for name in PRICES}
        closes = None if market is None else MarketCloses.of(market)
        return cls(days=ordered["date"].to_numpy(), market=closes, **prices)

    def __len__(self) -> int:
        return len(self.days)

    @property
    def day(self) -> date:
        """The date that the history ends with."""
        last: date = self.days[-1].astype("datetime64[D]").item()
        return last

    def upto(self, position: int, *, sessions: int) -> BarHistory:
        """At most so many sessions, ending with the one at a position."""
        part = slice(max(0, position + 1 - sessions), position + 1)
        prices = {name: getattr(self, name)[part] for name in PRICES}
        return BarHistory(days=self.days[part], market=self.market, **prices)

    def last(self, sessions: int) -> BarHistory:
        """The last so many sessions."""
        return self.upto(len(self) - 1, sessions=sessions)

    @cached_property
    def obstacle(self) -> str:
        """Why nothing can be computed from these bars; empty when something can."""
        prices = np.stack([self.open, self.high, self.low, self.close])
        bad = ~np.all(np.isfinite(prices), axis=0)
        return f"the bar of {self.days[bad][0]} has a price that is missing or not positive" if bad.any() else ""

    @cached_property
    def doubts(self) -> str:
        """What limits any value from these bars: gaps, and bars whose range leaves out their open or close."""
        return joined(self._gap(), self._inconsistent())

    @cached_property
    def open_doubts(self) -> str:
        """What limits values that use opens: sources that repeat the close before as the open."""
        if len(self) < 2:
            return ""
        repeated, sessions = int(np.sum(self.open[1:] == self.close[:-1])), len(self) - 1
        is_much = repeated > REPEATED_SHARE * sessions
        return f"{repeated} of {sessions} opens equal the close before" if is_much else ""

    def _gap(self) -> str:
        steps = np.diff(self.days.astype("datetime64[D]")).astype(int)
        if not len(steps) or steps.max() <= GAP_DAYS:
            return ""
        return f"a gap of {steps.max()} days before {self.days[1:][steps.argmax()]}"

    def _inconsistent(self) -> str:
        bad = (self.high < np.maximum(self.open, self.close)) | (self.low > np.minimum(self.open, self.close))
        return f"{bad.sum()} bars have an open or close outside of their range" if bad.any() else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class MarketCloses:
    """Closes of the symbol that stands for the market, by day."""

    by_day: dict[date, float]

    @classmethod
    def of(cls, bars: pl.DataFrame) -> Self:
        """From a frame with date and close."""
        known = bars.drop_nulls(["date", "close"])
        closes = sound_prices(known["close"].cast(pl.Float64).to_numpy())
        return cls(by_day=dict(zip(known["date"].to_list(), closes.tolist(), strict=True)))

    def on(self, days: npt.NDArray[np.datetime64]) -> Floats:
        """The closes of those days, NaN where there is none."""
        wanted = days.astype("datetime64[D]").tolist()
        return np.array([self.by_day.get(day, np.nan) for day in wanted], dtype=np.float64)
