"""The implied volatilities of a symbol's last 252 sessions: as stored, else from the chains, else an index's closes."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
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
LOOK_BACK = timedelta(days=375)  # calendar days that hold 252 sessions


# What was computed from a date's files, by lake, symbol, date and files: the process that derives keeps it from one
# request to the next, so that a year whose volatilities are not stored yet is computed once.
_FROM_FILES: dict[tuple[str, str, date, frozenset[str]], float | None] = {}


class VolatilityHistory:
    """A symbol's volatilities at 30 days by date; what is not stored is computed from its chain, once."""

    def __init__(self, lake: Lake, symbol: str, first: date, last: date) -> None:
        """``first`` and ``last`` are the dates whose year is wanted. Raises LakeError."""
        self._lake = lake
        self._symbol = symbol
        self._known = _stored(lake, symbol, first - LOOK_BACK, last)
        self._files = _collected(lake, symbol, first - LOOK_BACK, last, besides=self._known)

    def note(self, day: date, iv: float | None) -> None:
        """Take a date's volatility that was just derived: it beats what is stored."""
        self._known[day] = iv

    def year(self, day: date, sessions: Sequence[date]) -> Floats:
        """The volatilities of the last 252 of ``sessions`` and collected dates up to a date; NaN where none is."""
        days = sorted({*sessions, *self._files, *self._known})
        days = [one for one in days if day - LOOK_BACK < one <= day][-YEAR:]
        return np.array([_number(self._on(one)) for one in days], dtype=np.float64)

    def _on(self, day: date) -> float | None:
        if day not in self._known and day in self._files:
            self._known[day] = self._from_files(day)
        return self._known.get(day)

    def _from_files(self, day: date) -> float | None:
        key = (self._lake.url, self._symbol, day, self._files[day])
        if key not in _FROM_FILES:
            _FROM_FILES[key] = _from_chain(self._lake, self._symbol, day)
        return _FROM_FILES[key]


def _from_chain(lake: Lake, symbol: str, day: date) -> float | None:
    """As ``iv_constant_maturity``."""
    chain = stored_chain(lake, symbol, day)
    return None if chain is None else at_tenor(chain.expiries, TENOR, money).iv


def index_year(closes: Mapping[date, float], day: date) -> Floats:
    """The closes of a volatility index over the last 252 of its sessions up to a date, as fractions."""
    days = sorted(one for one in closes if one <= day)[-YEAR:]
    return np.array([closes[one] / 100 for one in days], dtype=np.float64)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _stored(lake: Lake, symbol: str, first: date, last: date) -> dict[date, float | None]:
    rows = DerivedStatisticsTable(lake).current(symbol=symbol, statistic=STATISTIC, start=first, end=last)
    return dict(rows.filter(pl.col("tenor_days") == TENOR).select("date", "value").collect().iter_rows())


def _collected(
    lake: Lake, symbol: str, first: date, last: date, *, besides: Container[date]
) -> dict[date, frozenset[str]]:
    """The files of the dates on which the symbol's chain was collected, but of some dates."""
    if not lake.exists(OPTION_SNAPSHOTS.name):
        return {}
    table = lake.open(OPTION_SNAPSHOTS.name)
    rows = delta.scan_table(table).filter(pl.col("symbol") == symbol)
    found = {}
    for day, paths in delta.bounds_by_file(table, "symbol").group_by("date").agg("path").iter_rows():
        one, files = date.fromisoformat(str(day)), frozenset(paths)
        if not first <= one <= last or one in besides:
            continue
        known = (lake.url, symbol, one, files) in _FROM_FILES
        if known or rows.filter(pl.col("date") == one).select("date").head(1).collect().height:
            found[one] = files
    return found
