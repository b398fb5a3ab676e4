"""Gateway and worker stand still at random moments, hundreds of times, while chains are collected at full pace.

    python -m bench.drill_stalls [--stalls 300] [--lines 100] [--busy 0] [--seed 1]

A process that was stopped (SIGSTOP) reads in one go what came meanwhile. The gateway counts strictly, by when it reads:
the message above the limit in any sliding second is answered with error 100, the third one ends the session. None may
be, whoever stands still, for 20 ms or for 2 s. ``--busy`` starts so many processes that fight for the CPU besides. The
last line is one JSON object; the exit code is 1 when the gateway counted a message too many.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from bench.bench_session import Served, gateway, worker

from v6.app import App
from v6.data.ib_request_queue import IBRequestQueue, NewRequest

CHAIN = NewRequest(request_type="option_chain", symbol="IWM", parameters={"dte_min": 0, "dte_max": 8})
AT_ONCE = 2  # chains that are never fewer
STOPPED_SECONDS = ((0.02, 0.3), (0.3, 2.0))
RUNNING_SECONDS = (0.1, 1.5)
BURN = "while True: pass"


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Collect and stall; what the gateway counted."""
    figures: dict[str, Any] = {"drill": "stalls", "lines": options.lines}
    with tempfile.TemporaryDirectory() as folder, _busy(options.busy):
        lake, log = Path(folder) / "lake", Path(folder) / "worker.log"
        async with gateway(options.lines, lake, figures) as served, worker(served.settings, log) as worker_pid:
            figures |= await _collect_and_stall(served, worker_pid, options)
    return figures


async def _collect_and_stall(served: Served, worker_pid: int, options: argparse.Namespace) -> dict[str, Any]:
    queue = App(served.settings.model_copy(update={"log_level": "error"})).queue(source="drill")
    feeding = asyncio.create_task(_feed(queue), name="feeding")
    await _until_running(queue)
    stalls = await _stall([served.pid, worker_pid], options.stalls, random.Random(options.seed))
    feeding.cancel()
    await asyncio.gather(feeding, return_exceptions=True)
    states = (await asyncio.to_thread(queue.requests)).collect()["status"].value_counts()
    await queue.close()
    return {"stalls": len(stalls), "stalled_seconds": round(sum(stalls), 1), "chains": dict(states.iter_rows())}


async def _feed(queue: IBRequestQueue) -> None:
    while True:
        if await _count(queue, ["PENDING", "PROCESSING"]) < AT_ONCE:
            await queue.insert_many([CHAIN] * AT_ONCE)
        await asyncio.sleep(0.5)


async def _count(queue: IBRequestQueue, statuses: Sequence[str]) -> int:
    states = (await asyncio.to_thread(queue.requests)).filter(pl.col("status").is_in(statuses)).collect()
    return states.height


async def _until_running(queue: IBRequestQueue) -> None:
    while True:
        if await _count(queue, ["PROCESSING"]):
            return
        await asyncio.sleep(0.2)


async def _stall(pids: Sequence[int], count: int, rng: random.Random) -> list[float]:
    """Stop one of them or all, again and again; for how long each time."""
    stalls: list[float] = []
    for _ in range(count):
        await asyncio.sleep(rng.uniform(*RUNNING_SECONDS))
        stopped = rng.choice([[pid] for pid in pids] + [pids])
        stalls.append(rng.uniform(*rng.choice(STOPPED_SECONDS)))
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(stalls[-1])
        finally:
            for pid in rng.sample(stopped, len(stopped)):
                os.kill(pid, signal.SIGCONT)
    return stalls


@contextmanager
def _busy(count: int) -> Iterator[None]:
    burners = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(count)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stalls", type=int, default=300)
    parser.add_argument("--lines", type=int, default=100)
    parser.add_argument("--busy", type=int, default=0, help="processes that fight for the CPU")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    figures = asyncio.run(run(options))
    figures["wrong"] = [] if figures["errors_100"] == 0 else [f"{figures['errors_100']} messages too many"]
    print(json.dumps(figures))
    return 1 if figures["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
