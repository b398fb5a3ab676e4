"""A quarter of option rows: plain aggregations beside DuckDB, the whole derivation, its memory, and two reads.

    python -m bench.bench_derive [--sessions 63] [--rows-a-day 635000] [--memory 5 20 60] [--lake FOLDER]

The simulated market prices one date of SPY, QQQ and IWM without a socket; it is moved over the sessions (40 million
rows; ``--sessions 252`` are a year, 160 million and 8.4 GB of disk). Each measurement is a process of its own.

``aggregations``: seconds in polars on our table and in DuckDB on the same files, turn about, with the same answers.
``derivation``: everything of a symbol's dates with its fits. ``memory``: the peak of such a process by the number of
dates. ``latest_chain`` and ``history``: the first read of a new process, its
imports apart, with every file of the lake dropped from the page cache before it. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
from bench.bench_derive_beside import SYMBOLS, sessions
from bench.option_year import STANDING_EXPIRY, store_year

from v6.data.lake import Lake
from v6.data.option_snapshots import OPTION_SNAPSHOTS

CODE = Path(__file__).parents[1]


def measured(*arguments: object) -> dict[str, Any]:
    """What one measurement says, in a process of its own."""
    command = [sys.executable, "-m", "bench.derive_process", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=CODE)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def drop_from_page_cache(folder: Path) -> None:
    """Make the next read of every file below a folder come from the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cold(lake: Path, count: int, *arguments: object) -> dict[str, Any]:
    """The median of some first reads from the disk, and the slowest."""
    reads = []
    for _ in range(count):
        drop_from_page_cache(lake)
        reads.append(measured(*arguments))
    warm = measured(*arguments)
    times = [read["read_ms"] for read in reads]
    return {
        "rows": warm["rows"],
        "import_ms": round(statistics.median(read["import_ms"] for read in reads)),
        "cold_ms": round(statistics.median(times)),
        "slowest_cold_ms": max(times),
        "warm_ms": warm["read_ms"],
        "cpu_ms": warm["cpu_ms"],
    }


def contract_of_all_dates(lake: Path, day: date) -> int:
    """A call near the money that is listed on every date."""
    rows = Lake(lake).scan(OPTION_SNAPSHOTS).filter(
        pl.col("date") == day, pl.col("symbol") == "SPY", pl.col("expiry") == STANDING_EXPIRY, pl.col("right") == "C"
    )  # fmt: skip
    distance = (pl.col("strike") - pl.col("underlying_price")).abs()
    return int(rows.sort(distance).select("con_id").head(1).collect().item())


def total(aggregations: dict[str, Any]) -> dict[str, float]:
    """All plain aggregations together."""
    ours, theirs = (sum(one[who] for one in aggregations.values()) for who in ("ours", "duckdb"))
    return {"ours": round(ours, 3), "duckdb": round(theirs, 3), "ratio": round(ours / theirs, 3)}


def derivation(lake: Path, days: Sequence[date]) -> dict[str, Any]:
    """Every symbol's dates, one symbol after the other."""
    runs = [measured("derive", lake, symbol, days[0], days[-1]) for symbol in SYMBOLS]
    summed = {
        name: round(sum(run[name] for run in runs), 2) for name in ("days", "values", "fits", "seconds", "cpu_seconds")
    }
    return {**summed, "peak_mb": max(run["peak_mb"] for run in runs)}


def memory(lake: Path, days: Sequence[date], counts: Sequence[int]) -> dict[str, float]:
    """The peak in megabytes by the number of dates that a process derives of SPY."""
    return {
        str(count): measured("derive", lake, SYMBOLS[0], days[0], days[count - 1])["peak_mb"]
        for count in counts
        if count <= len(days)
    }


def run(lake: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The whole run."""
    days = sessions(options.sessions)
    figures: dict[str, Any] = {"benchmark": "derive", "sessions": len(days)}
    if not Lake(lake).exists(OPTION_SNAPSHOTS.name):
        began = time.perf_counter()
        figures["rows"] = store_year(Lake(lake), days, options.rows_a_day)
        _say("stored", {"rows": figures["rows"], "seconds": round(time.perf_counter() - began, 1)})
    figures["latest_chain"] = _say("latest_chain", cold(lake, options.cold_reads, "latest_chain", lake, SYMBOLS[0]))
    contract = contract_of_all_dates(lake, days[-1])
    figures["history"] = _say("history", cold(lake, options.cold_reads, "history", lake, contract))
    figures["aggregations"] = _say("aggregations", measured("aggregate", lake, options.rounds))
    figures["aggregations_together"] = _say("together", total(figures["aggregations"]))
    figures["memory_mb_by_days"] = _say("memory", memory(lake, days, options.memory))
    figures["derivation"] = _say("derivation", derivation(lake, days[: options.derived]))
    return figures


def _say(what: str, figures: dict[str, Any]) -> dict[str, Any]:
    print(f"{what}: {json.dumps(figures)}", flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=63, help="trading dates; 252 are a year")
    parser.add_argument("--rows-a-day", type=int, default=635_000, help="option rows a trading date")
    parser.add_argument("--rounds", type=int, default=3, help="how often each aggregation is timed")
    parser.add_argument("--cold-reads", type=int, default=5, help="first reads from the disk of each kind")
    parser.add_argument("--memory", type=int, nargs="+", default=[5, 20, 60], help="dates derived in one process")
    parser.add_argument("--derived", type=int, default=63, help="the first dates, which are derived for all symbols")
    parser.add_argument("--lake", type=Path, help="keep the rows in this folder, or use those that are there")
    options = parser.parse_args()
    if options.lake is not None:
        print(json.dumps(run(options.lake.absolute(), options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(run(Path(folder), options)))


if __name__ == "__main__":
    main()
