"""The queue between real processes: rivals claim, cancel and insert at once, and each request runs once."""

import asyncio
import multiprocessing as mp
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

from v6.clock import Clock
from v6.data.ib_request import REQUESTS
from v6.data.ib_request_queue import IBRequestQueue, NewRequest
from v6.data.outcome import Done
from v6.errors import RequestConflict

REQUESTS_IN_BULK = 1_500


def queue(lake: str, worker: str = "", **more: Any) -> IBRequestQueue:
    return IBRequestQueue(lake, worker_id=worker, check=NewRequest.checked, **more)


def spawn(calls: list[tuple[Callable[..., Any], tuple[Any, ...]]]) -> list[Any]:
    """Run each call in a process of its own, all at once."""
    with ProcessPoolExecutor(len(calls), mp_context=mp.get_context("spawn")) as pool:
        return [future.result(timeout=600) for future in [pool.submit(call, *args) for call, args in calls]]


def drain(lake: str, worker: str, total: int) -> list[str]:
    async def run() -> list[str]:
        q, done, claimed = queue(lake, worker), list[str](), list[Any]()
        while True:
            turn = await q.settle_and_claim({r.request_id: Done() for r in claimed}, 50)
            done += [r.request_id for r in claimed]
            claimed = list(turn.claimed)
            if not claimed and (await q.stats()).counts["SUCCESS"] >= total:
                return done

    return asyncio.run(run())


def produce(lake: str, count: int) -> list[str]:
    async def run() -> list[str]:
        q = queue(lake)
        return [await q.insert(request_type="t", symbol="QQQ", priority=3) for _ in range(count)]

    return asyncio.run(run())


def insert_same(lake: str, key: str, clock: str = "") -> str:
    return asyncio.run(queue(lake, clock=Clock(clock)).insert(request_type="t", symbol="SPY", idempotency_key=key))


def cancel_each(lake: str, ids: list[str]) -> list[str]:
    async def run() -> list[str]:
        q, won = queue(lake), []
        for request_id in ids:
            try:
                cancelled = await q.cancel(request_id)
            except RequestConflict:
                continue
            if cancelled.status == "CANCELLED":  # otherwise its worker has been asked
                won.append(request_id)
        return won

    return asyncio.run(run())


def claim_all(lake: str, worker: str = "worker") -> list[str]:
    async def run() -> list[str]:
        q, claimed = queue(lake, worker), list[str]()
        while batch := await q.claim(2):
            claimed += [r.request_id for r in batch]
        return claimed

    return asyncio.run(run())


def test_two_workers_beside_a_producer_claim_each_request_once(tmp_path: Path) -> None:
    lake = str(tmp_path)
    bulk = [NewRequest(request_type="t", symbol="SPY") for _ in range(REQUESTS_IN_BULK)]
    ids = asyncio.run(queue(lake).insert_many(bulk))
    total = len(ids) + 100
    first, second, produced = spawn([(drain, (lake, "a", total)), (drain, (lake, "b", total)), (produce, (lake, 100))])
    assert Counter(first + second) == Counter(ids + produced)


def test_a_cancel_beside_a_claim_lets_exactly_one_win(tmp_path: Path) -> None:
    lake = str(tmp_path)
    ids = asyncio.run(queue(lake).insert_many([NewRequest(request_type="t", symbol="SPY") for _ in range(60)]))
    cancelled, claimed = spawn([(cancel_each, (lake, ids[::-1])), (claim_all, (lake,))])
    assert Counter(cancelled + claimed) == Counter(ids)
    revisions = queue(lake).lake.scan(REQUESTS).select("request_id", "revision").collect()
    assert revisions.is_unique().all()


def test_one_key_from_four_processes_runs_once_in_its_lifetime_and_anew_after_it(tmp_path: Path) -> None:
    lake = str(tmp_path)
    everyone = [(insert_same, (lake, "k"))] * 4

    async def claim() -> list[str]:
        q = queue(lake, "worker")
        return [r.request_id for r in await q.claim(50)]

    async def settle(request_id: str) -> None:
        q = queue(lake, "worker")
        await q.settle({request_id: Done()})

    before = spawn(everyone)
    assert len(set(before)) == 1
    assert asyncio.run(claim()) == [before[0]]
    assert set(spawn(everyone)) == set(before)  # while it runs
    assert asyncio.run(claim()) == []
    asyncio.run(settle(before[0]))
    assert set(spawn(everyone)) == set(before)  # within its lifetime
    assert asyncio.run(claim()) == []
    later = Clock(machine=lambda: Clock().now().timestamp() + timedelta(minutes=11).total_seconds()).now().isoformat()
    after = spawn([(insert_same, (lake, "k", later))] * 4)
    assert len(set(after)) == 1
    assert set(after).isdisjoint(before)
    assert asyncio.run(claim()) == [after[0]]
    rows = queue(lake).requests().collect()
    assert Counter(rows["status"]) == Counter(["SUCCESS", "PROCESSING"])


def test_cancels_from_two_processes_beside_two_claimers_let_exactly_one_win(tmp_path: Path) -> None:
    lake = str(tmp_path)
    ids = asyncio.run(queue(lake).insert_many([NewRequest(request_type="t", symbol="SPY") for _ in range(60)]))
    halves = [(cancel_each, (lake, ids[::-2])), (cancel_each, (lake, ids[::-3]))]
    results = spawn([*halves, (claim_all, (lake,)), (claim_all, (lake, "rival"))])
    assert Counter(request_id for won in results for request_id in won) == Counter(ids)
    rows = queue(lake).lake.scan(REQUESTS).select("request_id", "revision").collect()
    assert rows.is_unique().all()
    claimed = len(results[2]) + len(results[3])
    assert 2 * len(ids) <= rows.height <= 2 * len(ids) + claimed  # a cancel that came too late is one row more
