"""The queue's costs: enqueue, claim and settle at 0 and at many finished requests, two workers beside a producer.

    python bench/bench_queue.py [--finished 1000000] [--requests 20000]

The last line is one JSON object with every figure; times in milliseconds unless named otherwise.
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
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from v6.data.delta import append
from v6.data.ib_request import REQUESTS
from v6.data.ib_request_queue import IBRequestQueue, NewRequest
from v6.data.lake import Lake
from v6.data.outcome import Done
from v6.data.queue_state import ClaimLimits

BATCH = 50


def new_queue(lake: str | Path, worker: str = "") -> IBRequestQueue:
    return IBRequestQueue(lake, worker_id=worker, check=NewRequest.checked)


def wishes(count: int) -> list[NewRequest]:
    return [NewRequest(request_type="bench", symbol="SPY", parameters={"n": n}) for n in range(count)]


def write_history(lake: Path, finished: int) -> None:
    """Finished requests, three rows each, written straight into the table, a day's worth a commit."""
    table = Lake(lake).ensure(REQUESTS)
    now = datetime.now(UTC)
    for start in range(0, finished, 100_000):
        count = min(100_000, finished - start)
        born = now - timedelta(days=1 + start // 100_000)
        base = pl.DataFrame({"request_id": [str(uuid.uuid4()) for _ in range(count)]})
        for revision, status in enumerate(("PENDING", "PROCESSING", "SUCCESS")):
            rows = base.with_columns(
                revision=pl.lit(revision), request_type=pl.lit("bench"), symbol=pl.lit("SPY"), priority=pl.lit(2),
                status=pl.lit(status), parameters=pl.lit("{}"), result_table=pl.lit(""), created_at=pl.lit(born),
                updated_at=pl.lit(born), attempt=pl.lit(0), crashes=pl.lit(0), source=pl.lit("bench"),
                date=pl.lit(born.date()),
            )  # fmt: skip
            append(table, REQUESTS.conform(rows))


async def claim_and_settle(lake: Path, batches: int) -> dict[str, float]:
    """The cost of one commit that settles 50 and claims 50, and of an idle poll, on a queue as it is."""
    queue = new_queue(lake, "bench")
    began = time.perf_counter()
    await queue.refresh()
    cold = time.perf_counter() - began
    await queue.insert_many(wishes(BATCH * (batches + 1)))
    claimed = await queue.claim(BATCH)
    times = []
    for _ in range(batches):
        began = time.perf_counter()
        turn = await queue.settle_and_claim({r.request_id: Done() for r in claimed}, BATCH)
        times.append(time.perf_counter() - began)
        claimed = list(turn.claimed)
    await queue.settle({r.request_id: Done() for r in claimed})
    began = time.process_time()
    for _ in range(100):
        await queue.has_work(ClaimLimits(limit=BATCH))
    idle = (time.process_time() - began) / 100
    await queue.close()
    return {
        "cold_start": round(cold * 1000, 1),
        "settle_and_claim_50_median": round(statistics.median(times) * 1000, 1),
        "settle_and_claim_50_max": round(max(times) * 1000, 1),
        "idle_poll_cpu": round(idle * 1000, 2),
    }


async def enqueue(lake: Path, count: int) -> float:
    queue = new_queue(lake)
    began = time.perf_counter()
    await queue.insert_many(wishes(count))
    seconds = time.perf_counter() - began
    await queue.close()
    return seconds


def work(lake: str, name: str, total: int, start: Any, out: Any) -> None:
    """One worker with an instant handler: claims until the bulk is done."""
    out.put((name, asyncio.run(_work(lake, name, total, start))))


async def _work(lake: str, name: str, total: int, start: Any) -> list[str]:
    queue, done, claimed = new_queue(lake, name), [], list[Any]()
    await queue.refresh()
    await asyncio.to_thread(start.wait)  # none begins while the other still loads
    while True:
        turn = await queue.settle_and_claim({r.request_id: Done() for r in claimed}, BATCH)
        done += [r.request_id for r in claimed]
        claimed = list(turn.claimed)
        if not claimed and (await queue.stats()).counts["SUCCESS"] >= total:
            return done


def produce(lake: str, stop: Any, out: Any) -> None:
    """Insert single requests in a loop until told to stop."""
    out.put(("producer", asyncio.run(_produce(lake, stop))))


async def _produce(lake: str, stop: Any) -> list[str]:
    queue, ids = new_queue(lake), []
    while not stop.is_set():
        ids.append(await queue.insert(request_type="bench", symbol="QQQ", priority=3))
    return ids


def rivals(lake: Path, total: int) -> dict[str, float]:
    """Two worker processes and a producer on one queue."""
    asyncio.run(enqueue(lake, total))
    context = mp.get_context("spawn")
    out, stop = context.Queue(), context.Event()
    began = time.perf_counter()
    names = ["a", "b"]
    start = context.Barrier(len(names))
    workers = [context.Process(target=work, args=(str(lake), name, total, start, out)) for name in names]
    producer = context.Process(target=produce, args=(str(lake), stop, out))
    for process in [*workers, producer]:
        process.start()
    finished = dict(out.get(timeout=600) for _ in workers)
    seconds = time.perf_counter() - began
    stop.set()
    produced = dict([out.get(timeout=60)])["producer"]
    for process in [*workers, producer]:
        process.join()
    claims = Counter(request_id for ids in finished.values() for request_id in ids)
    shares = [len(finished[name]) / claims.total() for name in names]
    return {
        "claimed": claims.total(),
        "claimed_twice": sum(count > 1 for count in claims.values()),
        "produced_meanwhile": len(produced),
        "smaller_share": round(min(shares), 3),
        "requests_per_second": round(claims.total() / seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--batches", type=int, default=40)
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        lake = Path(folder)
        figures["enqueue_100000_seconds"] = round(asyncio.run(enqueue(lake / "bulk", 100_000)), 2)
        figures["enqueue_1000_ms"] = round(asyncio.run(enqueue(lake / "small", 1_000)) * 1000, 1)
        figures["empty"] = asyncio.run(claim_and_settle(lake / "empty", options.batches))
        write_history(lake / "full", options.finished)
        figures[f"finished_{options.finished}"] = asyncio.run(claim_and_settle(lake / "full", options.batches))
        figures["rivals"] = rivals(lake / "rivals", options.requests)
    for name, value in figures.items():
        print(f"{name}: {value}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
