"""Rows a second that each result table takes, in batches as the worker appends them: prepared, sorted, one commit each.

    python bench/bench_append.py [--batches 60]

The rows are made up, a value for every column. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl

from v6.clock import Clock
from v6.data.lake import Lake
from v6.data.table import tables
from v6.data.table_spec import TableSpec

CLOCK = Clock()
START = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
# What lands at once: a part of a chain, futures that finished together, a page of bars, an account's positions, a day.
BATCHES = {
    "option_snapshots": 500,
    "futures_snapshots": 3,
    "market_bars": 390,
    "position_updates": 20,
    "derived_statistics": 50,
}


@dataclass(frozen=True, kw_only=True)
class Result:
    """One table's figures; times of one append in milliseconds."""

    rows: int
    rows_per_second: int
    append_ms_median: float
    append_ms_max: float


def column(dtype: pl.DataType, count: int, batch: int, random: np.random.Generator) -> pl.Series:
    """Values of a type, different in every batch where the type allows."""
    if dtype == pl.Date:
        return pl.Series([date(2026, 11, 23)] * count)
    if dtype == pl.Boolean:
        return pl.Series([True] * count)
    if dtype == pl.String:
        return pl.Series([f"batch {batch}"] * count)
    if dtype.is_integer():
        return pl.Series(np.arange(count), dtype=dtype)
    if dtype.is_float():
        return pl.Series(np.round(random.lognormal(1.5, 1.2, count), 2))
    return pl.Series([START + timedelta(seconds=count * batch + n) for n in range(count)])


def batch_of(spec: TableSpec, count: int, batch: int) -> pl.DataFrame:
    """Rows with every column filled; those of a symbol's bars share one partition."""
    random = np.random.default_rng(batch)
    made = {name: column(dtype, count, batch, random) for name, dtype in spec.schema.items()}
    constants = {name: pl.lit("SPY") for name in ("symbol", "bar_size", "sec_type") if name in made}
    return pl.DataFrame(made).with_columns(**constants)


def measure(lake: Lake, name: str, batches: int) -> Result:
    """Append the batches of one table, one after another."""
    table, count = tables()[name](lake), BATCHES[name]
    table.append(batch_of(table.spec, count, batches))  # makes the table
    times = []
    for batch in range(batches):
        frame = batch_of(table.spec, count, batch)
        began = CLOCK.machine_monotonic()
        table.append(frame)
        times.append(CLOCK.machine_monotonic() - began)
    return Result(
        rows=count * batches,
        rows_per_second=round(count * batches / sum(times)),
        append_ms_median=round(1000 * statistics.median(times), 1),
        append_ms_max=round(1000 * max(times), 1),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=60, help="appends a table")
    options = parser.parse_args()
    figures = {}
    print(f"{'table':<20} {'rows each':>9} {'rows/s':>8} {'median ms':>10} {'max ms':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for name, count in BATCHES.items():
            result = measure(Lake(folder), name, options.batches)
            print(
                f"{name:<20} {count:>9} {result.rows_per_second:>8} {result.append_ms_median:>10} "
                f"{result.append_ms_max:>8}",
                flush=True,
            )
            figures[name] = {"rows_each": count, **{key: getattr(result, key) for key in Result.__annotations__}}
    print(json.dumps({"benchmark": "append", "batches": options.batches, "tables": figures}))


if __name__ == "__main__":
    main()
