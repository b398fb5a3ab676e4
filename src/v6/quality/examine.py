"""Examines one trading date of a lake: runs every check on the rows of its table. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from v6.data import delta
from v6.data.coverage import COVERAGE, CoverageTable
from v6.data.futures_snapshots import FUTURES_SNAPSHOTS
from v6.data.lake import Lake
from v6.data.market_bars import MARKET_BARS
from v6.data.option_snapshots import OPTION_SNAPSHOTS
from v6.data.table_spec import TableSpec
from v6.quality.bar_checks import BAR_CHECKS
from v6.quality.check import FOUND, Check
from v6.quality.coverage_checks import COVERAGE_CHECKS
from v6.quality.futures_checks import FUTURES_CHECKS
from v6.quality.option_checks import OPTION_CHECKS

CHECKS: tuple[Check, ...] = (*OPTION_CHECKS, *FUTURES_CHECKS, *BAR_CHECKS, *COVERAGE_CHECKS)
EXAMINED = (OPTION_SNAPSHOTS.name, FUTURES_SNAPSHOTS.name, MARKET_BARS.name, COVERAGE.name)
FLAGS = pl.Schema({**FOUND, **dict.fromkeys(("table_name", "check", "action"), pl.String())})
BAR_HISTORY = timedelta(days=45)
UNUSED = ("local_symbol", "currency", "model_price", "pv_dividend", "market_data_type_requested", "market_data_type")


@dataclass(frozen=True, kw_only=True, slots=True)
class Examined:
    """What became of one date, of all symbols where ``symbol`` is empty. ``rows`` counts those looked at: table,
    symbol, rows. ``flags`` is a frame of FOUND with ``table_name``, ``check``, ``action`` and ``date``."""

    day: date
    symbol: str
    rows: pl.DataFrame
    flags: pl.DataFrame


def newest_day(lake: Lake, last: date, symbol: str = "") -> date | None:
    """The newest trading date up to ``last`` with chains, futures or bars, of a symbol when one is given; None where
    there is nothing. Raises LakeError."""
    days = [_newest_snapshot(lake, spec, last, symbol) for spec in (OPTION_SNAPSHOTS, FUTURES_SNAPSHOTS)]
    bars = lake.scan(MARKET_BARS).filter(pl.col("date") <= last, *_of(symbol))
    with lake.reading(MARKET_BARS.name):
        days.append(bars.select(pl.col("date").max()).collect().item())
    return max((day for day in days if day is not None), default=None)


def _newest_snapshot(lake: Lake, spec: TableSpec, last: date, symbol: str) -> date | None:
    days = sorted((day for day in _partition_days(lake, spec.name) if day <= last), reverse=True)
    if not symbol:
        return next(iter(days), None)
    rows = lake.scan(spec).filter(pl.col("symbol") == symbol)
    with lake.reading(spec.name):
        return next((d for d in days if not rows.filter(pl.col("date") == d).head(1).collect().is_empty()), None)


def _of(symbol: str) -> list[pl.Expr]:
    return [pl.col("symbol") == symbol] if symbol else []


def examine(lake: Lake, day: date, symbol: str = "") -> Examined:
    """Run every check on one trading date, of all symbols or of one. Raises LakeError."""
    looked, flags = [], [pl.DataFrame(schema=FLAGS)]
    for name in EXAMINED:
        with lake.reading(name):
            rows = _rows(lake, name, day).filter(*_of(symbol))
        of_day = rows.filter("day") if "day" in rows.columns else rows
        looked.append(of_day.group_by("symbol").agg(rows=pl.len().cast(pl.Int64)).with_columns(table_name=pl.lit(name)))
        flags += [_flags(check, rows) for check in CHECKS if check.table == name and not rows.is_empty()]
    counted = pl.concat(looked).select("table_name", "symbol", "rows").sort("table_name", "symbol")
    found = pl.concat(flags, how="diagonal").with_columns(date=pl.lit(day))
    return Examined(
        day=day, symbol=symbol, rows=counted, flags=found.sort("table_name", "check", "symbol", "timestamp", "con_id")
    )


def _flags(check: Check, rows: pl.DataFrame) -> pl.DataFrame:
    return check.find(rows).with_columns(
        table_name=pl.lit(check.table), check=pl.lit(check.name), action=pl.lit(str(check.action))
    )


def _rows(lake: Lake, name: str, day: date) -> pl.DataFrame:
    if name == COVERAGE.name:
        return CoverageTable(lake).current(first=day, last=day).collect()
    if name == MARKET_BARS.name:
        near = pl.col("date").is_between(day - BAR_HISTORY, day)
        return lake.scan(MARKET_BARS).filter(near).with_columns(day=pl.col("date") == day).collect()
    spec = OPTION_SNAPSHOTS if name == OPTION_SNAPSHOTS.name else FUTURES_SNAPSHOTS
    return lake.scan(spec).filter(pl.col("date") == day).drop(*UNUSED, strict=False).collect()


def _partition_days(lake: Lake, name: str) -> list[date]:
    return delta.partition_dates(lake.open(name)) if lake.exists(name) else []
