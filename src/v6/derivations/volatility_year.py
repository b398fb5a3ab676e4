"""The implied volatilities of a symbol's last 252 sessions: as stored, else from the chains, else an index's closes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import numpy as np
import polars as pl

from v6.data import delta
from v6.data.derived_statistics import DerivedStatisticsTable
from v6.data.lake import Lake
from v6.data.option_snapshots import OPTION_SNAPSHOTS
from v6.derivations.bar_history import YEAR
from v6.derivations.constant_maturity import at_tenor, money
from v6.derivations.implied_ranks import Floats
from v6.derivations.stored_chain import stored_chain

# Indices whose closes are an implied volatility in percent.
VOLATILITY_INDICES = frozenset({"VIX", "VXN", "RVX", "VXD", "VIX9D", "VIX3M", "VIX6M", "VIX1Y", "GVZ", "OVX", "VXEEM"})
STATISTIC, TENOR = "iv_constant_maturity", 30
EXPIRY_DAYS = (7, 90)  # of the expiries that a volatility at 30 days is looked for between
LOOK_BACK = timedelta(days=375)  # calendar days that hold 252 sessions


class VolatilityHistory:
    """A symbol's volatilities at 30 days by date; what is not stored is computed from its chain, once."""

    def __init__(self, lake: Lake, symbol: str, first: date, last: date) -> None:
        """``first`` and ``last`` are the dates whose year is wanted. Raises LakeError."""
        self._lake = lake
        self._symbol = symbol
        self._stored = _stored(lake, symbol, first - LOOK_BACK, last)
        self._collected = _collected(lake, symbol, first - LOOK_BACK, last)
        self._computed: dict[date, float | None] = {}

    def note(self, day: date, iv: float | None) -> None:
        """Take a date's volatility that was just derived: it beats what is stored."""
        self._computed[day] = iv

    def year(self, day: date, sessions: Sequence[date]) -> Floats:
        """The volatilities of the last 252 of ``sessions`` and collected dates up to a date; NaN where none is."""
        days = sorted({*sessions, *self._collected})
        days = [one for one in days if day - LOOK_BACK < one <= day][-YEAR:]
        return np.array([_number(self._on(one)) for one in days], dtype=np.float64)

    def _on(self, day: date) -> float | None:
        if day in self._computed:
            return self._computed[day]
        if day not in self._collected:
            return None
        self._computed[day] = self._stored[day] if day in self._stored else self._from_chain(day)
        return self._computed[day]

    def _from_chain(self, day: date) -> float | None:
        near, far = (day + timedelta(days=days) for days in EXPIRY_DAYS)
        chain = stored_chain(self._lake, self._symbol, day, first_expiry=near, last_expiry=far)
        return None if chain is None else at_tenor(chain.with_smile, TENOR, money).iv


def index_year(closes: Mapping[date, float], day: date) -> Floats:
    """The closes of a volatility index over the last 252 of its sessions up to a date, as fractions."""
    days = sorted(one for one in closes if one <= day)[-YEAR:]
    return np.array([closes[one] / 100 for one in days], dtype=np.float64)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _stored(lake: Lake, symbol: str, first: date, last: date) -> dict[date, float | None]:
    rows = DerivedStatisticsTable(lake).current(symbol=symbol, statistic=STATISTIC, start=first, end=last)
    return dict(rows.filter(pl.col("tenor_days") == TENOR).select("date", "value").collect().iter_rows())


def _collected(lake: Lake, symbol: str, first: date, last: date) -> set[date]:
    """The dates on which the symbol's chain was collected."""
    if not lake.exists(OPTION_SNAPSHOTS.name):
        return set()
    table = lake.open(OPTION_SNAPSHOTS.name)
    rows = delta.scan_table(table).filter(pl.col("symbol") == symbol)
    days = {day for day in delta.partition_dates(table) if first <= day <= last}
    return {day for day in days if rows.filter(pl.col("date") == day).head(1).select("date").collect().height}
