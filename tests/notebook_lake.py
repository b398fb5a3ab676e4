"""A small lake as the simulated market fills it: what the notebooks need to draw something."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from bench.known_surface import spoiled
from tests.simulated_chains import chain_rows, market, stored

from v6.data.coverage import CoverageRow, CoverageState, CoverageTable, Interval
from v6.data.derived_statistics import DerivedStatisticsTable
from v6.data.futures_snapshots import FuturesSnapshotsTable
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.lake import Lake
from v6.data.market_bars import MarketBarsTable
from v6.data.option_snapshots import OptionSnapshotsTable
from v6.data.quality_flags import QualityFlagsTable
from v6.data.quality_reports import QualityReportsTable
from v6.data.vol_surfaces import VolSurfacesTable
from v6.derivations.derive import derive
from v6.quality.report import report
from v6.simulator.instruments import ContractQuery

CLOSE = time(20, 45, tzinfo=UTC)
HISTORY = timedelta(days=120)


def fill(lake: Path, days: Sequence[date]) -> None:
    """Bars until the last date, chains and futures on each, and what is derived of them."""
    MarketBarsTable(lake).append(_bars(("SPY", "SPX"), days[0] - HISTORY, days[-1]))
    for number, day in enumerate(days):
        at = datetime.combine(day, CLOSE)
        chain = chain_rows("SPY", at, dte=range(5, 45), cycle=f"chain {day}")
        OptionSnapshotsTable(lake).append(stored(spoiled(chain, 0.02, seed=number), at))
        FuturesSnapshotsTable(lake).append(_futures("ES", at))
    _derive(lake, days)
    _ledger(lake, days)
    asyncio.run(IBRequestQueue(Lake(lake)).insert(request_type="option_chain", symbol="SPY"))


def _bars(symbols: Sequence[str], first: date, last: date) -> pl.DataFrame:
    return pl.DataFrame([row for symbol in symbols for row in _daily(symbol, first, last)], infer_schema_length=None)


def _daily(symbol: str, first: date, last: date) -> Iterator[dict[str, Any]]:
    for back in range((last - first).days + 1):
        day = first + timedelta(days=back)
        bar = market().daily_bar(symbol, day)
        if bar is None:
            continue
        at = datetime.combine(day, time(), UTC)
        yield {
            "timestamp": at, "date": day, "symbol": symbol, "con_id": len(symbol) + ord(symbol[-1]),
            "sec_type": "IND" if symbol == "SPX" else "STK", "bar_size": "1 day", "what_to_show": "TRADES",
            "regular_hours": True, "open": bar.open, "high": bar.high, "low": bar.low, "close": bar.close,
            "volume": float(bar.volume), "is_final": True, "request_id": "simulated", "known_at": at,
        }  # fmt: skip


def _futures(symbol: str, at: datetime) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for future in market().find(ContractQuery(symbol=symbol, sec_type="FUT"), at):
        shown = market().snapshot(future, at)
        rows.append(
            {
                "timestamp": at, "date": at.date(), "symbol": symbol, "con_id": future.con_id, "expiry": future.expiry,
                "contract_month": f"{future.expiry:%Y%m}", "is_front_month": not rows, "bid": shown.bid,
                "ask": shown.ask, "last": shown.last, "volume": float(shown.volume or 0), "multiplier": 50.0,
                "market_data_type_requested": "live", "market_data_type": "live", "cycle": f"futures {at.date()}",
                "request_id": "simulated", "known_at": at,
            }
        )  # fmt: skip
    return pl.DataFrame(rows, infer_schema_length=None)


def _derive(lake: Path, days: Sequence[date]) -> None:
    stamps = {"request_id": pl.lit("derived"), "known_at": pl.lit(datetime.combine(days[-1], CLOSE))}
    for symbol in ("SPY", "ES"):
        dates = [*_sessions(days[0] - HISTORY, days[0]), *days] if symbol == "SPY" else days
        found = derive(Lake(lake), symbol, dates)
        DerivedStatisticsTable(lake).append(found.statistics.with_columns(**stamps))
        if found.surfaces.height:
            VolSurfacesTable(lake).append(found.surfaces.with_columns(**stamps))
    for day in days:
        tables = report(Lake(lake), day, datetime.combine(day, CLOSE))
        for table in (QualityFlagsTable(lake), QualityReportsTable(lake)):
            table.append(tables[table.spec.name].with_columns(**stamps))


def _sessions(first: date, last: date) -> list[date]:
    days = (first + timedelta(days=back) for back in range((last - first).days))
    return [day for day in days if market().daily_bar("SPY", day) is not None]


def _ledger(lake: Path, days: Sequence[date]) -> None:
    states = (CoverageState.FETCHED, CoverageState.FETCHED, CoverageState.FAILED)
    rows = [
        CoverageRow(interval=_interval(day, hour), state=states[hour % 3] if day == days[-1] else states[0])
        for day in days
        for hour in range(15, 20)
    ]
    CoverageTable(lake).record(rows)


def _interval(day: date, hour: int) -> Interval:
    start = datetime.combine(day, time(hour), UTC)
    return Interval(
        request_type="option_chain", symbol="SPY", series="all", timestamp=start,
        interval_end=start + timedelta(hours=1), date=day,
    )  # fmt: skip
