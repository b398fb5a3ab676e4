"""Real workers that die, or are suspended past their lease, and those that take over from them."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import polars as pl
import pytest
from tests.acceptance import deadly_types
from tests.acceptance.test_worker_processes import (
    LINES,
    SECONDS,
    Place,
    asked_in_journal,
    environment,
    place,
    until,
)

from v6.data.ib_request_queue import NewRequest

__all__ = ["place"]


class Worker:
    """A real worker process and what it logs."""

    def __init__(self, place: Place, name: str, *more: str, path: Path | None = None) -> None:
        settings = ["--lake", str(place.lake), "--gateway-port", str(place.port), "--clock", place.clock]
        settings += ["--market-data-lines", str(LINES), "--worker-name", name, "--log-format", "json"]
        variables = environment() | ({} if path is None else {"PYTHONPATH": str(path)})
        self.process = subprocess.Popen(
            [sys.executable, "-m", "v6", "worker", *settings, *more],
            stderr=subprocess.PIPE,
            text=True,
            env=variables,
        )
        self.events: list[dict[str, Any]] = []
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.events.append(json.loads(line) if line.startswith("{") else {"event": line})

    def said(self, event: str) -> list[dict[str, Any]]:
        """Every event of a name so far."""
        return [found for found in self.events if found["event"] == event]

    def end(self) -> int:
        """Wait for the process and the rest of its log."""
        code = self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        return code


@contextmanager
def worker(place: Place, name: str, *more: str, path: Path | None = None) -> Iterator[Worker]:
    found = Worker(place, name, *more, path=path)
    try:
        yield found
    finally:
        if found.process.poll() is None:
            found.process.send_signal(signal.SIGCONT)
            found.process.kill()
        found.end()
        assert found.process.stderr is not None
        found.process.stderr.close()


CHAINS = [
    NewRequest(request_type="option_chain", symbol=symbol, parameters={"dte": 45, "max_contracts": 20})
    for symbol in ("SPY", "QQQ", "IWM")
]


async def test_a_worker_suspended_past_its_lease_wakes_up_writes_nothing_says_so_and_works_on(place: Place) -> None:
    queue = place.queue()
    ids = await queue.insert_many(CHAINS)
    few = ["--market-data-lines", "40"]  # its chains take seconds: none has ended before it is suspended
    with worker(place, "first", "--lease-seconds", "2", *few) as first:
        await until(lambda: asked_in_journal(place) >= 5, first.process)
        first.process.send_signal(signal.SIGSTOP)
        held = place.requests().filter(pl.col("status") == "PROCESSING")
        assert held.height
        assert set(held["worker_id"]) == {"first"}
        with worker(place, "second", "--lease-seconds", "2", "--client-id", "20") as second:
            await until(lambda: bool(second.said("worker.took_over")), second.process)
            (taken,) = second.said("worker.took_over")
            assert (taken["dead"], taken["crashed"]) == ("first", 0)
            assert taken["silent_seconds"] >= 2
            assert taken["landed"] + taken["put_back"] == held.height
            for request_id in ids:
                await queue.wait(request_id, timeout_seconds=SECONDS)
            first.process.send_signal(signal.SIGCONT)
            await until(lambda: bool(first.said("worker.lease_lost")), first.process)
            second.process.terminate()
            assert await asyncio.to_thread(second.end) == 0
        await until(lambda: len(first.said("worker.started")) == 2, first.process)
        late = await queue.insert_many(CHAINS[:1])
        done = await queue.wait(late[0], timeout_seconds=SECONDS)
        assert (done.status, done.worker_id) == ("SUCCESS", "first")
        first.process.terminate()
        assert await asyncio.to_thread(first.end) == 0
    await queue.close()
    assert_once(place, [*ids, *late])


def assert_once(place: Place, ids: list[str]) -> None:
    """Every request ended well exactly once, and its rows are there exactly once."""
    requests = place.requests()
    assert set(requests["request_id"]) == set(ids)
    assert set(requests["status"]) == {"SUCCESS"}
    states = pl.read_delta(str(place.lake / "ib_requests"))
    assert states.select("request_id", "revision").is_unique().all()
    assert states.filter(status="SUCCESS").height == len(ids)
    rows = place.rows("option_snapshots")
    assert rows.select("request_id", "con_id").is_unique().all()
    written = {i: json.loads(data)["rows"] for i, data in requests.select("request_id", "result_data").iter_rows()}
    assert dict(rows["request_id"].value_counts().iter_rows()) == written


async def test_a_killed_workers_claims_are_taken_over_at_once_by_a_worker_on_the_same_machine(place: Place) -> None:
    queue = place.queue()
    ids = await queue.insert_many(CHAINS)
    with worker(place, "first") as first, worker(place, "second", "--client-id", "20") as second:
        await until(lambda: bool(first.said("worker.started") and second.said("worker.started")), first.process)
        await until(lambda: asked_in_journal(place) >= 5, first.process)
        first.process.kill()
        await asyncio.to_thread(first.end)
        for request_id in ids:
            await queue.wait(request_id, timeout_seconds=SECONDS)
        second.process.terminate()
        assert await asyncio.to_thread(second.end) == 0
        assert all(event["silent_seconds"] < 30 for event in second.said("worker.took_over"))
    await queue.close()
    assert_once(place, ids)


@pytest.fixture
def deadly(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    deadly_types.install(folder)
    return folder


async def insert_deadly(place: Place, request_type: str) -> tuple[str, list[str]]:
    """One deadly request and three chains, which nobody's catalogue here has checked."""
    queue = place.queue()
    bad = NewRequest(request_type=request_type, symbol="SPY", priority=2, result_table="position_updates")
    queue._check = lambda new: new.checked()  # the type is installed where the worker runs
    (request_id,) = await queue.insert_many([bad])
    await queue.close()
    checked = place.queue()
    ids = await checked.insert_many(CHAINS)
    await checked.close()
    return request_id, ids


async def deaths(place: Place, deadly: Path, most: int) -> list[Worker]:
    """Start the worker again each time it dies, until it has drained the queue; every life."""
    lives = []
    for _ in range(most):
        with worker(place, "worker", "--drain", path=deadly) as life:
            code = await asyncio.to_thread(life.end)
        lives.append(life)
        if code == 0:
            break
        assert code == -signal.SIGKILL, life.events[-3:]
    return lives


async def test_a_request_that_kills_its_worker_runs_alone_after_three_times_and_then_fails_as_poison(
    place: Place, deadly: Path
) -> None:
    bad, good = await insert_deadly(place, "deadly")
    lives = await deaths(place, deadly, 8)
    assert len(lives) == 5  # three crashes beside others, one alone, and a life of its own for the rest
    crashes = [event["crashed"] for life in lives for event in life.said("worker.recovered")]
    assert len(crashes) == 4
    assert lives[-1].said("worker.recovered")[0]["poisoned"] == 1
    queue = place.queue()
    poison = await queue.get(bad)
    assert (poison.status, poison.crashes, poison.attempt) == ("FAILED", 4, 0)
    assert (poison.error_message or "").startswith("poison: the worker died 4 times")
    history = queue.request_history(bad).collect()
    others = pl.read_delta(str(place.lake / "ib_requests")).filter(pl.col("request_id").is_in(good))
    alone = history.filter(status="PROCESSING")["updated_at"][-1]
    beside = others.sort("revision").filter(pl.col("updated_at") <= alone).group_by("request_id").last()
    assert "PROCESSING" not in set(beside["status"])
    await queue.close()
    assert {(await place.queue().get(each)).status for each in good} == {"SUCCESS"}


async def test_a_crash_does_not_count_against_what_had_sent_nothing(place: Place, deadly: Path) -> None:
    bad, _ = await insert_deadly(place, "deadly_unsent")
    lives = await deaths(place, deadly, 5)
    assert len(lives) == 5  # it would go on for ever: nothing was sent, so nothing is counted
    queue = place.queue()
    request = await queue.get(bad)
    await queue.close()
    assert (request.status, request.crashes) == ("PROCESSING", 0)
