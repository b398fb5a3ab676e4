"""The implied volatilities of a symbol's last 252 sessions: as stored, else from the chains, else an index's closes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import numpy as np
import polars as pl

from v6.data import delta
from v6.data.delta import DeltaTable
from v6.data.derived_statistics import DerivedStatisticsTable
from v6.data.lake import Lake
from v6.data.option_snapshots import OPTION_SNAPSHOTS
from v6.derivations.bar_history import YEAR
from v6.derivations.constant_maturity import at_tenor, money
from v6.derivations.implied_ranks import Floats
from v6.derivations.stored_chain import chain_of

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
        self._chains = lake.opened_whole(OPTION_SNAPSHOTS.name) if lake.exists(OPTION_SNAPSHOTS.name) else None
        self._files = self._collected(first - LOOK_BACK, last)

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
            _FROM_FILES[key] = self._from_chain(day)
        return _FROM_FILES[key]

    def _from_chain(self, day: date) -> float | None:
        """As ``iv_constant_maturity``, from the version of the table whose files are known."""
        if self._chains is None:
            return None
        chain = chain_of(self._lake.scan_opened(OPTION_SNAPSHOTS, self._chains), self._symbol, day)
        return None if chain is None else at_tenor(chain.expiries, TENOR, money).iv

    def _collected(self, first: date, last: date) -> dict[date, frozenset[str]]:
        """The files of the dates on which the symbol's chain was collected and whose volatility is not stored."""
        if self._chains is None:
            return {}
        rows = delta.scan_table(self._chains).filter(pl.col("symbol") == self._symbol)
        found = {}
        for day, files in _files_by_day(self._chains, self._symbol).items():
            if not first <= day <= last or day in self._known:
                continue
            known = (self._lake.url, self._symbol, day, files) in _FROM_FILES
            if known or rows.filter(pl.col("date") == day).select("date").head(1).collect().height:
                found[day] = files
        return found


def index_year(closes: Mapping[date, float], day: date) -> Floats:
    """The closes of a volatility index over the last 252 of its sessions up to a date, as fractions."""
    days = sorted(one for one in closes if one <= day)[-YEAR:]
    return np.array([closes[one] / 100 for one in days], dtype=np.float64)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _stored(lake: Lake, symbol: str, first: date, last: date) -> dict[date, float | None]:
    rows = DerivedStatisticsTable(lake).current(symbol=symbol, statistic=STATISTIC, start=first, end=last)
    return dict(rows.filter(pl.col("tenor_days") == TENOR).select("date", "value").collect().iter_rows())


def _files_by_day(table: DeltaTable, symbol: str) -> dict[date, frozenset[str]]:
    """The files of each date that may have rows of a symbol, by the bounds in the log."""
    may_have = ((pl.col("least") <= symbol) & (pl.col("greatest") >= symbol)).fill_null(True)
    files = delta.bounds_by_file(table, "symbol").filter(may_have).group_by("date").agg("path")
    return {day: frozenset(paths) for day, paths in files.iter_rows()}
