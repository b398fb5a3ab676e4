"""Which partitions suit option_snapshots: writes synthetic days in the worker's batches and reads them back.

Each candidate gets the same rows in the same commits of at most 500 contracts of one symbol, is read, compacted as the
daemon does it, and read again. ``--rows 650000`` is a full day; the default is a twentieth. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from v6.clock import Clock
from v6.data import delta
from v6.data.lake import Lake
from v6.data.option_snapshots import OPTION_SNAPSHOTS
from v6.data.table_spec import Column, TableSpec

CHAIN = {"SPY": 2400, "QQQ": 1800, "IWM": 1200}  # contracts of one cycle
PART = 500
REPEATS = 7
FIRST_DAY = date(2026, 11, 23)
CLOCK = Clock()


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way to lay out the table."""

    name: str
    spec: TableSpec


def candidates() -> list[Candidate]:
    """By date, by date and symbol, by month, and in one folder."""
    month = Column(name="month", dtype=pl.String, description="YYYY-MM of the trading date")
    spec = OPTION_SNAPSHOTS
    by_month = replace(spec, columns=(*spec.columns, month), partition_by=("month",))
    return [
        Candidate(name="date", spec=spec),
        Candidate(name="date+symbol", spec=replace(spec, partition_by=("date", "symbol"))),
        Candidate(name="month", spec=by_month),
        Candidate(name="none", spec=replace(spec, partition_by=())),
    ]


def day_of_parts(day: date, rows: int, seed: int) -> Iterator[pl.DataFrame]:
    """One day's rows as the worker appends them: cycle after cycle, parts of at most 500 contracts of one symbol."""
    random = np.random.default_rng(seed)
    opened = datetime(day.year, day.month, day.day, 14, 30, tzinfo=UTC)
    for cycle in range(max(1, rows // sum(CHAIN.values()))):
        at = opened + timedelta(minutes=3 * cycle)
        for symbol, contracts in CHAIN.items():
            for first in range(0, contracts, PART):
                yield _part(random, symbol, range(first, min(first + PART, contracts)), contracts, at)


def _part(random: np.random.Generator, symbol: str, numbers: range, contracts: int, at: datetime) -> pl.DataFrame:
    count = len(numbers)
    index = np.asarray(numbers)
    mid = np.round(random.lognormal(1.5, 1.2, count), 2)
    sizes = {name: random.integers(1, 900, count).astype(float) for name in ("bid_size", "ask_size", "last_size")}
    greeks = {name: random.normal(0, 1, count) for name in ("iv", "delta", "gamma", "theta", "vega", "model_price")}
    instants = [at + timedelta(milliseconds=40 * int(n)) for n in index]
    columns = {
        "timestamp": instants,
        "con_id": index + 1_000_000 * (list(CHAIN).index(symbol) + 1),
        "expiry": [FIRST_DAY + timedelta(days=7 * int(n // 200 + 1)) for n in index],
        "strike": 500.0 + index % 200 // 2,
        "right": np.where(index % 2 == 0, "C", "P"),
        "bid": mid - 0.01,
        "ask": mid + 0.01,
        "last": mid,
        "bid_at": instants,
        "ask_at": instants,
        "last_at": instants,
        "volume": random.integers(0, 20_000, count).astype(float),
        "open_interest": random.integers(0, 50_000, count).astype(float),
        **sizes,
        **greeks,
    }
    constants = {
        "symbol": symbol,
        "greeks_source": "model",
        "underlying_price": 600.0 + float(random.normal(0, 1)),
        "multiplier": 100.0,
        "trading_class": symbol,
        "exchange": "SMART",
        "currency": "USD",
        "market_data_type_requested": "live",
        "market_data_type": "live",
        "cycle": f"{symbol} {at.isoformat()}",
        "cycle_contracts": contracts,
        "request_id": f"{symbol}-{at.isoformat()}",
        "known_at": at + timedelta(seconds=60),
        "date": at.date(),
    }
    return pl.DataFrame(columns).with_columns(pl.lit(value).alias(name) for name, value in constants.items())


def fill(lake: Lake, spec: TableSpec, *, rows: int, days: int) -> tuple[int, float]:
    """Write the days; how many rows, and the seconds it took to append them."""
    table, written, seconds = lake.ensure(spec), 0, 0.0
    for number in range(days):
        for part in day_of_parts(FIRST_DAY + timedelta(days=number), rows, seed=number):
            frame = part.with_columns(month=pl.col("date").dt.strftime("%Y-%m")) if "month" in spec.schema else part
            started = CLOCK.machine_monotonic()
            delta.append(table, spec.conform(frame))
            seconds += CLOCK.machine_monotonic() - started
            written += part.height
    return written, seconds


def latest_chain(lake: Lake, spec: TableSpec, day: date) -> pl.DataFrame:
    """The last cycle of SPY, as the table's reader finds it."""
    rows = delta.scan_table(lake.open(spec.name)).filter(_on(spec, day), pl.col("symbol") == "SPY")
    cycles = rows.group_by("cycle").agg(began=pl.col("known_at").min()).sort("began", "cycle").tail(1).collect()
    return rows.filter(pl.col("cycle") == cycles["cycle"].item()).collect()


def one_contract(lake: Lake, spec: TableSpec, day: date) -> pl.DataFrame:
    """One contract's rows of one day in time order."""
    rows = delta.scan_table(lake.open(spec.name)).filter(_on(spec, day), pl.col("con_id") == 1_000_777)
    return rows.sort("timestamp").collect()


def _on(spec: TableSpec, day: date) -> pl.Expr:
    on_day = pl.col("date") == day
    return on_day & (pl.col("month") == day.strftime("%Y-%m")) if "month" in spec.schema else on_day


def milliseconds(read: Callable[[], pl.DataFrame]) -> float:
    """The median time of a read that brings rows."""
    times = []
    for _ in range(REPEATS):
        started = CLOCK.machine_monotonic()
        assert read().height
        times.append(CLOCK.machine_monotonic() - started)
    return round(1000 * statistics.median(times), 1)


def reading(lake: Lake, spec: TableSpec, last_day: date) -> dict[str, float]:
    """Files, size and the two reads of the table as it lies now."""
    paths = [Path(uri) for uri in lake.open(spec.name).file_uris()]
    return {
        "files": len(paths),
        "megabytes": round(sum(path.stat().st_size for path in paths) / 1e6, 1),
        "latest_chain_ms": milliseconds(lambda: latest_chain(lake, spec, last_day)),
        "one_contract_ms": milliseconds(lambda: one_contract(lake, spec, last_day)),
    }


def measure(candidate: Candidate, *, rows: int, days: int) -> dict[str, object]:
    """Write, read, compact, read again."""
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(folder)
        written, seconds = fill(lake, candidate.spec, rows=rows, days=days)
        last_day = FIRST_DAY + timedelta(days=days - 1)
        fresh = reading(lake, candidate.spec, last_day)
        started = CLOCK.machine_monotonic()
        lake.open(candidate.spec.name).optimize.compact()
        compacting = CLOCK.machine_monotonic() - started
        compacted = reading(lake, candidate.spec, last_day)
    return {
        "partitions": candidate.name,
        "rows": written,
        "rows_per_second": round(written / seconds),
        "compact_seconds": round(compacting, 2),
        "as_written": fresh,
        "compacted": compacted,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=32_400, help="rows a day")
    parser.add_argument("--days", type=int, default=2, help="days written")
    parser.add_argument("--only", nargs="+", help="candidates to measure; all when absent")
    options = parser.parse_args()
    print(f"{'partitions':<12} {'rows/s':>8} {'':>12} {'files':>6} {'MB':>7} {'latest ms':>10} {'contract ms':>12}")
    results = []
    chosen = [candidate for candidate in candidates() if candidate.name in (options.only or [candidate.name])]
    for candidate in chosen:
        result = measure(candidate, rows=options.rows, days=options.days)
        for state in ("as_written", "compacted"):
            figures = result[state]
            assert isinstance(figures, dict)
            print(
                f"{candidate.name:<12} {result['rows_per_second']:>8} {state:>12} {figures['files']:>6} "
                f"{figures['megabytes']:>7} {figures['latest_chain_ms']:>10} {figures['one_contract_ms']:>12}",
                flush=True,
            )
        results.append(result)
    print(json.dumps({"benchmark": "partitions", "rows_a_day": options.rows, "days": options.days, "results": results}))


if __name__ == "__main__":
    main()
