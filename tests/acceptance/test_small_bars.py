"""IB's ten minutes' window for small bars, at a clock's speed: a queue of twice as much as it takes, and restarts."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.acceptance.test_worker_processes import ended, start

from v6.clock import Clock
from v6.data.ib_request import IBRequest, NewRequest
from v6.data.ib_request_queue import IBRequestQueue

MONDAY = "2026-11-23T17:30:00Z"
SPEED, SPEED_OF_RESTARTS = 10, 20
WINDOW_SECONDS = 600
LATEST_SECONDS = 660 + 10 * SPEED  # eleven minutes (617 s alone on a machine), and ten of a busy machine's own seconds
SYMBOLS = ("SPY", "QQQ", "IWM", "DIA", "AAPL", "MSFT", "NVDA", "AMZN", "META", "TSLA")
ENDS = [f"2026-11-{day:02}T{hour}:00:00Z" for day in (18, 19, 20) for hour in (16, 18)]
MACHINE_SECONDS = 240


def wishes() -> list[NewRequest]:
    """60 TRADES, then 30 BID_ASK, which count twice: 120 units where 60 are allowed."""
    asked = [("TRADES", symbol, end) for end in ENDS for symbol in SYMBOLS]
    asked += [("BID_ASK", symbol, end) for end in ENDS[:3] for symbol in SYMBOLS]
    same = {"bar_size": "30 secs", "duration": "1800 S"}
    return [
        NewRequest(request_type="market_bars", symbol=symbol, parameters={**same, "what_to_show": shown, "end": end})
        for shown, symbol, end in asked
    ]


def journal_of(path: Path) -> list[dict[str, Any]]:
    """What was served so far; the last line may not be whole yet."""
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


def sent(path: Path) -> list[datetime]:
    """When the gateway got each request for small bars."""
    lines = [line for line in journal_of(path) if line["kind"] == "request_bars" and line["values"][1] == "30 secs"]
    return [datetime.fromisoformat(line["time"]).astimezone(UTC) for line in lines]


def violations(path: Path) -> list[list[str]]:
    return [line["values"] for line in journal_of(path) if line["kind"] == "error" and line["values"][3] == "162"]


async def until(condition: Any) -> None:
    clock = Clock()
    async with asyncio.timeout(MACHINE_SECONDS):
        while not await asyncio.to_thread(condition):
            await clock.sleep(0.1)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A lake, a gateway and where it writes what it serves, at a clock's speed."""

    lake: Path
    journal: Path
    clock: Clock
    port: int

    def worker(self) -> AbstractContextManager[subprocess.Popen[str]]:
        return ended(start("worker", "--gateway-port", str(self.port), *common(self.lake, self.clock)))


def common(lake: Path, clock: Clock) -> list[str]:
    return ["--clock", str(clock.setting), "--poll-seconds", "0.05", "--lake", str(lake)]


@contextmanager
def place(folder: Path, speed: int) -> Iterator[Place]:
    lake, journal, clock = folder / "lake", folder / "journal.jsonl", Clock(f"{MONDAY}*{speed}")
    arguments = ["--port", "0", "--journal", str(journal), *common(lake, clock)]
    with ended(start("--json", "gateway", *arguments)) as gateway:
        assert gateway.stdout is not None
        port = json.loads(gateway.stdout.readline())["port"]
        yield Place(lake=lake, journal=journal, clock=clock, port=port)


async def test_120_units_at_once_all_succeed_in_eleven_minutes_and_none_is_a_violation(tmp_path: Path) -> None:
    """Undisturbed, and with a worker that is killed: beside each other, for both mostly wait."""
    async with asyncio.TaskGroup() as both:
        both.create_task(undisturbed(tmp_path / "undisturbed"), name="undisturbed")
        both.create_task(killed(tmp_path / "killed"), name="killed")


async def undisturbed(folder: Path) -> None:
    with place(folder, SPEED) as here, here.worker():
        queue = IBRequestQueue(str(here.lake), clock=here.clock, source="test")
        await until((here.lake / "worker_state").exists)
        began = here.clock.now()
        ids = await queue.insert_many(wishes())
        await until_all_ended(queue, ids)
    requests = await all_succeeded(here, queue, ids)
    assert [request.attempt for request in requests] == [1] * 90  # waiting spent none
    units = sent_units(here.journal)
    assert sum(weight for at, weight in units if at - began.timestamp() < WINDOW_SECONDS) == 60
    assert max((request.updated_at - began).total_seconds() for request in requests) <= LATEST_SECONDS


async def killed(folder: Path) -> None:
    with place(folder, SPEED_OF_RESTARTS) as here:
        queue = IBRequestQueue(str(here.lake), clock=here.clock, source="test")
        with here.worker() as worker:
            ids = await queue.insert_many(wishes())
            await until(lambda: len(sent(here.journal)) >= 45)
            worker.kill()
            await asyncio.to_thread(worker.wait, MACHINE_SECONDS)
        with here.worker():
            await until_all_ended(queue, ids)
    await all_succeeded(here, queue, ids)


async def all_succeeded(here: Place, queue: IBRequestQueue, ids: Sequence[str]) -> list[IBRequest]:
    requests = [await queue.get(request_id) for request_id in ids]
    await queue.close()
    assert {str(request.status) for request in requests} == {"SUCCESS"}
    assert violations(here.journal) == []
    assert max(units_in_window(sent_units(here.journal))) <= 60
    return requests


async def until_all_ended(queue: IBRequestQueue, ids: Sequence[str]) -> None:
    def have_ended() -> bool:
        states = queue.requests().collect()
        return states.height == len(ids) and bool(states["status"].is_in(["SUCCESS", "FAILED", "CANCELLED"]).all())

    await until(have_ended)


def sent_units(path: Path) -> list[tuple[float, int]]:
    """When each small-bar request came, and what it counts."""
    lines = [line for line in journal_of(path) if line["kind"] == "request_bars" and line["values"][1] == "30 secs"]
    return [
        (datetime.fromisoformat(line["time"]).timestamp(), 2 if "BID_ASK" in line["values"] else 1) for line in lines
    ]


def units_in_window(units: Sequence[tuple[float, int]]) -> list[int]:
    """Units within the ten minutes up to each request, counted here and not by the gateway."""
    return [sum(weight for at, weight in units if end - WINDOW_SECONDS < at <= end) for end, _ in units]
