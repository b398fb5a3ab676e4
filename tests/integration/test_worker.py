"""The worker on real tables, with a session that asks nobody."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pytest
from pydantic import ValidationError

from v6.clock import Clock
from v6.core.unified_queue_worker import UnifiedQueueWorker
from v6.core.worker_events import (
    LakeWriteHeld,
    RequestClaimed,
    RequestFinished,
    RequestsHeld,
    ResultsAppended,
    WorkerRecovered,
)
from v6.data.ib_request import IBRequest, NewRequest, RequestStatus
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.lake import Lake
from v6.data.table import Table
from v6.data.table_spec import UTC_MICROSECONDS, Column, TableSpec
from v6.data.table_writer import TableWriter
from v6.data.worker_state import WorkerStateTable
from v6.errors import AccountMismatch, ErrorCategory, GatewayError, LakeError, LeaseLost, RequestError, WorkerBusy
from v6.events import Event, EventBus
from v6.request_types.base import Backoff, Fetched, Gateway, Job, Parameters, Part, RequestType
from v6.signals import SIGNALS, stop_on_signals

DAY = date(2026, 11, 23)
PATIENCE = 120.0  # seconds until a test that waits for ever fails


class NotesTable(Table):
    """A result table of the tests."""

    spec: ClassVar[TableSpec] = TableSpec(
        name="notes",
        description="what the tests fetched",
        columns=(
            Column(name="request_id", dtype=pl.String, description="request"),
            Column(name="known_at", dtype=UTC_MICROSECONDS, description="appended"),
            Column(name="con_id", dtype=pl.Int64, description="contract"),
            Column(name="date", dtype=pl.Date, description="day"),
        ),
        partition_by=("date",),
        sort_by=("con_id",),
        key=("request_id", "con_id"),
    )


class NoteParameters(Parameters):
    rows: int = 1


def notes(con_ids: Sequence[int]) -> pl.DataFrame:
    return pl.DataFrame({"con_id": con_ids, "date": [DAY] * len(con_ids)}, schema={"con_id": pl.Int64, "date": pl.Date})


Script = Callable[[Job[NoteParameters], Part], Awaitable[Fetched]]


class Note(RequestType[NoteParameters]):
    """Does what the test's script says."""

    name = "note"
    description = "a note"
    parameters = NoteParameters
    result_table = "notes"
    backoff = Backoff(first_seconds=0.001)

    def __init__(self, script: Script | None = None, parts: Sequence[Part] = ({},)) -> None:
        self.script = script
        self.parts = parts
        self.runs: list[str] = []
        self.plans = 0

    async def plan(self, job: Job[NoteParameters], gateway: Gateway) -> Sequence[Part]:
        self.plans += 1
        return self.parts

    async def fetch(self, job: Job[NoteParameters], part: Part, gateway: Gateway) -> Fetched:
        self.runs.append(job.symbol)
        if self.script is not None:
            return await self.script(job, part)
        return Fetched(rows=notes(part.get("con_ids") or range(job.parameters.rows)))


class Held:
    """A script that says when it has started, and goes on when it may."""

    def __init__(self) -> None:
        self.started, self.go = asyncio.Event(), asyncio.Event()

    async def __call__(self, job: Job[NoteParameters], part: Part) -> Fetched:
        self.started.set()
        await self.go.wait()
        return Fetched(rows=notes([1]))


def held_table(writing: asyncio.Event, go: threading.Event) -> type[NotesTable]:
    """A table that says when its rows are about to be written, and writes them when it may."""
    loop = asyncio.get_running_loop()

    class Slowly(NotesTable):
        def prepare(self, frame: pl.DataFrame) -> pl.DataFrame:
            loop.call_soon_threadsafe(writing.set)
            go.wait(PATIENCE)
            return super().prepare(frame)

    return Slowly


class Slow(Note):
    name = "slow"
    pacing = "history"


class Types:
    """A catalogue of given types."""

    def __init__(self, *types: Note) -> None:
        self.types = {t.name: t for t in types}

    def names(self) -> Sequence[str]:
        return list(self.types)

    def get(self, name: str, /) -> RequestType[Any]:
        if name not in self.types:
            raise RequestError(f"request_type {name!r} is not known")
        return self.types[name]

    def check(self, new: NewRequest, /) -> NewRequest:
        self.get(new.request_type)
        if set(new.parameters) - {"rows"}:
            raise RequestError("parameters.dte is not a parameter of note")
        return replace(new, result_table="notes")

    def parse(self, request_type: str, parameters: Mapping[str, Any], /) -> NoteParameters:
        try:
            return NoteParameters.model_validate(parameters)
        except ValidationError as error:
            raise RequestError(f"parameters: {error}") from error


class Session:
    """A connection that holds back what it is told to."""

    def __init__(self, account: str = "SIM1") -> None:
        self.account = account
        self.state = "ready"
        self.refusals: dict[str, str] = {}
        self.stopped = False

    async def start(self) -> None:
        return None

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def stop(self) -> None:
        self.stopped = True

    def gateway(self, priority: int, request_id: str) -> Gateway:
        return None  # type: ignore[return-value] # the scripts ask nobody

    def admits(self, pacing: str, /) -> str | None:
        return self.refusals.get(pacing)

    def usage(self) -> Mapping[str, Any]:
        return {"lines": 0}


@dataclass
class Bench:
    """One lake with a queue, a worker and what it reported."""

    path: Path
    types: Types
    session: Session = field(default_factory=Session)
    clock: Clock = field(default_factory=Clock)
    seen: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lake = Lake(self.path / "lake")
        self.queue = self.open_queue()
        self.finished: asyncio.Queue[RequestFinished] = asyncio.Queue()
        self.claimed: asyncio.Queue[RequestClaimed] = asyncio.Queue()
        self.held: asyncio.Queue[RequestsHeld] = asyncio.Queue()

    def open_queue(self, worker: str = "worker") -> IBRequestQueue:
        return IBRequestQueue(self.lake, clock=self.clock, worker_id=worker, check=NewRequest.checked)

    def worker(self, **more: Any) -> UnifiedQueueWorker:
        events = EventBus()
        events.subscribe(RequestFinished, self.finished.put_nowait)
        events.subscribe(RequestClaimed, self.claimed.put_nowait)
        events.subscribe(RequestsHeld, self.held.put_nowait)
        events.subscribe(Event, self.seen.append)
        return UnifiedQueueWorker(
            queue=self.queue,
            connection=self.session,
            catalogue=self.types,
            lake=self.lake,
            clock=self.clock,
            events=events,
            poll_seconds=0.02,
            **{"result_tables": {"notes": NotesTable}, **more},
        )

    async def insert(self, symbol: str = "SPY", request_type: str = "note", **more: Any) -> str:
        more.setdefault("result_table", "notes")
        return await self.queue.insert(request_type=request_type, symbol=symbol, **more)

    async def drain(self, result_tables: Mapping[str, type[Table]] | None = None) -> None:
        more = {} if result_tables is None else {"result_tables": result_tables}
        async with asyncio.timeout(PATIENCE):
            await self.worker(**more).run(drain=True)

    @asynccontextmanager
    async def running(self, **more: Any) -> AsyncIterator[UnifiedQueueWorker]:
        worker = self.worker(**more)
        task = asyncio.create_task(worker.run())
        try:
            async with asyncio.timeout(PATIENCE):
                yield worker
        finally:
            worker.stop()
            await task

    def rows(self) -> pl.DataFrame:
        return NotesTable(self.lake).scan().collect()

    def last_state(self) -> dict[str, Any]:
        """The newest row of worker_state."""
        found = WorkerStateTable(self.lake).latest().collect().to_dicts()
        return found[0] if found else {"waiting": None}

    async def until(self, holds: Callable[[], bool]) -> None:
        """Look until it holds; the test's own time-out ends it otherwise."""
        while not await asyncio.to_thread(holds):
            await self.clock.sleep(0.02)

    async def status(self, request_id: str) -> RequestStatus:
        return (await self.queue.get(request_id)).status


async def test_rows_land_stamped_before_the_request_is_settled(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Types(Note()))
    request_id = await bench.insert(parameters={"rows": 3})
    await bench.drain()
    request = await bench.queue.get(request_id)
    assert (request.status, request.attempt, request.result_data["rows"]) == (RequestStatus.SUCCESS, 1, 3)
    rows = bench.rows()
    assert rows["request_id"].to_list() == [request_id] * 3
    assert rows["known_at"].max() < request.updated_at  # type: ignore[operator]
    assert bench.session.stopped


async def test_a_transient_error_is_tried_again_until_it_succeeds(tmp_path: Path) -> None:
    errors = [GatewayError("no answer", category=ErrorCategory.TIMEOUT), OSError("broken")]

    async def script(job: Job[NoteParameters], part: Part) -> Fetched:
        if errors:
            raise errors.pop()
        return Fetched(rows=notes([1]))

    bench = Bench(tmp_path, Types(Note(script)))
    request_id = await bench.insert()
    await bench.drain()
    request = await bench.queue.get(request_id)
    assert (request.status, request.attempt, bench.rows().height) == (RequestStatus.SUCCESS, 3, 1)


async def test_a_request_fails_when_its_attempts_are_used_up(tmp_path: Path) -> None:
    async def script(job: Job[NoteParameters], part: Part) -> Fetched:
        raise GatewayError("no answer", category=ErrorCategory.TIMEOUT, code=504)

    bench = Bench(tmp_path, Types(Note(script)))
    request_id = await bench.insert()
    await bench.drain()
    request = await bench.queue.get(request_id)
    assert (request.status, request.attempt, request.error_code) == (RequestStatus.FAILED, 3, 504)
    assert request.error_message == "no answer (attempt 3 of 3)"


async def test_a_request_held_back_in_the_middle_spends_no_attempt(tmp_path: Path) -> None:
    holds = [GatewayError("session lost", category=ErrorCategory.SESSION)]

    async def script(job: Job[NoteParameters], part: Part) -> Fetched:
        if holds:
            raise holds.pop()
        return Fetched(rows=notes([1]))

    bench = Bench(tmp_path, Types(Note(script)), clock=Clock("2026-11-23T17:00:00Z*50"))
    request_id = await bench.insert()
    await bench.drain()
    request = await bench.queue.get(request_id)
    assert (request.status, request.attempt) == (RequestStatus.SUCCESS, 1)


async def test_what_the_session_does_not_admit_is_not_claimed_and_says_why(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Types(Note(), Slow()))
    bench.session.refusals["history"] = "historical farm is down"
    held = await bench.insert("QQQ", "slow")
    free = await bench.insert("SPY")
    async with bench.running():
        assert (await bench.held.get()).reason == "historical farm is down"
        assert (await bench.finished.get()).request_id == free
        waiting = await bench.queue.get(held)
        assert (waiting.status, waiting.revision) == (RequestStatus.PENDING, 0)
        await bench.until(lambda: bench.last_state()["waiting"] == '{"historical farm is down": 1}')
        bench.session.refusals.clear()
        assert (await bench.finished.get()).request_id == held


async def test_an_urgent_request_finishes_while_long_ones_fill_every_normal_place(tmp_path: Path) -> None:
    never = asyncio.Event()

    async def script(job: Job[NoteParameters], part: Part) -> Fetched:
        if job.priority > 1:
            await never.wait()
        return Fetched(rows=notes([1]))

    bench = Bench(tmp_path, Types(Note(script)))
    for number in range(4):
        await bench.insert(f"LONG{number}")
    async with bench.running(batch_size=5, urgent_places=2, grace_seconds=0.0):
        for _ in range(3):
            await bench.claimed.get()
        urgent = await bench.insert("ES", priority=1)
        finished = await bench.finished.get()
        assert (finished.request_id, finished.outcome) == (urgent, "done")
        stats = await bench.queue.stats()
        assert (stats.in_flight, stats.due) == (3, 1)
    stats = await bench.queue.stats()
    assert (stats.in_flight, stats.due + stats.delayed) == (0, 4)


async def test_stopping_puts_back_what_does_not_finish_in_time(tmp_path: Path) -> None:
    held = Held()
    bench = Bench(tmp_path, Types(Note(held)))
    request_id = await bench.insert()
    async with bench.running(grace_seconds=0.05):
        await held.started.wait()
    request = await bench.queue.get(request_id)
    assert (request.status, request.attempt) == (RequestStatus.PENDING, 0)
    assert request.error_message == "put back: the worker stopped"
    state = WorkerStateTable(bench.lake).latest().collect()
    assert state["state"].to_list() == ["stopped"]
    assert bench.session.stopped


async def test_stopping_lets_what_runs_finish_within_the_grace(tmp_path: Path) -> None:
    held = Held()
    bench = Bench(tmp_path, Types(Note(held)))
    request_id = await bench.insert()
    async with bench.running():
        await held.started.wait()
        asyncio.get_running_loop().call_later(0.05, held.go.set)
    assert await bench.status(request_id) is RequestStatus.SUCCESS
    assert bench.rows().height == 1


async def test_a_row_written_past_the_checks_fails_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Types(Note()))
    bad = [
        await bench.insert("SPY", parameters={"dte": "x"}),
        await bench.insert("SPY", "unheard_of"),
        await bench.insert("SPY", parameters={"rows": "many"}),
    ]
    good = await bench.insert("QQQ")
    await bench.drain()
    assert await bench.status(good) is RequestStatus.SUCCESS
    for request_id in bad:
        request = await bench.queue.get(request_id)
        assert (request.status, request.error_category) == (RequestStatus.FAILED, "validation")
    assert "parameters.dte" in ((await bench.queue.get(bad[0])).error_message or "")


async def test_rows_that_do_not_fit_fail_their_own_request_only(tmp_path: Path) -> None:
    async def script(job: Job[NoteParameters], part: Part) -> Fetched:
        rows = notes([1])
        return Fetched(rows=rows.with_columns(surprise=pl.lit(1)) if job.symbol == "BAD" else rows)

    bench = Bench(tmp_path, Types(Note(script)))
    bad, good = await bench.insert("BAD"), await bench.insert("GOOD")
    await bench.drain()
    assert await bench.status(good) is RequestStatus.SUCCESS
    failed = await bench.queue.get(bad)
    assert failed.status is RequestStatus.FAILED
    assert "surprise" in (failed.error_message or "")
    assert bench.rows()["request_id"].to_list() == [good]


async def left_behind(bench: Bench) -> list[IBRequest]:
    """Claims of a worker that died."""
    return await bench.queue.claim(50)


def land(bench: Bench, request_id: str, con_ids: Sequence[int]) -> None:
    stamps = {"request_id": pl.lit(request_id), "known_at": pl.lit(datetime.now(UTC))}
    NotesTable(bench.lake).append(notes(con_ids).with_columns(**stamps))


async def test_a_restart_settles_what_landed_and_runs_the_rest(tmp_path: Path) -> None:
    note = Note()
    bench = Bench(tmp_path, Types(note))
    landed, lost = await bench.insert("LANDED"), await bench.insert("LOST")
    assert len(await left_behind(bench)) == 2
    land(bench, landed, [1, 2])
    await bench.drain()
    assert note.runs == ["LOST"]
    assert [event for event in bench.seen if isinstance(event, WorkerRecovered)] == [
        WorkerRecovered(worker="worker", landed=1, put_back=1)
    ]
    for request_id, rows in ((landed, 2), (lost, 1)):
        request = await bench.queue.get(request_id)
        assert (request.status, request.result_data["rows"]) == (RequestStatus.SUCCESS, rows)
        assert bench.rows().filter(request_id=request_id).height == rows


async def test_a_restart_keeps_the_plan_and_skips_the_parts_that_landed(tmp_path: Path) -> None:
    note = Note()
    bench = Bench(tmp_path, Types(note))
    request_id = await bench.insert("SPY")
    await left_behind(bench)
    await bench.queue.record_plan(request_id, [{"con_ids": [1, 2]}, {"con_ids": [3, 4]}, {"con_ids": [5]}])
    land(bench, request_id, [1, 2])
    await bench.drain()
    assert (note.plans, len(note.runs)) == (0, 2)
    assert sorted(bench.rows()["con_id"]) == [1, 2, 3, 4, 5]
    request = await bench.queue.get(request_id)
    assert (request.status, request.result_data["rows"]) == (RequestStatus.SUCCESS, 5)


async def test_parts_land_one_by_one_and_their_plan_is_written_first(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Types(Note(parts=[{"con_ids": [1]}, {"con_ids": [2]}])))
    request_id = await bench.insert()
    await bench.drain()
    history = bench.queue.request_history(request_id).collect()
    assert history["status"].to_list() == ["PENDING", "PROCESSING", "PROCESSING", "SUCCESS"]
    assert bench.rows()["known_at"].n_unique() == 2
    assert history["updated_at"][2] < bench.rows()["known_at"].min()


async def test_a_second_worker_of_one_name_is_refused_with_the_process(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Types(Note()))
    request_id = await bench.insert()
    async with bench.running():
        assert (await bench.finished.get()).request_id == request_id
        with pytest.raises(WorkerBusy, match=f"process {os.getpid()}"):
            await bench.worker().run()


async def test_a_lake_of_another_account_is_refused(tmp_path: Path) -> None:
    await Bench(tmp_path, Types(Note())).drain()
    other = Bench(tmp_path, Types(Note()), session=Session("U7"))
    request_id = await other.insert()
    with pytest.raises(AccountMismatch, match=r"SIM1.*U7"):
        await other.drain()
    assert other.session.stopped
    assert await other.status(request_id) is RequestStatus.PENDING


async def test_a_dead_side_task_stops_the_worker_and_puts_back_what_ran(tmp_path: Path) -> None:
    started, never = asyncio.Event(), asyncio.Event()

    class Dying(Session):
        async def run(self) -> None:
            await started.wait()
            raise RuntimeError("the supervisor died")

    async def script(job: Job[NoteParameters], part: Part) -> Fetched:
        started.set()
        await never.wait()
        return Fetched(rows=notes([1]))

    bench = Bench(tmp_path, Types(Note(script)), session=Dying())
    request_id = await bench.insert()
    with pytest.raises(RuntimeError, match="the supervisor died"):
        await bench.drain()
    assert await bench.status(request_id) is RequestStatus.PENDING


async def test_a_delayed_request_keeps_a_draining_worker_at_work(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Types(Note()))
    request_id = await bench.insert(not_before=bench.clock.now() + timedelta(seconds=0.3))
    await bench.drain()
    assert await bench.status(request_id) is RequestStatus.SUCCESS


async def test_a_disk_that_refuses_holds_the_rows_until_it_accepts(tmp_path: Path) -> None:
    refusals = [LakeError("disk full"), LakeError("disk full")]

    class Refusing(NotesTable):
        def prepare(self, frame: pl.DataFrame) -> pl.DataFrame:
            if refusals:
                raise refusals.pop()
            return super().prepare(frame)

    note = Note()
    bench = Bench(tmp_path, Types(note))
    request_id = await bench.insert()
    await bench.drain({"notes": Refusing})
    request = await bench.queue.get(request_id)
    assert (request.status, request.attempt, note.runs) == (RequestStatus.SUCCESS, 1, ["SPY"])
    assert bench.rows().height == 1
    assert [event.message for event in bench.seen if isinstance(event, LakeWriteHeld)] == ["disk full"]


async def test_a_worker_that_was_fenced_stops_and_writes_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Types(Note()))
    first = await bench.insert()
    await bench.drain()
    fence = int(bench.clock.machine_now().timestamp()) + 1000

    class Fenced(NotesTable):
        def prepare(self, frame: pl.DataFrame) -> pl.DataFrame:
            TableWriter(bench.lake, self.spec, app_id="worker", epoch=fence)
            return super().prepare(frame)

    second = await bench.insert()
    with pytest.raises(LeaseLost, match="another has taken over"):
        await bench.drain({"notes": Fenced})
    assert bench.rows()["request_id"].to_list() == [first]
    assert await bench.status(second) is RequestStatus.PROCESSING
    await bench.drain()
    assert await bench.status(second) is RequestStatus.SUCCESS
    assert sorted(bench.rows()["request_id"]) == sorted([first, second])


async def test_stopped_while_its_rows_are_written_a_request_ends_as_they_do(tmp_path: Path) -> None:
    writing, go = asyncio.Event(), threading.Event()
    bench = Bench(tmp_path, Types(Note()))
    request_id = await bench.insert()
    async with bench.running(result_tables={"notes": held_table(writing, go)}, grace_seconds=0.0):
        await writing.wait()
        asyncio.get_running_loop().call_later(0.1, go.set)
    assert await bench.status(request_id) is RequestStatus.SUCCESS
    assert bench.rows().height == 1


async def test_what_finishes_together_lands_in_one_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("v6.core.result_writer.GATHER_SECONDS", 1.0)  # ten tasks take a moment to pass the gate
    gate = asyncio.Barrier(10)

    async def script(job: Job[NoteParameters], part: Part) -> Fetched:
        await gate.wait()
        return Fetched(rows=notes([1]))

    bench = Bench(tmp_path, Types(Note(script)))
    for number in range(10):
        await bench.insert(f"S{number}")
    await bench.drain()
    appended = [event for event in bench.seen if isinstance(event, ResultsAppended)]
    assert [(event.rows, event.requests) for event in appended] == [(10, 10)]


@pytest.fixture
def signals_as_before() -> Iterator[None]:
    """A daemon ignores signals after its end; the tests go on."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals_as_before")
async def test_sigterm_stops_the_worker_in_good_order(tmp_path: Path) -> None:
    held = Held()
    bench = Bench(tmp_path, Types(Note(held)))
    request_id = await bench.insert()
    worker = bench.worker(grace_seconds=0.0)
    with stop_on_signals(worker.stop):
        task = asyncio.create_task(worker.run())
        await held.started.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            await task
    assert await bench.status(request_id) is RequestStatus.PENDING
