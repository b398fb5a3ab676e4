"""The queue over years: what claiming, settling, files, disk and memory cost after many batches and much history.

    python bench/bench_years.py [--batches 20000] [--finished 1000000 10000000]

First so many batches of 50 on one queue while days pass on its clock (one a minute), maintained as a worker's lake is:
a process claims and settles, another inserts, a third maintains. Then the same costs on queues whose history was
written directly, folded as maintenance leaves it. The last line is one JSON object: times in ms, sizes in bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing as mp
import os
import statistics
import tempfile
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Empty
from typing import Any

import polars as pl

from v6.clock import Clock, ClockSetting
from v6.data.delta import append, data_files
from v6.data.ib_request import REQUESTS, NewRequest
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.lake import Lake
from v6.data.outcome import Done
from v6.data.queue_state import ClaimLimits
from v6.events import EventBus
from v6.maintenance.keeper import Keeper
from v6.maintenance.maintainer import Maintainer, Promises
from v6.settings import Settings

BATCH = 50
DAY_SECONDS = 60.0  # machine seconds that a day of the queue's clock takes
READER_HOURS = 1 / 60  # a minute for readers, so that the run sees files go
SAMPLE_BATCHES = 100
REPORT_BATCHES = 1_000
DAYS = 90


def new_queue(lake: Path, clock: Clock, worker: str = "") -> IBRequestQueue:
    return IBRequestQueue(lake, clock=clock, worker_id=worker, check=NewRequest.checked)


def settings_of(lake: Path, clock: str) -> Settings:
    return Settings(lake=str(lake), clock=clock, queue_reader_hours=READER_HOURS, maintenance_seconds=5.0)


def resident_bytes() -> int:
    """The resident memory of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def disk_bytes(folder: Path) -> int:
    """What a folder takes on the disk; files that go meanwhile count nothing."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_blocks * 512
    return total


def work(lake: str, clock: str, batches: int, out: Any) -> None:
    """Settle and claim until so many batches were settled, with the lake maintained beside it."""
    out.put(asyncio.run(_work(Path(lake), clock, batches)))


async def _work(lake: Path, clock_text: str, batches: int) -> dict[str, Any]:
    clock = Clock(clock_text)
    queue = new_queue(lake, clock, "bench")
    await queue.refresh()
    upkeep = _maintained(lake, clock_text, queue)
    times: list[float] = []
    cpu: list[float] = []
    resident: dict[int, int] = {}
    files: list[int] = []
    logs: list[int] = []
    claimed: list[Any] = []
    while len(times) < batches:
        began, cpu_began = time.perf_counter(), time.process_time()
        turn = await queue.settle_and_claim({r.request_id: Done(result={"rows": 400}) for r in claimed}, BATCH)
        if len(claimed) == BATCH:
            times.append(time.perf_counter() - began)
            cpu.append(time.process_time() - cpu_began)
            if len(times) % min(SAMPLE_BATCHES, batches) == 0:
                resident[len(times)] = resident_bytes()
                files.append(await asyncio.to_thread(_live_files, lake))
                logs.append(len(list((lake / REQUESTS.name / "_delta_log").iterdir())))
            if len(times) % REPORT_BATCHES == 0:
                _report(len(times), times[-REPORT_BATCHES:], cpu[-REPORT_BATCHES:], resident_bytes(), files[-1])
        claimed = list(turn.claimed)
        if not claimed:
            await asyncio.sleep(0.005)
        if upkeep.done():
            upkeep.result()
    upkeep.cancel()
    await asyncio.gather(upkeep, return_exceptions=True)
    await queue.settle({r.request_id: Done() for r in claimed})
    await queue.close()
    return {
        "times": times,
        "cpu": cpu,
        "resident": resident,
        "live_files_most": max(files),
        "log_files_most": max(logs),
    }


def _maintained(lake: Path, clock: str, queue: IBRequestQueue) -> asyncio.Task[None]:
    """Maintain the lake as a worker does, until cancelled."""
    keeper = Keeper(
        settings=settings_of(lake, clock), clock=Clock(clock), events=EventBus(), version=lambda: queue.version
    )
    return asyncio.create_task(keeper.run())


def _report(batch: int, times: list[float], cpu: list[float], resident: int, files: int) -> None:
    """One line for the last batches, so that a long run can be followed."""
    cost, cpu_cost = (round(1000 * statistics.median(values), 1) for values in (times, cpu))
    print(f"batch {batch}: {cost} ms, CPU {cpu_cost} ms, resident {resident}, files {files}", flush=True)


def _live_files(lake: Path) -> int:
    return len(data_files(Lake(lake).open(REQUESTS.name)))


def produce(lake: str, clock: str, stop: Any) -> None:
    """Keep a few batches waiting: insert 50 at a time, one in ten with a key."""
    asyncio.run(_produce(Path(lake), Clock(clock), stop))


async def _produce(lake: Path, clock: Clock, stop: Any) -> None:
    queue = new_queue(lake, clock)
    number = 0
    while not stop.is_set():
        number += 1
        wishes = [
            NewRequest(request_type="bench", symbol="SPY", parameters={"n": n}, idempotency_key=_key(number, n))
            for n in range(BATCH)
        ]
        await queue.insert_many(wishes)
        while (await queue.stats()).due > 4 * BATCH and not stop.is_set():  # noqa: ASYNC110 - another process sets it
            await asyncio.sleep(0.005)
    await queue.close()


def _key(number: int, n: int) -> str | None:
    return f"{number}-{n}" if n % 10 == 0 else None


def many_batches(lake: Path, batches: int) -> dict[str, Any]:
    """So many batches while days pass; costs at the start and at the end, then what is left on the disk."""
    clock_text = str(ClockSetting.parse(f"2026-01-05T00:00:00Z*{86_400 / DAY_SECONDS}"))
    Lake(lake).ensure(REQUESTS)
    context = mp.get_context("spawn")
    out, stop = context.Queue(), context.Event()
    worker = context.Process(target=work, args=(str(lake), clock_text, batches, out))
    producer = context.Process(target=produce, args=(str(lake), clock_text, stop))
    began = time.perf_counter()
    for process in (worker, producer):
        process.start()
    try:
        seen = _answer_of(worker, out)
    finally:
        stop.set()
    for process in (worker, producer):
        process.join()
    seconds = time.perf_counter() - began
    return {"batches": batches, "seconds": round(seconds), **_costs(seen, batches), **_left(lake, clock_text)}


def _answer_of(process: Any, out: Any) -> dict[str, Any]:
    """What a process found; one that dies before it says so ends the run."""
    while True:
        with suppress(Empty):
            answer: dict[str, Any] = out.get(timeout=1.0)
            return answer
        if process.exitcode:
            raise SystemExit(f"the measured process ended with exit code {process.exitcode}")


def _costs(seen: dict[str, Any], batches: int) -> dict[str, Any]:
    tenth = max(10, batches // 20)
    times, cpu = ([1000 * seconds for seconds in seen[name]] for name in ("times", "cpu"))
    first, last = statistics.median(times[:tenth]), statistics.median(times[-tenth:])
    cpu_first, cpu_last = statistics.median(cpu[:tenth]), statistics.median(cpu[-tenth:])
    marks = sorted(seen["resident"])
    early = seen["resident"][min(marks, key=lambda mark: abs(mark - batches // 10))]
    late = seen["resident"][marks[-1]]
    return {
        "settle_and_claim_50_first": round(first, 1),
        "settle_and_claim_50_last": round(last, 1),
        "settle_and_claim_50_by_tenth": [
            round(statistics.median(times[n * batches // 10 : (n + 1) * batches // 10]), 1) for n in range(10)
        ],
        "last_to_first": round(last / first, 2),
        "cpu_first": round(cpu_first, 1),
        "cpu_last": round(cpu_last, 1),
        "cpu_last_to_first": round(cpu_last / cpu_first, 2),
        "live_files_most": seen["live_files_most"],
        "log_files_most": seen["log_files_most"],
        "resident_early": early,
        "resident_late": late,
        "resident_growth": round(late / early - 1, 3),
    }


def _left(lake: Path, clock_text: str) -> dict[str, Any]:
    """What a finished request takes when its day is over, and readers had their time."""
    tomorrow = Clock(clock_text).now() + timedelta(days=1)
    clock = Clock(ClockSetting.parse(f"{tomorrow:%Y-%m-%dT%H:%M:%SZ}"))
    finished = Lake(lake).scan(REQUESTS).select(pl.col("request_id").n_unique()).collect().item()
    days = Lake(lake).scan(REQUESTS).select(pl.col("date").n_unique()).collect().item()
    before = disk_bytes(lake)
    for _ in range(2):  # the second lets go of what the first put aside
        list(Maintainer(Lake(lake), clock, Promises(queue_reader_hours=0.0)).round(thorough=True))
    files = data_files(Lake(lake).open(REQUESTS.name))
    return {
        "finished": finished,
        "disk_bytes_a_request_at_the_end": round(before / finished, 1),
        "disk_bytes_a_request_folded": round(disk_bytes(lake) / finished, 1),
        "live_bytes_a_request_folded": round(sum(file.size_bytes for file in files) / finished, 1),
        "live_files_at_the_end": len(files),
        "days_at_the_end": days,
    }


def write_history(lake: Path, finished: int) -> None:
    """So many finished requests over ninety days, one row each, as maintenance leaves them."""
    table = Lake(lake).ensure(REQUESTS)
    today = datetime.now(UTC).replace(hour=12)
    for day in range(DAYS):
        count = (day + 1) * finished // DAYS - day * finished // DAYS
        if count:
            append(table, _history(today - timedelta(days=DAYS - day), count))


def _history(born: datetime, count: int) -> pl.DataFrame:
    spread = pl.int_range(pl.len(), dtype=pl.Int64) * (6 * 3_600_000_000 // count)
    rows = pl.DataFrame({"request_id": [str(uuid.uuid4()) for _ in range(count)]}).with_columns(
        revision=pl.lit(2), request_type=pl.lit("bench"), symbol=pl.lit("SPY"), priority=pl.lit(2),
        status=pl.lit("SUCCESS"), parameters=pl.lit("{}"), result_table=pl.lit(""), attempt=pl.lit(1),
        created_at=pl.lit(born) + pl.duration(microseconds=spread), crashes=pl.lit(0), source=pl.lit("bench"),
        result_data=pl.lit('{"rows":400}'), worker_id=pl.lit("bench"), date=pl.lit(born.date()),
    )  # fmt: skip
    number = pl.int_range(pl.len())
    key = pl.when(number % 10 == 0).then(pl.format("{}-{}", pl.lit(str(born.date())), number))
    rows = rows.with_columns(idempotency_key=key)
    return REQUESTS.conform(rows.with_columns(updated_at=pl.col("created_at") + pl.duration(seconds=3)))


def on_history(lake: str, batches: int, out: Any) -> None:
    """Cold start, claims and an idle poll on a queue as it is, in a process of its own."""
    out.put(asyncio.run(_on_history(Path(lake), batches)))


async def _on_history(lake: Path, batches: int) -> dict[str, Any]:
    queue = new_queue(lake, Clock(), "bench")
    before = resident_bytes()
    began = time.perf_counter()
    await queue.refresh()
    cold = time.perf_counter() - began
    folded = resident_bytes()
    upkeep = _maintained(lake, "", queue)
    times, claimed = [], list[Any]()
    for _ in range(batches + 1):
        await queue.insert_many([NewRequest(request_type="bench", symbol="SPY") for _ in range(BATCH)])
        began = time.perf_counter()
        turn = await queue.settle_and_claim({r.request_id: Done() for r in claimed}, BATCH)
        times.append(time.perf_counter() - began)
        claimed = list(turn.claimed)
    await queue.settle({r.request_id: Done() for r in claimed})
    upkeep.cancel()
    await asyncio.gather(upkeep, return_exceptions=True)
    await queue.refresh()
    began = time.process_time()
    for _ in range(100):
        await queue.has_work(ClaimLimits(limit=BATCH))
    idle = (time.process_time() - began) / 100
    await queue.close()
    return {
        "cold_start_seconds": round(cold, 2),
        "resident_before": before,
        "resident_folded": folded,
        "settle_and_claim_50": round(1000 * statistics.median(times[1:]), 1),
        "idle_poll_cpu": round(1000 * idle, 2),
    }


def history(folder: Path, finished: int, batches: int) -> dict[str, Any]:
    """The costs with so many finished requests, after maintenance looked at them."""
    lake = folder / f"finished-{finished}"
    write_history(lake, finished)
    list(Maintainer(Lake(lake), Clock()).round())
    context = mp.get_context("spawn")
    out = context.Queue()
    process = context.Process(target=on_history, args=(str(lake), batches, out))
    process.start()
    figures = _answer_of(process, out)
    process.join()
    files = data_files(Lake(lake).open(REQUESTS.name))
    return {**figures, "live_files": len(files), "disk_bytes": disk_bytes(lake)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=20_000)
    parser.add_argument("--finished", type=int, nargs="*", default=[1_000_000, 10_000_000])
    parser.add_argument("--history-batches", type=int, default=100)
    options = parser.parse_args()
    figures: dict[str, Any] = {"benchmark": "years"}
    with tempfile.TemporaryDirectory() as folder:
        if options.batches:
            figures["batches"] = many_batches(Path(folder) / "batches", options.batches)
            print(json.dumps(figures["batches"]), flush=True)
        for finished in [0, *options.finished]:
            figures[f"finished_{finished}"] = history(Path(folder), finished, options.history_batches)
            print(f"finished_{finished}: {figures[f'finished_{finished}']}", flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
