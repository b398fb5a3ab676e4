"""This queue beside the obvious ones on Delta: a row a request, changed in place by MERGE, or by UPDATE.

    python bench/bench_rivals.py [--seconds 20] [--pending 5000]

Each has its bulk inserted, then two workers claim 50 at a time and finish them while a producer inserts single requests
in a loop, for so many seconds; nothing is flushed to the disk. The obvious queues are written as well as they can be: a
claim reads which requests are pending, changes just those by their ids, and counts when it was committed; a claim that
failed chooses anew, a settlement or insert that failed is repeated. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing as mp
import statistics
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake  # the rivals are written by hand
from deltalake.exceptions import DeltaError

from v6.data.ib_request import NewRequest
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.lake import Lake
from v6.data.outcome import Done

BATCH = 50
WORKERS = ("a", "b")
MERGE, UPDATE = "MERGE", "UPDATE"

Signals = tuple[Any, Any, Any]  # all begin, all stop, where the results go


def rows(count: int) -> pa.Table:
    """New requests of the obvious queue."""
    frame = pl.DataFrame({"request_id": [str(uuid.uuid4()) for _ in range(count)]}).with_columns(
        status=pl.lit("PENDING"), worker_id=pl.lit(None, pl.String), priority=pl.lit(2), parameters=pl.lit("{}")
    )
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


def change(table: DeltaTable, ids: list[str], status: str, worker: str, how: str) -> None:
    """Bring requests into a state, in place."""
    listed = ", ".join(f"'{request_id}'" for request_id in ids)
    where = f"request_id IN ({listed})"
    if how == UPDATE:
        table.update(predicate=where, new_values={"status": status, "worker_id": worker})
        return
    source = pa.table({"request_id": ids})
    merged = f"t.request_id = s.request_id AND t.{where}"
    changes = {"status": f"'{status}'", "worker_id": f"'{worker}'"}
    table.merge(source, merged, source_alias="s", target_alias="t").when_matched_update(updates=changes).execute()


def pending(table: DeltaTable) -> list[str]:
    """The next requests to claim."""
    waiting = pl.scan_delta(table).filter(pl.col("status") == "PENDING")
    return waiting.select("request_id").head(BATCH).collect()["request_id"].to_list()


def work_in_place(uri: str, worker: str, how: str, signals: Signals) -> None:
    """Claim and finish until stopped."""
    start, stop, out = signals
    tally: Counter[str] = Counter()
    claimed_ids, times = list[str](), list[float]()
    start.wait()
    while not stop.is_set():
        table = DeltaTable(uri)
        ids = pending(table)
        if not ids:
            continue
        began = time.perf_counter()
        try:
            change(table, ids, "PROCESSING", worker, how)
        except DeltaError:
            tally["failed_claims"] += 1
            continue
        times.append(time.perf_counter() - began)
        claimed_ids += ids
        tally["claims"] += 1
        while not stop.is_set():
            try:
                change(DeltaTable(uri), ids, "SUCCESS", worker, how)
            except DeltaError:
                tally["failed_settlements"] += 1
                continue
            break
    out.put(("worker", {**tally, "ids": claimed_ids, "times": times}))


def insert_in_place(uri: str, worker: str, how: str, signals: Signals) -> None:
    """Insert single requests until stopped."""
    del worker, how
    start, stop, out = signals
    tally: Counter[str] = Counter()
    start.wait()
    while not stop.is_set():
        try:
            write_deltalake(uri, rows(1), mode="append")
        except DeltaError:
            tally["failed_inserts"] += 1
            continue
        tally["inserts"] += 1
    out.put(("producer", dict(tally)))


def new_queue(lake: str, worker: str = "") -> IBRequestQueue:
    return IBRequestQueue(Lake(lake, flushes=False), worker_id=worker, check=NewRequest.checked)  # as the rivals do


def work_here(lake: str, worker: str, how: str, signals: Signals) -> None:
    """Claim and finish until stopped, with this project's queue."""
    del how
    start, stop, out = signals
    out.put(("worker", asyncio.run(_work_here(lake, worker, start, stop))))


async def _work_here(lake: str, worker: str, start: Any, stop: Any) -> dict[str, Any]:
    queue, claimed = new_queue(lake, worker), list[Any]()
    tally: Counter[str] = Counter()
    ids, times = list[str](), list[float]()
    await queue.refresh()
    await asyncio.to_thread(start.wait)
    while not stop.is_set():
        began = time.perf_counter()
        turn = await queue.settle_and_claim({r.request_id: Done() for r in claimed}, BATCH)
        times.append(time.perf_counter() - began)
        claimed = list(turn.claimed)
        ids += [r.request_id for r in claimed]
        tally["claims"] += bool(claimed)
    await queue.close()
    return {**tally, "ids": ids, "times": times}


def insert_here(lake: str, worker: str, how: str, signals: Signals) -> None:
    """Insert single requests until stopped, with this project's queue."""
    del worker, how
    start, stop, out = signals
    out.put(("producer", asyncio.run(_insert_here(lake, start, stop))))


async def _insert_here(lake: str, start: Any, stop: Any) -> dict[str, int]:
    queue, inserts = new_queue(lake), 0
    await asyncio.to_thread(start.wait)
    while not stop.is_set():
        await queue.insert(request_type="bench", symbol="QQQ", priority=3)
        inserts += 1
    await queue.close()
    return {"inserts": inserts}


def contest(
    where: str, how: str, work: Callable[..., None], insert: Callable[..., None], seconds: float
) -> dict[str, Any]:
    """Two workers and a producer for so many seconds."""
    context = mp.get_context("spawn")
    out, stop, start = context.Queue(), context.Event(), context.Barrier(len(WORKERS) + 2)
    processes = [context.Process(target=work, args=(where, name, how, (start, stop, out))) for name in WORKERS]
    processes.append(context.Process(target=insert, args=(where, "", how, (start, stop, out))))
    for process in processes:
        process.start()
    start.wait()  # all have loaded
    began = time.perf_counter()
    time.sleep(seconds)
    stop.set()
    results = [out.get(timeout=300) for _ in processes]
    elapsed = time.perf_counter() - began
    for process in processes:
        process.join()
    return _figures(results, elapsed)


def _figures(results: list[tuple[str, dict[str, Any]]], elapsed: float) -> dict[str, Any]:
    workers = [tally for kind, tally in results if kind == "worker"]
    producer = next(tally for kind, tally in results if kind == "producer")
    ids = Counter(request_id for tally in workers for request_id in tally["ids"])
    times = [seconds for tally in workers for seconds in tally["times"]]
    total: Counter[str] = Counter()
    for tally in workers:
        total.update({name: count for name, count in tally.items() if isinstance(count, int)})
    return {
        "claimed_requests_a_second": round(ids.total() / elapsed, 1),
        "claims_a_second": round(total["claims"] / elapsed, 2),
        "failed_claims": total["failed_claims"],
        "failed_settlements": total["failed_settlements"],
        "claimed_twice": sum(count > 1 for count in ids.values()),
        "claim_ms": round(1000 * statistics.median(times), 1) if times else None,
        "inserts_a_second": round(producer.get("inserts", 0) / elapsed, 1),
        "failed_inserts": producer.get("failed_inserts", 0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--pending", type=int, default=5_000)
    options = parser.parse_args()
    figures: dict[str, Any] = {"benchmark": "rivals", "seconds": options.seconds}
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder) / "v6"
        bulk = [NewRequest(request_type="bench", symbol="SPY") for _ in range(options.pending)]
        asyncio.run(new_queue(str(here)).insert_many(bulk))
        figures["v6"] = contest(str(here), "", work_here, insert_here, options.seconds)
        print(f"v6: {figures['v6']}", flush=True)
        for how in (MERGE, UPDATE):
            uri = str(Path(folder) / how.lower())
            write_deltalake(uri, rows(options.pending))
            figures[how] = contest(uri, how, work_in_place, insert_in_place, options.seconds)
            print(f"{how}: {figures[how]}", flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
