"""A dead or silent worker's claims: who may take them over, when, and what the one that wakes up can still do."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from tests.integration.test_worker import (
    PATIENCE,
    Bench,
    Held,
    Note,
    NoteParameters,
    NotesTable,
    Session,
    Types,
    land,
    notes,
)

from v6.core.lease_watch import LeaseWatch
from v6.core.recovery import Left, fence_all, outcomes_of_left
from v6.core.sent_record import SentRecord, sent_by, sent_path
from v6.core.take_over import TakeOver
from v6.core.unified_queue_worker import UnifiedQueueWorker
from v6.core.worker_events import TakeOverHeld, WorkerLeaseLost, WorkerRecovered, WorkerTookOver
from v6.core.worker_lock import Holder, WorkerLock, holder_of, lock_folder
from v6.data.contracts import CONTRACTS
from v6.data.ib_request import RequestStatus
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.lake import Lake
from v6.data.outcome import Crashed, Done, Outcome
from v6.data.queue_state import ClaimLimits
from v6.data.table_writer import TableWriter
from v6.data.worker_state import WORKER_STATE, WorkerState, WorkerStateTable
from v6.errors import LakeError, LeaseLost, WorkerBusy
from v6.events import EventBus
from v6.request_types.base import Fetched, Job, Part

LEASE = 10.0


class Elapsed:
    """Machine time that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def heartbeats(lake: Lake, worker: str, epoch: int) -> Callable[[], int]:
    writer = TableWriter(lake, WORKER_STATE, app_id=worker, epoch=epoch)
    state = WorkerStateTable(lake).row(WorkerState(worker_id=worker, state="ready", in_flight=0))
    return lambda: writer.append(state)


def watch(lake: Lake, elapsed: Elapsed) -> LeaseWatch:
    return LeaseWatch(lake=lake, lock_folder=lock_folder(lake), lease_seconds=LEASE, monotonic=elapsed)


def taker(bench: Bench, name: str = "other", lease_seconds: float = LEASE) -> TakeOver:
    bus = EventBus()
    bus.subscribe(WorkerTookOver, bench.seen.append)
    bus.subscribe(WorkerRecovered, bench.seen.append)
    bus.subscribe(TakeOverHeld, bench.seen.append)
    return TakeOver(
        queue=bench.open_queue(name),
        lake=bench.lake,
        clock=bench.clock,
        events=bus,
        catalogue=bench.types,
        tables={"notes": NotesTable},
        lock_folder=lock_folder(bench.lake),
        lease_seconds=lease_seconds,
        crash_limit=3,
    )


def test_a_lease_runs_out_after_its_length_without_a_heartbeat_and_never_before(tmp_path: Path) -> None:
    lake, elapsed = Lake(tmp_path), Elapsed()
    beat = heartbeats(lake, "silent", 1)
    observer = watch(lake, elapsed)
    for _ in range(20):  # it lives far longer than a lease while it beats
        beat()
        assert observer.dead({"silent": 1}) == []
        elapsed.seconds += 4
    for _ in range(2):  # the last beat was seen four seconds ago
        assert observer.dead({"silent": 1}) == []
        elapsed.seconds += 2.95
    assert observer.dead({"silent": 1}) == []
    elapsed.seconds += 0.2
    (dead,) = observer.dead({"silent": 1})
    assert (dead.worker, dead.epoch, dead.holder) == ("silent", 1, Holder.UNKNOWN)
    assert dead.silent_seconds >= LEASE


def test_a_new_epoch_is_a_sign_of_life(tmp_path: Path) -> None:
    lake, elapsed = Lake(tmp_path), Elapsed()
    observer = watch(lake, elapsed)
    for epoch in (1, 1, 1, 2, 2):
        assert observer.dead({"w": epoch}) == []
        elapsed.seconds += 4


def test_an_observer_that_was_suspended_itself_counts_anew(tmp_path: Path) -> None:
    lake, elapsed = Lake(tmp_path), Elapsed()
    observer = watch(lake, elapsed)
    assert observer.dead({"w": 1}) == []
    elapsed.seconds += 1000
    assert observer.dead({"w": 1}) == []


def test_a_free_lock_of_this_machine_proves_its_holder_dead_at_once(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    folder = lock_folder(lake)
    assert holder_of(folder, "w") is Holder.UNKNOWN
    with WorkerLock(folder, "w"):
        assert holder_of(folder, "w") is Holder.ALIVE
    assert holder_of(folder, "w") is Holder.DEAD
    assert [dead.holder for dead in watch(lake, Elapsed()).dead({"w": 3})] == [Holder.DEAD]
    (folder / "w.lock").write_text("77\nanother boot, or another machine\n")
    assert holder_of(folder, "w") is Holder.UNKNOWN


async def test_a_lake_that_refuses_is_said_once_for_each_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, Types(Note()))
    looks = iter([LakeError("full"), LakeError("full"), LakeError("torn"), None, LakeError("torn"), LeaseLost("end")])

    async def look(_: LeaseWatch) -> None:
        error = next(looks)
        if error is not None:
            raise error

    other = taker(bench, lease_seconds=0.01)
    monkeypatch.setattr(other, "look", look)
    with pytest.raises(LeaseLost):
        await other.run()
    assert [event.message for event in bench.seen if isinstance(event, TakeOverHeld)] == ["full", "torn", "torn"]


async def claimed_by_worker(bench: Bench, symbols: str) -> tuple[int, list[str]]:
    """Claims of the worker named ``worker``, which holds its place in the epoch that is given."""
    ids = [await bench.insert(symbol) for symbol in symbols]
    epoch = await bench.queue.take_place()
    assert len(await bench.queue.claim(50)) == len(ids)
    return epoch, ids


async def test_a_taken_over_worker_can_neither_claim_nor_settle_nor_write_to_any_table(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Types(Note()))
    epoch, (first, second) = await claimed_by_worker(bench, "AB")
    stale = TableWriter(bench.lake, NotesTable.spec, app_id="worker", epoch=epoch)
    row = notes([1]).with_columns(request_id=pl.lit(first), known_at=pl.lit(bench.clock.machine_now()))
    other = bench.open_queue("other")
    taken = await other.take_over_place("worker", seen=epoch)
    assert taken == epoch + 1
    fence_all(bench.lake, [NotesTable.spec, CONTRACTS], "worker", taken)

    with pytest.raises(LeaseLost, match="fenced from notes"):
        stale.append(row)
    with pytest.raises(LeaseLost, match="fenced from contracts"):  # a table that it had not opened, nor anybody made
        TableWriter(bench.lake, CONTRACTS, app_id="worker", epoch=epoch)
    for attempt in (
        bench.queue.settle({first: Done()}),
        bench.queue.claim(5),
        bench.queue.record_plan(second, [{}, {}]),
        bench.queue.has_work(ClaimLimits(limit=5)),
    ):
        with pytest.raises(LeaseLost, match="worker lost its lease"):
            await attempt
    assert bench.rows().is_empty()
    assert {r.request_id for r in await other.unfinished("worker")} == {first, second}
    assert await bench.open_queue().take_place() == taken + 1  # it starts over


async def test_of_two_that_take_over_at_once_one_wins(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Types(Note()))
    epoch, _ = await claimed_by_worker(bench, "A")
    rivals = [bench.open_queue(name) for name in ("b", "c", "d")]
    for rival in rivals:
        await rival.refresh()
    epochs = await asyncio.gather(*(rival.take_over_place("worker", seen=epoch) for rival in rivals))
    assert sorted(epochs, key=str) == [epoch + 1, None, None]
    loser = rivals[epochs.index(None)]
    assert await loser.settle_left("worker", epoch, {}) is None


async def test_a_take_over_that_died_half_way_is_taken_over_itself(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Types(Note()))
    epoch, ids = await claimed_by_worker(bench, "AB")
    land(bench, ids[0], [1])
    half = await bench.open_queue("half").take_over_place("worker", seen=epoch)  # and then it died
    assert half is not None
    with WorkerLock(lock_folder(bench.lake), "worker"):
        pass
    other = taker(bench)
    await other.look(watch(bench.lake, Elapsed()))
    assert [await bench.status(each) for each in ids] == [RequestStatus.SUCCESS, RequestStatus.PENDING]
    assert [event for event in bench.seen if isinstance(event, WorkerTookOver)] == [
        WorkerTookOver(
            worker="other", dead="worker", silent_seconds=0.0, landed=1, put_back=1, crashed=0, poisoned=0, cancelled=0
        )
    ]
    assert await bench.open_queue("half").settle_left("worker", half, {}) is None


async def test_what_lives_is_left_alone(tmp_path: Path) -> None:
    held = Held()
    bench = Bench(tmp_path, Types(Note(held)))
    request_id = await bench.insert()
    async with bench.running(grace_seconds=0.0, lease_seconds=1.0):
        await held.started.wait()
        other, observer = taker(bench), watch(bench.lake, Elapsed())
        await other.look(observer)
        assert await bench.status(request_id) is RequestStatus.PROCESSING
    assert not [event for event in bench.seen if isinstance(event, WorkerTookOver)]


async def test_a_worker_whose_place_was_taken_writes_nothing_says_so_and_starts_over(tmp_path: Path) -> None:
    held = Held()
    bench = Bench(tmp_path, Types(Note(held)))
    request_id = await bench.insert()
    run = asyncio.create_task(bench.worker().run())
    async with asyncio.timeout(PATIENCE):
        await held.started.wait()
        other = bench.open_queue("other")
        (epoch,) = (await other.claimants()).values()
        taken = await other.take_over_place("worker", seen=epoch)
        assert taken is not None
        fence_all(bench.lake, [NotesTable.spec, WORKER_STATE], "worker", taken)
        held.go.set()
        with pytest.raises(LeaseLost):
            await run
    assert [type(event) for event in bench.seen if isinstance(event, WorkerLeaseLost)] == [WorkerLeaseLost]
    assert bench.rows().is_empty()
    assert (await other.get(request_id)).worker_id == "worker"
    assert await bench.status(request_id) is RequestStatus.PROCESSING  # it is the other's to settle
    await bench.drain()
    assert await bench.status(request_id) is RequestStatus.SUCCESS
    assert bench.rows().height == 1


async def test_two_workers_of_different_names_share_the_queue_and_nothing_else(tmp_path: Path) -> None:
    both = asyncio.Barrier(8)

    async def script(job: Job[NoteParameters], part: Part) -> Fetched:
        await both.wait()  # four places each: both must be at work
        return Fetched(rows=notes([1]))

    bench = Bench(tmp_path, Types(Note(script)))
    ids = [await bench.insert(f"S{number}") for number in range(8)]
    other = UnifiedQueueWorker(
        queue=bench.open_queue("other"),
        connection=Session(),
        catalogue=bench.types,
        lake=bench.lake,
        clock=bench.clock,
        events=EventBus(),
        worker_name="other",
        poll_seconds=0.02,
        batch_size=4,
        urgent_places=0,
        result_tables={"notes": NotesTable},
    )
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(bench.worker(batch_size=4, urgent_places=0).run(drain=True), other.run(drain=True))
    requests = bench.queue.requests().collect()
    assert set(requests["status"]) == {"SUCCESS"}
    assert requests["worker_id"].value_counts(sort=True)["count"].to_list() == [4, 4]
    assert sorted(bench.rows()["request_id"]) == sorted(ids)


# Crashes


def test_only_what_had_sent_something_and_not_ended_is_on_record(tmp_path: Path) -> None:
    record = SentRecord(sent_path(tmp_path, "w"))
    record.open()
    for request_id in ("a", "b", "c"):
        record.begin(request_id)
    for request_id in ("a", "b", "a", "a stranger's"):
        record.note(request_id)
    assert sent_by(tmp_path, "w") == {"a", "b"}
    record.end("a")
    record.note("a")  # its cancel goes out after the end
    record.end("c")
    assert sent_by(tmp_path, "w") == {"b"}
    record.end("b")
    assert record.path.stat().st_size == 0
    record.close()
    assert sent_by(tmp_path, "nobody") == frozenset()


async def outcome_after(bench: Bench, crashes: int, *, has_sent: bool) -> Outcome:
    """What becomes of a request that crashed so often before."""
    (request,) = await bench.queue.unfinished()
    for _ in range(crashes):
        await bench.queue.settle({request.request_id: Crashed(at=bench.clock.now(), reason="r")})
        (request,) = await bench.queue.claim()
    left = Left(requests=[request], sent={request.request_id} if has_sent else (), crash_limit=3)
    (outcome,) = outcomes_of_left(left, bench.lake, {"note": NotesTable.spec}, bench.clock.now()).values()
    return outcome


async def test_a_crash_counts_when_something_was_sent_and_the_fourth_is_poison(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Types(Note()))
    request_id = await bench.insert()
    await bench.queue.claim()
    assert not isinstance(await outcome_after(bench, 0, has_sent=False), Crashed)
    third = await outcome_after(bench, 2, has_sent=True)
    assert isinstance(third, Crashed)
    assert third.at is not None
    await bench.queue.settle({request_id: third})
    (request,) = await bench.queue.claim()
    assert (request.crashes, request.attempt) == (3, 0)
    fourth = await outcome_after(bench, 0, has_sent=True)
    assert isinstance(fourth, Crashed)
    await bench.queue.settle({request_id: fourth})
    dead = await bench.queue.get(request_id)
    assert (dead.status, dead.crashes, dead.attempt, dead.error_category) == ("FAILED", 4, 0, "internal")
    assert (dead.error_message or "").startswith(
        "poison: the worker died 4 times while it ran this, the last time alone"
    )


async def suspect(queue: IBRequestQueue, request_id: str, now: Callable[[], datetime]) -> None:
    """Let a request crash three times."""
    for _ in range(3):
        await queue.claim()
        await queue.settle({request_id: Crashed(at=now(), reason="r")})


async def test_a_suspect_runs_alone_and_keeps_back_only_what_comes_after_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Types(Note()))
    request_id = await bench.insert("BAD")
    await suspect(bench.queue, request_id, bench.clock.now)
    later = await bench.insert("LATER")
    urgent = await bench.insert("URGENT", priority=1)

    async def claim(running: int) -> list[str]:
        turn = await bench.queue.turn({}, ClaimLimits(limit=9, crash_limit=3, running=running))
        return [request.symbol for request in turn.claimed]

    assert await claim(running=1) == ["URGENT"]
    assert await claim(running=1) == []
    await bench.queue.settle({urgent: Done()})
    assert await claim(running=0) == ["BAD"]
    await bench.queue.settle({request_id: Done()})
    assert await claim(running=0) == ["LATER"]
    assert await bench.status(later) is RequestStatus.PROCESSING


async def test_while_a_suspect_runs_nothing_runs_beside_it(tmp_path: Path) -> None:
    beside: list[int] = []
    running = 0

    async def script(job: Job[NoteParameters], part: Part) -> Fetched:
        nonlocal running
        running += 1
        if job.symbol == "BAD":
            await bench.clock.sleep(0.3)  # many polls in which the others could be claimed
            beside.append(running)
        running -= 1
        return Fetched(rows=notes([1]))

    bench = Bench(tmp_path, Types(Note(script)))
    request_id = await bench.insert("BAD")
    await suspect(bench.queue, request_id, bench.clock.now)
    ids = [await bench.insert(f"S{number}") for number in range(5)]
    await bench.insert("URGENT", priority=1)
    await bench.drain()
    assert beside == [1]
    assert set(bench.queue.requests().collect()["status"]) == {"SUCCESS"}
    assert bench.rows().height == len(ids) + 2


# The same name on another machine: the lock does not tell, the lease does


async def test_a_name_that_beats_elsewhere_is_refused_and_one_that_is_silent_is_taken(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Types(Note()))
    await claimed_by_worker(bench, "A")
    beat = heartbeats(bench.lake, "worker", 1)
    start = asyncio.create_task(taker(bench, "worker", lease_seconds=5.0).take_own(is_alone=False))
    async with asyncio.timeout(PATIENCE):
        while not start.done():
            await asyncio.to_thread(beat)
        with pytest.raises(WorkerBusy, match="on another machine"):
            await start
        epoch = await taker(bench, "worker", lease_seconds=0.5).take_own(is_alone=False)
    assert epoch > 1
    assert [event for event in bench.seen if isinstance(event, WorkerRecovered)] == [
        WorkerRecovered(worker="worker", landed=0, put_back=1)
    ]
    with pytest.raises(LeaseLost):
        beat()


def test_a_table_restored_from_an_older_copy_of_the_queue_gives_no_old_epoch(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Types(Note()))
    TableWriter(bench.lake, NotesTable.spec, app_id="worker", epoch=41)
    epoch = asyncio.run(taker(bench, "worker").take_own(is_alone=True))
    assert epoch == 42
