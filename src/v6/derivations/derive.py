"""Derives all statistics of one symbol on some trading dates, reading a lake and writing nothing.

The functions here are what an Executor of ``concurrent.futures`` runs: they and their arguments can be sent to another
process or machine. Whoever asked commits what comes back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from v6.data import delta
from v6.data.delta import Lake
from v6.data.futures_snapshots import FUTURES_SNAPSHOTS
from v6.data.market_bars import MARKET_BARS
from v6.data.option_snapshots import OPTION_SNAPSHOTS
from v6.derivations.bar_history import YEAR, BarHistory
from v6.derivations.catalogue import FROM_BARS
from v6.derivations.daily_bars import DAILY, daily_bars
from v6.derivations.market_beta import MARKET
from v6.derivations.values_frame import Row, frame_of, rows_of

HISTORY = timedelta(days=400)  # calendar days that hold 253 sessions


@dataclass(frozen=True, kw_only=True, slots=True)
class Derived:
    """Rows of ``derived_statistics`` without what the worker stamps."""

    statistics: pl.DataFrame


def derivable_days(lake: Lake, symbol: str, first: date | None = None, last: date | None = None) -> list[date]:
    """The trading dates first <= date <= last on which the lake has bars, options or futures of a symbol, sorted.

    Without ``first`` only the newest of them. Raises LakeError.
    """
    days = {*_bar_days(lake, symbol, first, last), *_snapshot_days(lake, symbol, first, last)}
    return sorted(days) if first is not None else sorted(days)[-1:]


def derive(lake: Lake, symbol: str, days: Sequence[date]) -> Derived:
    """Everything that can be derived of a symbol on these dates. Raises LakeError."""
    rows = list(_bar_rows(lake, symbol, days))
    return Derived(statistics=frame_of(rows))


def derive_all(
    lake: Lake, wanted: Sequence[tuple[str, Sequence[date]]], executor: Executor
) -> Iterator[tuple[str, Derived]]:
    """Derive several (symbol, dates) on an executor, each as it is reached, in the order given."""
    futures = [(symbol, executor.submit(derive, lake, symbol, days)) for symbol, days in wanted]
    for symbol, future in futures:
        yield symbol, future.result()


def _bar_rows(lake: Lake, symbol: str, days: Sequence[date]) -> Iterator[Row]:
    bars = daily_bars(lake, symbol, min(days) - HISTORY, max(days))
    if bars.is_empty():
        return
    market = bars if symbol == MARKET else daily_bars(lake, MARKET, min(days) - HISTORY, max(days))
    history = BarHistory.of(bars, market=None if market.is_empty() else market)
    instants = dict(bars.select("date", "timestamp").iter_rows())
    for position, day in enumerate(bars.sort("date")["date"].to_list()):
        if day in days:
            part = history.upto(position, sessions=YEAR + 1)
            yield from rows_of(FROM_BARS, part, symbol=symbol, day=day, at=instants[day])


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
