"""One collection cycle against the simulated gateway: how near it comes to the physical limit, and who waits meanwhile.

    python bench/bench_session.py [--lines 100 200 400] [--symbols SPY QQQ IWM] [--days 60] [--plain 300]
                                  [--late 0.1 0.3]

The gateway counts strictly: a message too many in any sliding second is rejected with error 100 (reject mode), and the
third one ends the session. Quotes complete after 0.2 to 1.5 s. Gateway, worker and this script are processes of their
own, on one machine and the machine's own time. ``--late`` holds back all that belongs to a quote, its first answer as
well, for so long, as a gateway does whose data come from far away. A contract costs two messages, so N lines allow
N / 4 contracts a second. ``ratio_to_limit`` is contracts over that, from the insert of the requests to the last one's
SUCCESS. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing as mp
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ib_async
import polars as pl

from v6.app import App
from v6.clock import Clock
from v6.data.ib_request_queue import IBRequestQueue, NewRequest
from v6.data.option_snapshots import OptionSnapshotsTable
from v6.settings import Settings, as_environment

NOW = "2026-11-23T17:30:00Z"
URGENT_SECONDS = 5.0
PACING_TEXT = "pacing violation"


def serve(clock: str, lines: int, late: Sequence[float], ready: Any, stop: Any) -> None:
    """The simulated gateway in a process of its own; tells its port, and at the end what it counted."""
    asyncio.run(_serve(clock, lines, late, ready, stop))


async def _serve(clock: str, lines: int, late: Sequence[float], ready: Any, stop: Any) -> None:
    from v6.simulator.faults import make_fault
    from v6.simulator.market import Market
    from v6.simulator.options import GatewayOptions
    from v6.simulator.server import SimulatedGateway

    options = GatewayOptions(market_data_lines=lines, quote_delay_seconds=(0.2, 1.5))
    gateway = SimulatedGateway(Market(0), clock=Clock(clock), options=options)
    ready.put(await gateway.start())
    if late:
        gateway.faults.arm(make_fault({"do": "slow", "request": "market_data", "delay": list(late)}))
    await asyncio.to_thread(stop.wait)
    seen = gateway.status()
    counted = {"largest_second": "largest_window", "messages": "messages"}
    ready.put({name: seen[key] for name, key in counted.items()} | {"errors_100": seen["errors"].get("100", 0)})
    await gateway.stop()


@dataclass(frozen=True, kw_only=True)
class Served:
    """A gateway: its process, and the settings of those who use it."""

    pid: int
    settings: Settings


@asynccontextmanager
async def gateway(lines: int, lake: Path, figures: dict[str, Any], late: Sequence[float] = ()) -> AsyncIterator[Served]:
    """A gateway with so many lines; when the context ends ``figures`` has the largest second and the errors 100."""
    context = mp.get_context("spawn")
    ready, stop = context.Queue(), context.Event()
    clock = str(Clock(NOW).setting)
    process = context.Process(target=serve, args=(clock, lines, late, ready, stop))
    process.start()
    try:
        port = await asyncio.to_thread(ready.get, timeout=120)
        settings = Settings(lake=str(lake), gateway_port=port, market_data_lines=lines, clock=clock, log_level="debug")
        yield Served(pid=process.pid or 0, settings=settings)
        stop.set()
        figures |= await asyncio.to_thread(ready.get, timeout=60)
    finally:
        stop.set()
        await asyncio.to_thread(process.join)


@asynccontextmanager
async def worker(settings: Settings, log: Path) -> AsyncIterator[int]:
    """The worker as its own process, logging to a file; its process id."""
    environment = {**os.environ, **as_environment(settings.model_copy(update={"log_format": "json"}))}
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "v6", "worker", env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=stderr
        )
    try:
        yield process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def cycle(settings: Settings, symbols: Sequence[str], days: int, *, urgent: bool) -> dict[str, Any]:
    """Insert one chain a symbol, and priority-1 snapshots meanwhile; what became of all of them."""
    queue = App(settings.model_copy(update={"log_level": "error"})).queue(source="bench")
    wishes = [
        NewRequest(request_type="option_chain", symbol=symbol, parameters={"dte_min": 0, "dte_max": days})
        for symbol in symbols
    ]
    chains = await queue.insert_many(wishes)
    snapshots: list[str] = []
    asking = asyncio.create_task(_ask_urgently(queue, snapshots)) if urgent else None
    await _until_ended(queue, chains)
    if asking is not None:
        asking.cancel()
        await _until_ended(queue, snapshots)
    requests = (await asyncio.to_thread(queue.requests)).collect()
    await queue.close()
    return _figures_of_cycle(settings, requests, chains, snapshots)


async def _ask_urgently(queue: IBRequestQueue, snapshots: list[str]) -> None:
    while True:
        await asyncio.sleep(URGENT_SECONDS)
        snapshots.append(await queue.insert(request_type="futures_snapshot", symbol="ES", priority=1))


async def _until_ended(queue: IBRequestQueue, ids: Sequence[str]) -> None:
    while True:
        await asyncio.sleep(1.0)
        states = (await asyncio.to_thread(queue.requests)).filter(pl.col("request_id").is_in(list(ids))).collect()
        if states.filter(pl.col("status").is_in(["SUCCESS", "FAILED", "CANCELLED"])).height == len(ids):
            return


def _figures_of_cycle(
    settings: Settings, requests: pl.DataFrame, chains: Sequence[str], snapshots: Sequence[str]
) -> dict[str, Any]:
    done = requests.filter(pl.col("request_id").is_in(list(chains)))
    rows = OptionSnapshotsTable(settings.lake).scan().filter(pl.col("request_id").is_in(list(chains))).collect()
    seconds = (done["updated_at"].max() - done["created_at"].min()).total_seconds()  # type: ignore[operator,union-attr]
    span = (rows["timestamp"].max() - rows["timestamp"].min()).total_seconds()  # type: ignore[operator,union-attr]
    limit = settings.market_data_lines / 4
    urgent = requests.filter(pl.col("request_id").is_in(list(snapshots)))
    waits = urgent.select((pl.col("updated_at") - pl.col("created_at")).dt.total_milliseconds() / 1000).to_series()
    return {
        "lines": settings.market_data_lines,
        "contracts": rows["con_id"].n_unique(),
        "rows": rows.height,
        "lacking": rows["missing"].count(),
        "succeeded": done.filter(pl.col("status") == "SUCCESS").height == len(chains),
        "seconds": round(seconds, 2),
        "seconds_first_to_last_quote": round(span, 2),
        "ratio_to_limit": round(rows.height / seconds / limit, 4),
        "urgent": urgent.height,
        "urgent_succeeded": urgent.filter(pl.col("status") == "SUCCESS").height,
        "urgent_p50_s": None if waits.is_empty() else round(float(waits.median() or 0), 3),  # type: ignore[arg-type]
        "urgent_p99_s": None if waits.is_empty() else round(float(waits.quantile(0.99, "higher") or 0), 3),
        "urgent_max_s": None if waits.is_empty() else round(float(waits.max() or 0), 3),  # type: ignore[arg-type]
    }


def codes_in(log: Path) -> Counter[int]:
    """How often each code of the gateway was noticed by the worker."""
    codes = Counter[int]()
    for line in log.read_text(encoding="utf-8").splitlines():
        if '"gateway.notified"' in line:
            fields = json.loads(line)
            is_pacing = fields["code"] in {100, 101} or PACING_TEXT in fields["text"]
            codes[fields["code"] if is_pacing else 0] += 1
    return codes


def blocks_in(log: Path) -> dict[str, float]:
    """How often and how long the worker's event loop stood still, all in all and by its own work."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if '"loop.blocked"' in line]
    own = [line["own"] for line in lines]
    return {
        "loop_blocked_over_50_ms": len(lines),
        "loop_blocked_by_own_work": sum(ms > 50 for ms in own),
        "loop_blocked_by_own_work_max_ms": max(own, default=0.0),
    }


async def collect(folder: Path, lines: int, options: argparse.Namespace, *, cold: bool) -> dict[str, Any]:
    """A cold cycle where asked, then a warm one with urgent snapshots, in one worker's life."""
    figures: dict[str, Any] = {}
    log = folder / f"worker-{lines}.log"
    served_late = gateway(lines, folder / "lake", figures, options.late)
    async with served_late as served, worker(served.settings, log):
        if cold:
            figures["cold"] = await cycle(served.settings, options.symbols, options.days, urgent=False)
        figures |= await cycle(served.settings, options.symbols, options.days, urgent=True)
    codes = codes_in(log)
    figures["pacing_errors"] = sum(count for code, count in codes.items() if code)
    figures |= blocks_in(log)
    print(json.dumps(figures), flush=True)
    return figures


async def plain(folder: Path, count: int) -> dict[str, Any]:
    """What ib_async's own reqTickers reaches: one after the other, and fifty at once."""
    logging.getLogger("ib_async").setLevel(logging.CRITICAL)
    figures: dict[str, Any] = {}
    async with gateway(100, folder / "plain", figures) as served:
        ib = ib_async.IB()
        await ib.connectAsync(served.settings.gateway_host, served.settings.gateway_port, clientId=1)
        (stock,) = await ib.reqContractDetailsAsync(ib_async.Stock("SPY", "SMART", "USD"))
        listings = await ib.reqSecDefOptParamsAsync("SPY", "", "STK", stock.contract.conId)  # type: ignore[union-attr]
        (listing,) = [one for one in listings if one.exchange == "SMART"]
        found: list[Any] = []
        for expiry in listing.expirations:
            if len(found) < count:
                asked = ib_async.Option("SPY", expiry, exchange="SMART", currency="USD")
                found += [details.contract for details in await ib.reqContractDetailsAsync(asked)]
        contracts = found[:count]
        figures["loop_per_second"] = await _rate(ib, [[one] for one in contracts])
        chunks = [contracts[first : first + 50] for first in range(0, count, 50)]
        figures["chunks_of_50_per_second"] = await _rate(ib, chunks)
        ib.disconnect()
    print(json.dumps(figures), flush=True)
    return figures


async def _rate(ib: ib_async.IB, chunks: Sequence[Sequence[ib_async.Contract]]) -> float:
    began = time.monotonic()
    for chunk in chunks:
        await ib.reqTickersAsync(*chunk)
    return round(sum(map(len, chunks)) / (time.monotonic() - began), 2)


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """All stages; the first one's figures at the top, the others by their lines."""
    with tempfile.TemporaryDirectory() as folder:
        first, *others = options.lines
        figures = await collect(Path(folder), first, options, cold=True)
        for lines in others:
            figures[f"lines_{lines}"] = await collect(Path(folder), lines, options, cold=False)
        if options.plain:
            plainly = await plain(Path(folder), options.plain)
            figures |= {f"plain_{name}": value for name, value in plainly.items()}
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, nargs="+", default=[100, 200, 400])
    parser.add_argument("--symbols", nargs="+", default=["SPY", "QQQ", "IWM"])
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--late", type=float, nargs=2, default=(), help="shortest and longest delay, seconds")
    parser.add_argument("--plain", type=int, default=300, help="contracts for the plain loops; 0 leaves them out")
    print(json.dumps(asyncio.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
