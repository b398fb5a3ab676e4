"""A running request is cancelled from another process: nothing of it lands after, or it is SUCCESS; never both."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.integration.test_worker import PATIENCE, Bench, Note, NoteParameters, Types, held_table, notes

from v6.clock import Clock
from v6.data.ib_request import REQUESTS, RequestStatus
from v6.data.outcome import Done
from v6.data.worker_state import WorkerStateTable
from v6.request_types.base import Fetched, Job, Part


async def ended(bench: Bench, request_id: str) -> RequestStatus:
    person = bench.open_queue("")
    try:
        return (await person.wait(request_id, timeout_seconds=PATIENCE)).status
    finally:
        await person.close()


async def cancel(bench: Bench, request_id: str) -> None:
    person = bench.open_queue("")
    asked = await person.cancel(request_id, reason="not needed")
    assert (asked.status, asked.cancel_reason) == (RequestStatus.PROCESSING, "not needed")
    await person.close()


async def test_a_running_request_is_stopped_and_nothing_of_it_lands(tmp_path: Path) -> None:
    started, never = asyncio.Event(), asyncio.Event()

    async def script(job: Job[NoteParameters], part: Part) -> Fetched:
        if job.symbol == "LONG":
            started.set()
            await never.wait()
        return Fetched(rows=notes([1]))

    bench = Bench(tmp_path, Types(Note(script)))
    request_id = await bench.insert("LONG")
    async with bench.running():
        await started.wait()
        await cancel(bench, request_id)
        assert await ended(bench, request_id) is RequestStatus.CANCELLED
        other = await bench.insert("NEXT")
        assert await ended(bench, other) is RequestStatus.SUCCESS
    request = await bench.queue.get(request_id)
    assert (request.error_message, request.attempt, request.cancel_reason) == ("not needed", 0, None)
    assert bench.rows()["request_id"].to_list() == [other]


async def test_what_is_being_written_when_it_is_cancelled_is_a_success(tmp_path: Path) -> None:
    writing, go = asyncio.Event(), threading.Event()
    bench = Bench(tmp_path, Types(Note()))
    request_id = await bench.insert()
    async with bench.running(result_tables={"notes": held_table(writing, go)}):
        await writing.wait()
        await cancel(bench, request_id)
        asyncio.get_running_loop().call_later(0.2, go.set)
        assert await ended(bench, request_id) is RequestStatus.SUCCESS
    assert bench.rows()["request_id"].to_list() == [request_id]


async def test_parts_that_landed_stay_and_are_named(tmp_path: Path) -> None:
    second, never = asyncio.Event(), asyncio.Event()

    async def script(job: Job[NoteParameters], part: Part) -> Fetched:
        if part["con_ids"] == [3]:
            second.set()
            await never.wait()
        return Fetched(rows=notes(part["con_ids"]))

    bench = Bench(tmp_path, Types(Note(script, parts=[{"con_ids": [1, 2]}, {"con_ids": [3]}])))
    request_id = await bench.insert()
    async with bench.running():
        await second.wait()
        await bench.until(lambda: bench.rows().height == 2)
        await cancel(bench, request_id)
        assert await ended(bench, request_id) is RequestStatus.CANCELLED
    request = await bench.queue.get(request_id)
    assert request.error_message == "not needed; 2 rows of it had landed before"
    assert bench.rows().height == 2


async def test_a_dead_workers_request_that_is_wanted_cancelled_does_not_run_again(tmp_path: Path) -> None:
    note = Note()
    bench = Bench(tmp_path, Types(note))
    request_id = await bench.insert()
    await bench.queue.claim()
    await cancel(bench, request_id)
    await bench.drain()
    assert await bench.status(request_id) is RequestStatus.CANCELLED
    assert note.runs == []


# The clock steps


async def test_a_clock_that_steps_back_an_hour_changes_neither_states_nor_their_order(tmp_path: Path) -> None:
    machine = [datetime(2026, 11, 23, 17, 0, tzinfo=UTC).timestamp()]
    bench = Bench(tmp_path, Types(Note()), clock=Clock(machine=lambda: machine[0]))
    request_id = await bench.insert("BEFORE")
    (claimed,) = await bench.queue.claim()
    machine[0] -= timedelta(hours=1).total_seconds()
    await bench.queue.settle({request_id: Done(result={"rows": 0})})
    later = await bench.insert("AFTER")
    await bench.drain()
    history = bench.queue.request_history(request_id).collect()
    assert history["status"].to_list() == ["PENDING", "PROCESSING", "SUCCESS"]
    assert history["updated_at"].is_sorted()
    assert history["updated_at"][-1] >= claimed.updated_at
    assert await bench.open_queue("x").claim() == []  # a fresh fold of the whole table agrees
    assert {await bench.status(each) for each in (request_id, later)} == {RequestStatus.SUCCESS}
    assert bench.rows()["request_id"].to_list() == [later]
    assert bench.lake.scan(REQUESTS).select("request_id", "revision").collect().is_unique().all()


async def test_a_worker_works_on_while_its_clock_steps_back_and_its_lease_stays(tmp_path: Path) -> None:
    offset = [0.0]
    real = Clock()
    bench = Bench(tmp_path, Types(Note()), clock=Clock(machine=lambda: real.machine_now().timestamp() + offset[0]))
    async with bench.running(lease_seconds=1.0):
        before = await bench.insert("BEFORE")
        assert await ended(bench, before) is RequestStatus.SUCCESS
        offset[0] = -3600.0
        after = await bench.insert("AFTER")
        assert await ended(bench, after) is RequestStatus.SUCCESS
        beats = WorkerStateTable(bench.lake).scan().collect().height
        await bench.until(lambda: WorkerStateTable(bench.lake).scan().collect().height >= beats + 12)  # two leases
        assert await ended(bench, await bench.insert("STILL")) is RequestStatus.SUCCESS
    assert bench.rows().height == 3
