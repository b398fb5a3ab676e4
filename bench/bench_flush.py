"""What flushing costs: the same inserts, turns of the queue and appends of rows with and without, turn about.

    python bench/bench_flush.py [--rounds 100] [--folder FOLDER]

The last line is one JSON object: medians in milliseconds and the ratio of both. ``--folder`` says whose disk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from v6.data.ib_request import IBRequest
from v6.data.ib_request_queue import IBRequestQueue, NewRequest
from v6.data.lake import Lake
from v6.data.option_snapshots import OPTION_SNAPSHOTS
from v6.data.outcome import Done
from v6.data.table_writer import TableWriter

BATCH = 50
ROWS = 500


class Side:
    """One lake, flushed or not, and how long each step took."""

    def __init__(self, folder: Path, *, flushes: bool) -> None:
        self.lake = Lake(folder, flushes=flushes)
        self.queue = IBRequestQueue(self.lake, worker_id="bench", check=NewRequest.checked)
        self.writer = TableWriter(self.lake, OPTION_SNAPSHOTS, app_id="bench", epoch=1)
        self.claimed: list[IBRequest] = []
        self.times: dict[str, list[float]] = {"insert": [], "append": [], "turn": []}

    async def round(self, rows: pl.DataFrame) -> None:
        """One insert, one append of rows, one commit that settles a batch and claims the next."""
        await self._time("insert", self.queue.insert_many(wishes()))
        await self._time("append", asyncio.to_thread(self.writer.append, rows))
        await self._time("turn", self._turn())

    async def _turn(self) -> None:
        turn = await self.queue.settle_and_claim({r.request_id: Done() for r in self.claimed}, BATCH)
        self.claimed = list(turn.claimed)

    async def _time(self, name: str, work: Awaitable[object]) -> None:
        began = time.perf_counter()
        await work
        self.times[name].append(time.perf_counter() - began)


def wishes() -> list[NewRequest]:
    return [NewRequest(request_type="bench", symbol="SPY", parameters={"n": n}) for n in range(BATCH)]


def option_rows(count: int) -> pl.DataFrame:
    """Rows with something in every column that is never null."""
    now = datetime.now(UTC)
    values: dict[Any, Any] = {pl.String: "x", pl.Int64: 1, pl.Float64: 1.5, pl.Boolean: False, pl.Date: now.date()}
    row = {c.name: values.get(c.dtype, now) for c in OPTION_SNAPSHOTS.columns if not c.nullable}
    return pl.DataFrame([{**row, "con_id": n} for n in range(count)], schema_overrides=OPTION_SNAPSHOTS.schema)


async def measure(folder: Path, rounds: int) -> dict[str, Any]:
    sides = {
        "without": Side(folder / "without", flushes=False),
        "with": Side(folder / "with", flushes=True),
    }
    rows = option_rows(ROWS)
    for _ in range(rounds):
        for side in sides.values():
            await side.round(rows)
    result: dict[str, Any] = {"benchmark": "flush", "rounds": rounds}
    for step in ("insert", "append", "turn"):
        medians = {name: 1000 * statistics.median(side.times[step]) for name, side in sides.items()}
        result |= {f"{step}_{name}_ms": round(value, 2) for name, value in medians.items()}
        result[f"{step}_ratio"] = round(medians["with"] / medians["without"], 2)
    for side in sides.values():
        await side.queue.close()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        print(json.dumps(asyncio.run(measure(Path(folder), options.rounds))))


if __name__ == "__main__":
    main()
