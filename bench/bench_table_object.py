"""What a commit costs through a table object that has served many of them beside another's, and through one renewed.

    python bench/bench_table_object.py [--commits 500]

Two objects commit to one queue in turn, as a worker and a producer do: each takes in what the other wrote, then appends
a row of its own. No file is joined meanwhile. The last line is one JSON object: CPU of one turn (take in, append) in
ms, medians of the first and the last tenth and the mean.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

import polars as pl

from v6.data import opened_table
from v6.data.delta import append
from v6.data.ib_request import REQUESTS, NewRequest
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.lake import Lake
from v6.data.opened_table import OpenedTable

NEVER = 2**31


def turns(folder: Path, commits: int, lifetime: int) -> dict[str, float]:
    """So many turns of one of the two objects; what they cost at the beginning and at the end."""
    opened_table.OBJECT_COMMITS = lifetime
    lake = Lake(folder)
    row = asyncio.run(_one_row(lake))
    mine, other = (OpenedTable(lake.ensure(REQUESTS)) for _ in range(2))
    costs = []
    for _ in range(commits // 2):
        other = _turn(lake, other, row)
        began = time.process_time()
        mine = _turn(lake, mine, row)
        costs.append(1000 * (time.process_time() - began))
    tenth = len(costs) // 10
    first, last = statistics.median(costs[:tenth]), statistics.median(costs[-tenth:])
    return {"first": round(first, 1), "last": round(last, 1), "mean": round(statistics.mean(costs), 1)}


async def _one_row(lake: Lake) -> pl.DataFrame:
    """A row to append, as the queue writes it."""
    queue = IBRequestQueue(lake, check=NewRequest.checked)
    await queue.insert(request_type="bench", symbol="SPY")
    await queue.close()
    return lake.scan(REQUESTS).collect()


def _turn(lake: Lake, opened: OpenedTable, row: pl.DataFrame) -> OpenedTable:
    opened = lake.renewed(REQUESTS.name, opened)
    opened.table.update_incremental()
    append(opened.table, row)
    return opened


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commits", type=int, default=500)
    options = parser.parse_args()
    renewed = opened_table.OBJECT_COMMITS
    figures: dict[str, object] = {"benchmark": "table_object", "commits": options.commits}
    for name, lifetime in {"kept": NEVER, f"renewed_after_{renewed}": renewed}.items():
        with tempfile.TemporaryDirectory() as folder:
            figures[name] = turns(Path(folder), options.commits, lifetime)
            print(name, figures[name], flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
