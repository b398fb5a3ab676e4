"""One measurement of ``bench_derive`` in a process of its own: prints one JSON object.

python -m bench.derive_process aggregate LAKE ROUNDS
python -m bench.derive_process derive LAKE SYMBOL FIRST LAST
python -m bench.derive_process latest_chain LAKE SYMBOL
python -m bench.derive_process history LAKE CON_ID
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

PART_DAYS = 5  # as a derive_statistics request takes them


def aggregate(lake: str, rounds: str) -> dict[str, Any]:
    """Seconds of each plain aggregation, ours and DuckDB's turn about; the medians, and that both answer alike."""
    from bench.plain_aggregations import AGGREGATIONS, by_duckdb, by_us, check_same

    from v6.data.lake import Lake

    place, figures = Lake(lake), {}
    for asked in AGGREGATIONS:
        check_same(asked, by_us(place, asked), by_duckdb(place, asked))
        pairs = [(_seconds(by_us, place, asked), _seconds(by_duckdb, place, asked)) for _ in range(int(rounds))]
        ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
        figures[asked.name] = {"ours": round(ours, 3), "duckdb": round(theirs, 3), "ratio": round(ours / theirs, 3)}
    return figures


def derive(lake: str, symbol: str, first: str, last: str) -> dict[str, Any]:
    """Seconds, CPU and peak memory of everything that is derived of a symbol's dates, as a worker's process does it.

    Each part is stored before the next one, which reads the year of volatilities before it.
    """
    import polars as pl

    from v6.data.derived_statistics import DerivedStatisticsTable
    from v6.data.lake import Lake
    from v6.derivations.derive import derivable_days
    from v6.derivations.derive import derive as derived

    place, values, slices = Lake(lake), 0, 0
    began, cpu = time.perf_counter(), time.process_time()
    days = derivable_days(place, symbol, date.fromisoformat(first), date.fromisoformat(last))
    for start in range(0, len(days), PART_DAYS):
        found = derived(place, symbol, days[start : start + PART_DAYS])
        stamps = {"request_id": pl.lit("bench"), "known_at": pl.col("timestamp").max()}
        DerivedStatisticsTable(place).append(found.statistics.with_columns(**stamps))
        values, slices = values + found.statistics.height, slices + found.surfaces.height
    return {
        "days": len(days),
        "values": values,
        "fits": slices,
        "seconds": round(time.perf_counter() - began, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "peak_mb": peak_megabytes(),
    }


def latest_chain(lake: str, symbol: str) -> dict[str, Any]:
    """The first read of a new process."""
    began = time.perf_counter()
    from v6.readers.options import option_chain

    return _read(began, lambda: option_chain(symbol, lake=lake).collect())


def history(lake: str, con_id: str) -> dict[str, Any]:
    """One contract's rows, known by its number alone."""
    began = time.perf_counter()
    from v6.readers.options import option_history

    return _read(began, lambda: option_history(con_id=int(con_id), lake=lake).collect())


def _read(began: float, read: Callable[[], Any]) -> dict[str, Any]:
    imported, cpu = time.perf_counter(), time.process_time()
    rows = read().height
    return {
        "rows": rows,
        "import_ms": round(1000 * (imported - began)),
        "read_ms": round(1000 * (time.perf_counter() - imported)),
        "cpu_ms": round(1000 * (time.process_time() - cpu)),
    }


def _seconds(work: Callable[..., Any], *arguments: Any) -> float:
    began = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - began


def peak_megabytes() -> float:
    """The most memory that this process held; what it was forked from does not count."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return round(int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024, 1)


KINDS = {work.__name__: work for work in (aggregate, derive, latest_chain, history)}

if __name__ == "__main__":
    print(json.dumps(KINDS[sys.argv[1]](*sys.argv[2:])))
