"""Derives all statistics of one symbol on some trading dates, reading a lake and writing nothing.

The functions here are what an Executor of ``concurrent.futures`` runs: they and their arguments can be sent to another
process or machine. Whoever asked commits what comes back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from v6.data import delta
from v6.data.futures_snapshots import FUTURES_SNAPSHOTS
from v6.data.lake import Lake
from v6.data.market_bars import MARKET_BARS
from v6.data.option_snapshots import OPTION_SNAPSHOTS
from v6.derivations import implied_ranks
from v6.derivations.bar_history import YEAR, BarHistory
from v6.derivations.catalogue import FROM_BARS, FROM_FUTURES, FROM_OPTIONS, FROM_SURFACE
from v6.derivations.chain import Chain
from v6.derivations.constant_maturity import at_tenor, money
from v6.derivations.daily_bars import DAILY, daily_bars
from v6.derivations.futures_curve import INDEX_OF, FuturesCurve
from v6.derivations.implied_ranks import VolatilityYear
from v6.derivations.market_beta import MARKET
from v6.derivations.realised_volatility import close_to_close
from v6.derivations.statistic import Inputs, Statistic
from v6.derivations.stored_chain import stored_chain
from v6.derivations.values_frame import Row, frame_of, rows_of
from v6.derivations.variance_index import index_at
from v6.derivations.vol_surface import fit_surface, surface_frame
from v6.derivations.volatility_year import TENOR, VOLATILITY_INDICES, VolatilityHistory, index_year

HISTORY = timedelta(days=400)  # calendar days that hold 253 sessions


@dataclass(frozen=True, kw_only=True, slots=True)
class Derived:
    """Rows of ``derived_statistics`` and ``vol_surfaces`` without what the worker stamps."""

    statistics: pl.DataFrame
    surfaces: pl.DataFrame


def derivable_days(lake: Lake, symbol: str, first: date | None = None, last: date | None = None) -> list[date]:
    """The trading dates first <= date <= last on which the lake has bars, options or futures of a symbol, sorted.

    Without ``first`` only the newest of them. Raises LakeError.
    """
    days = {*_bar_days(lake, symbol, first, last), *_snapshot_days(lake, symbol, first, last)}
    return sorted(days) if first is not None else sorted(days)[-1:]


def derive(lake: Lake, symbol: str, days: Sequence[date]) -> Derived:
    """Everything that can be derived of a symbol on these dates. Raises LakeError."""
    return _Derivation(lake, symbol, days).run()


def derive_all(
    lake: Lake, wanted: Sequence[tuple[str, Sequence[date]]], executor: Executor
) -> Iterator[tuple[str, Derived]]:
    """Derive several (symbol, dates) on an executor, each as it is reached, in the order given."""
    futures = [(symbol, executor.submit(derive, lake, symbol, days)) for symbol, days in wanted]
    for symbol, future in futures:
        yield symbol, future.result()


class _Derivation:
    """One symbol's dates. Dates are gone through in order; each is a pure function of its rows and its history."""

    def __init__(self, lake: Lake, symbol: str, days: Sequence[date]) -> None:
        self._lake = lake
        self._symbol = symbol
        self._days = sorted(days)
        first, last = self._days[0], self._days[-1]
        self._bars = daily_bars(lake, symbol, first - HISTORY, last).sort("date")
        self._sessions: list[date] = self._bars["date"].to_list()
        self._history = _with_market(lake, symbol, self._bars, first - HISTORY, last)
        self._volatilities = VolatilityHistory(lake, symbol, first, last)
        self._index_closes = _index_closes(lake, symbol, first, last)
        self._rows: list[Row] = []
        self._surfaces: list[pl.DataFrame] = []

    def run(self) -> Derived:
        for day in self._days:
            self._from_bars(day)
            self._from_options(day)
            self._from_futures(day)
        surfaces = pl.concat(self._surfaces) if self._surfaces else pl.DataFrame()
        return Derived(statistics=frame_of(self._rows), surfaces=surfaces)

    def _add(self, statistics: Sequence[Statistic[Inputs]], inputs: Inputs, day: date, at: datetime) -> None:
        self._rows += rows_of(statistics, inputs, symbol=self._symbol, day=day, at=at)

    def _from_bars(self, day: date) -> None:
        if self._history is None or day not in self._sessions:
            return
        position = self._sessions.index(day)
        at = self._bars["timestamp"][position]
        self._add(FROM_BARS, self._history.upto(position, sessions=YEAR + 1), day, at)
        if self._symbol in VOLATILITY_INDICES:
            closes = dict(zip(self._sessions, self._history.close.tolist(), strict=True))
            self._add(implied_ranks.RANKS, VolatilityYear(iv=index_year(closes, day)), day, at)

    def _from_options(self, day: date) -> None:
        chain = stored_chain(self._lake, self._symbol, day)
        if chain is None:
            return
        self._add(FROM_OPTIONS, chain, day, chain.at)
        surface = fit_surface(chain)
        self._surfaces.append(surface_frame(surface, symbol=self._symbol, day=day))
        self._add(FROM_SURFACE, surface, day, chain.at)
        self._add(implied_ranks.STATISTICS, self._volatility_year(chain, day), day, chain.at)

    def _volatility_year(self, chain: Chain, day: date) -> VolatilityYear:
        found = at_tenor(chain.expiries, TENOR, money)
        index = index_at(chain, TENOR)
        self._volatilities.note(day, found.iv)
        return VolatilityYear(
            iv=self._volatilities.year(day, self._sessions),
            index=index.value,
            realised=self._realised(day),
            why_not=found.why_not,
            doubts=found.quality,
            index_doubts=index.quality,
        )

    def _realised(self, day: date) -> float | None:
        """Close-to-close volatility of 20 sessions; None where it cannot be computed."""
        if self._history is None or day not in self._sessions:
            return None
        history = self._history.upto(self._sessions.index(day), sessions=YEAR + 1)
        values = {value.window_days: value.value for value in close_to_close(history)}
        return values[implied_ranks.REALISED_SESSIONS]

    def _from_futures(self, day: date) -> None:
        rows = self._lake.scan(FUTURES_SNAPSHOTS).filter(pl.col("date") == day, pl.col("symbol") == self._symbol)
        index_close = self._index_closes.get(day)
        curve = FuturesCurve.of(rows.collect(), day=day, symbol=self._symbol, index_close=index_close)
        if curve is not None:
            self._add(FROM_FUTURES, curve, day, curve.at)


def _with_market(lake: Lake, symbol: str, bars: pl.DataFrame, first: date, last: date) -> BarHistory | None:
    if bars.is_empty():
        return None
    market = bars if symbol == MARKET else daily_bars(lake, MARKET, first, last)
    return BarHistory.of(bars, market=None if market.is_empty() else market)


def _index_closes(lake: Lake, symbol: str, first: date, last: date) -> dict[date, float]:
    """The closes of the index that a future follows; none for anything else."""
    index = INDEX_OF.get(symbol)
    bars = pl.DataFrame() if index is None else daily_bars(lake, index, first, last)
    return {} if bars.is_empty() else dict(bars.select("date", "close").iter_rows())


def _bar_days(lake: Lake, symbol: str, first: date | None, last: date | None) -> list[date]:
    bars = lake.scan(MARKET_BARS).filter(pl.col("symbol") == symbol, pl.col("bar_size") == DAILY, pl.col("is_final"))
    within = bars.filter(*_within(first, last)).select("date").unique()
    days: list[date] = within.collect()["date"].to_list()
    return days


def _snapshot_days(lake: Lake, symbol: str, first: date | None, last: date | None) -> Iterator[date]:
    """Dates on which chains or futures of the symbol were collected, the newest first; without ``first`` only that."""
    for spec in (OPTION_SNAPSHOTS, FUTURES_SNAPSHOTS):
        if not lake.exists(spec.name):
            continue
        table = lake.open(spec.name)
        rows = delta.scan_table(table).filter(pl.col("symbol") == symbol)
        for day in sorted(set(delta.partition_dates(table)), reverse=True):
            is_within = (first is None or day >= first) and (last is None or day <= last)
            if is_within and rows.filter(pl.col("date") == day).head(1).select("date").collect().height:
                yield day
                if first is None:
                    break


def _within(first: date | None, last: date | None) -> list[pl.Expr]:
    bounds = [] if first is None else [pl.col("date") >= first]
    return bounds if last is None else [*bounds, pl.col("date") <= last]
