"""The queue on a real table: claims, settlements, keys, and rivals."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest

from v6.clock import ManualClock
from v6.data import delta, opened_table, queue_writer
from v6.data.ib_request import REQUESTS, frame_of
from v6.data.ib_request_queue import IBRequestQueue, NewRequest, RequestStatus
from v6.data.lake import Lake
from v6.data.outcome import Done, FailedBecause, RetryAt, SnoozeUntil
from v6.data.queue_log import QueueLog
from v6.data.queue_state import ClaimLimits
from v6.errors import ErrorCategory, LakeError, RequestConflict, RequestError, TableDamaged, UnknownRequest

NOON = datetime(2026, 11, 23, 17, 0, tzinfo=UTC)


def queue(lake: Path, clock: ManualClock | None = None, worker: str = "worker") -> IBRequestQueue:
    return IBRequestQueue(lake, clock=clock or ManualClock(NOON), worker_id=worker, check=NewRequest.checked)


async def insert(q: IBRequestQueue, symbol: str = "SPY", priority: int = 2, **more: object) -> str:
    return await q.insert(request_type="option_chain", symbol=symbol, priority=priority, **more)  # type: ignore[arg-type]


async def test_a_request_runs_from_pending_to_success(tmp_path: Path) -> None:
    q = queue(tmp_path)
    request_id = await insert(q, parameters={"dte": 45})
    (claimed,) = await q.claim()
    assert (claimed.request_id, claimed.status, claimed.parameters) == (request_id, "PROCESSING", {"dte": 45})
    assert await q.claim() == []
    turn = await q.settle({request_id: Done(result={"rows": 3})})
    assert turn.settled == {request_id}
    final = await q.get(request_id)
    assert (final.status, final.attempt, final.result_data) == ("SUCCESS", 1, {"rows": 3})
    assert q.request_history(request_id).collect()["status"].to_list() == ["PENDING", "PROCESSING", "SUCCESS"]


async def test_a_script_inserts_what_the_installed_types_take_with_their_defaults(tmp_path: Path) -> None:
    q = IBRequestQueue(tmp_path)
    request = await q.get(await q.insert(request_type="market_bars", symbol="SPY", parameters={"bar_size": "1 day"}))
    assert (request.priority, request.result_table) == (3, "market_bars")
    for wrong in ({"request_type": "no_such_type"}, {"request_type": "option_chain", "parameters": {"dtee": 45}}):
        with pytest.raises(RequestError, match=r"no_such_type|dtee"):
            await q.insert(symbol="SPY", **wrong)
    assert q.requests().collect().height == 1
    await q.close()


async def test_waiting_sees_the_end_although_another_look_has_seen_it_first(tmp_path: Path) -> None:
    q, worker = IBRequestQueue(tmp_path), queue(tmp_path)
    request_id = await insert(q)
    await worker.claim()
    waiting = asyncio.create_task(q.wait(request_id, timeout_seconds=20))
    for _ in range(2):  # looks of one queue come one after the other: when the second is done, it has looked
        await q.get(request_id)
    await worker.settle({request_id: Done(result={})})
    assert (await q.get(request_id)).status == "SUCCESS"
    assert (await waiting).status == "SUCCESS"


async def test_claims_go_by_priority_then_age_within_the_limits(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    q = queue(tmp_path, clock)
    ids = {}
    for name, priority in (("C", 3), ("B", 2), ("A", 2), ("U", 1)):
        ids[name] = await insert(q, name, priority)
        await clock.advance(1)
    first = await q.claim(2, normal_limit=1)
    assert [r.symbol for r in first] == ["U", "B"]
    assert await q.claim(10, normal_limit=0) == []
    assert await q.claim(10, skip_types={"option_chain"}) == []
    assert await q.claim(10, type_limits={"option_chain": 0}) == []
    assert [r.symbol for r in await q.claim(10)] == ["A", "C"]


async def test_old_background_is_served_as_normal_and_never_before_what_is_urgent(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    q = queue(tmp_path, clock)
    await insert(q, "OLD", 3)
    clock.step(timedelta(hours=1))
    for symbol, priority in (("YOUNG", 3), ("NORMAL", 2), ("URGENT", 1)):
        await insert(q, symbol, priority)

    async def order(aging: timedelta) -> list[str]:
        turn = await q.turn({}, ClaimLimits(limit=9, aging=aging))
        await q.settle({r.request_id: SnoozeUntil(at=clock.now(), reason="r") for r in turn.claimed})
        return [r.symbol for r in turn.claimed]

    assert await order(timedelta(hours=2)) == ["URGENT", "NORMAL", "OLD", "YOUNG"]
    assert await order(timedelta(hours=1)) == ["URGENT", "OLD", "NORMAL", "YOUNG"]


async def test_retry_spends_an_attempt_and_snooze_does_not(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    q = queue(tmp_path, clock)
    request_id = await insert(q)
    await q.claim()
    later = NOON + timedelta(seconds=10)
    await q.settle({request_id: RetryAt(at=later, message="timed out", category=ErrorCategory.TIMEOUT)})
    assert await q.claim() == []
    await clock.advance(10)
    (again,) = await q.claim()
    assert again.attempt == 1
    await q.settle({request_id: SnoozeUntil(at=clock.now() + timedelta(seconds=1), reason="pacing")})
    waiting = await q.get(request_id)
    assert (waiting.attempt, waiting.error_message) == (1, "pacing")
    await clock.advance(1)
    await q.claim()
    await q.settle({request_id: FailedBecause(message="no contract", category=ErrorCategory.CONTRACT, code=200)})
    failed = await q.get(request_id)
    assert (failed.status, failed.attempt, failed.error_code) == ("FAILED", 2, 200)
    assert (await q.retry(request_id)).attempt == 0
    assert [r.request_id for r in await q.claim()] == [request_id]


async def test_a_key_holds_while_alive_and_for_its_lifetime_after_success(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    q = queue(tmp_path, clock)
    first = await insert(q, idempotency_key="k")
    assert await insert(q, idempotency_key="k") == first
    await q.claim()
    assert await insert(q, idempotency_key="k") == first
    await q.settle({first: Done()})
    await clock.advance(599)
    assert await insert(q, idempotency_key="k") == first
    assert await q.claim() == []
    await clock.advance(2)
    second = await insert(q, idempotency_key="k")
    assert second != first
    await q.claim()
    await q.settle({second: FailedBecause(message="x", category=ErrorCategory.INTERNAL)})
    third = await insert(q, idempotency_key="k")
    assert len({first, second, third}) == 3
    assert await insert(queue(tmp_path, clock, "other"), idempotency_key="k") == third


async def test_equal_inserts_at_one_instant_on_two_machines_fold_into_one(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    machines = [queue(tmp_path, clock, name) for name in "ab"]
    for machine in machines:
        await machine.refresh()
    ids = await asyncio.gather(*(insert(machine, idempotency_key="k") for machine in machines))
    assert ids[0] == ids[1]
    assert len(await machines[0].claim()) == 1
    assert await machines[1].claim() == []
    assert machines[0].requests().collect().height == 1


async def test_equal_inserts_a_moment_apart_are_claimed_once_and_the_smallest_counts(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    early, late, worker = (queue(tmp_path, clock, name) for name in ("early", "late", "worker"))
    for machine in (early, late, worker):
        await machine.refresh()
    clock.step(timedelta(milliseconds=3))
    first = await insert(late, idempotency_key="k")
    await worker.refresh()
    clock.step(timedelta(milliseconds=-3))
    early._writer.refresh = lambda: False  # type: ignore[method-assign]  # it has not seen the other's row yet
    assert await insert(early, idempotency_key="k") == first
    (claimed,) = await worker.claim()
    assert claimed.created_at == NOON


async def test_a_slot_holds_for_ever(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    q = queue(tmp_path, clock)
    first = await insert(q, idempotency_key="chains@12:00", slot=NOON)
    await q.claim()
    await q.settle({first: FailedBecause(message="x", category=ErrorCategory.INTERNAL)})
    await clock.advance(86400 * 5)
    assert await insert(q, idempotency_key="chains@12:00", slot=NOON) == first
    assert await q.claim() == []
    with pytest.raises(RequestError, match="slot"):
        await insert(q, idempotency_key="old", slot=NOON - timedelta(days=100))


async def status(q: IBRequestQueue, request_id: str) -> str:
    return (await q.get(request_id)).status


async def test_of_a_cancel_and_a_claim_one_wins(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    worker, person = queue(tmp_path, clock), queue(tmp_path, clock, "")
    for _ in range(10):
        request_id = await insert(worker)
        await worker.refresh()
        await person.refresh()
        claimed, cancelled = await asyncio.gather(worker.claim(), person.cancel(request_id), return_exceptions=True)
        assert not isinstance(claimed, BaseException)
        assert not isinstance(cancelled, BaseException)
        if not claimed:
            assert cancelled.status == "CANCELLED"
            continue
        assert (cancelled.status, cancelled.cancel_reason) == ("PROCESSING", "cancelled by hand")  # its worker is asked
        assert await person.cancel(request_id) == cancelled  # once is enough
        await worker.settle({request_id: SnoozeUntil(at=NOON, reason="held back")})
        assert await status(worker, request_id) == "CANCELLED"
    pairs = worker.lake.scan(REQUESTS).select("request_id", "revision").collect()
    assert pairs.height == pairs.unique().height


async def test_a_request_that_has_expired_takes_no_place_of_one_that_is_due(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    q = queue(tmp_path, clock)
    await insert(q, deadline=NOON)
    await clock.advance(1)
    due = await insert(q, "QQQ")
    assert [claimed.request_id for claimed in await q.claim(1)] == [due]


async def test_a_deadline_that_has_passed_fails_the_request_unfetched(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    q = queue(tmp_path, clock)
    request_id = await insert(q, deadline=NOON + timedelta(seconds=5))
    await clock.advance(6)
    assert await q.claim() == []
    expired = await q.get(request_id)
    assert (expired.status, expired.error_category) == ("FAILED", "timeout")
    assert await q.claim() == []
    assert q.request_history(request_id).collect().height == 2


async def test_a_restarted_reader_sees_what_the_first_one_sees(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    q = queue(tmp_path, clock)
    ids = await q.insert_many([NewRequest(request_type="t", symbol=f"S{i}") for i in range(120)])
    claimed = await q.claim(50)
    await q.settle_and_claim({r.request_id: Done() for r in claimed[:30]}, 10)
    fresh = queue(tmp_path, clock)
    assert await fresh.stats() == await q.stats()
    assert len(await fresh.unfinished()) == 30
    assert len(ids) == 120
    assert len(await fresh.claim(100)) == 60


async def test_settling_what_is_not_mine_is_refused(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    mine, other = queue(tmp_path, clock), queue(tmp_path, clock, "other")
    request_id = await insert(mine)
    await mine.claim()
    turn = await other.settle({request_id: Done(), "no-such": Done()})
    assert turn.settled == frozenset()
    assert set(turn.refused) == {request_id, "no-such"}
    assert (await mine.get(request_id)).status is RequestStatus.PROCESSING


async def test_bad_requests_are_refused_and_nothing_is_inserted(tmp_path: Path) -> None:
    q = queue(tmp_path)
    good = NewRequest(request_type="t", symbol="SPY")
    for bad in (
        {"priority": 4},
        {"priority": True},
        {"parameters": {"x": float("nan")}},
        {"deadline": NOON.replace(tzinfo=None)},
    ):
        with pytest.raises(RequestError):
            await q.insert_many([good, NewRequest(request_type="t", symbol="SPY", **bad)])
    with pytest.raises(UnknownRequest):
        await q.get("nope")
    assert q.requests().collect().height == 0


async def test_requests_as_of_a_past_moment(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    q = queue(tmp_path, clock)
    request_id = await insert(q)
    await clock.advance(10)
    await q.claim()
    before = q.requests(as_of=NOON + timedelta(seconds=5)).filter(pl.col("request_id") == request_id).collect()
    assert before["status"].to_list() == ["PENDING"]
    assert q.requests().collect()["status"].to_list() == ["PROCESSING"]


async def test_rows_written_past_the_queue_do_not_stop_it(tmp_path: Path) -> None:
    q = queue(tmp_path)
    good = await insert(q)
    row = q.requests().collect()
    strange = pl.concat(
        [
            row.with_columns(request_id=pl.lit("no-uuid"), parameters=pl.lit("{broken")),
            row.with_columns(request_id=pl.lit("state"), status=pl.lit("WHATEVER")),
        ]
    )
    strange.write_delta(str(tmp_path / "ib_requests"), mode="append")
    claimed = {r.request_id: r for r in await q.claim()}
    assert set(claimed) == {good, "no-uuid"}
    with pytest.raises(RequestError, match="no-uuid"):
        _ = claimed["no-uuid"].parameters


async def test_an_idle_poll_reads_neither_table_nor_rows_again(tmp_path: Path) -> None:
    q = queue(tmp_path)
    await q.insert_many([NewRequest(request_type="t", symbol="SPY") for _ in range(200)])
    claimed = await q.claim(50)
    await q.settle({request.request_id: Done() for request in claimed})
    await q.has_work(ClaimLimits(limit=0))
    with (
        patch.object(Lake, "open", side_effect=AssertionError),
        patch.object(QueueLog, "rows", side_effect=AssertionError),
        patch.object(queue_writer, "load", side_effect=AssertionError),
    ):
        for _ in range(50):
            assert not await q.has_work(ClaimLimits(limit=0))
    await q.close()


async def test_a_queue_that_commits_for_long_goes_on_with_new_table_objects(tmp_path: Path) -> None:
    """Each commit makes the later ones of an object dearer (docs/benchmarks.md, "One table object for long")."""
    q, opened = queue(tmp_path), []
    await insert(q)
    await q.refresh()
    real = Lake.open

    def opening(lake: Lake, name: str, *, version: int | None = None) -> delta.DeltaTable:
        opened.append(name)
        return real(lake, name, version=version)

    with patch.object(opened_table, "OBJECT_COMMITS", 6), patch.object(Lake, "open", opening):
        for _ in range(8):
            await insert(q)
            [request] = await q.claim(1)
            await q.settle({request.request_id: Done()})
    assert 4 <= len(opened) <= 8  # in 24 commits, that of the inserts and that of the claims
    stats = await q.stats()
    assert (stats.counts["PENDING"], stats.counts["SUCCESS"]) == (1, 8)
    await q.close()


async def test_an_object_that_cannot_be_opened_anew_goes_on(tmp_path: Path) -> None:
    q = queue(tmp_path)
    with patch.object(opened_table, "OBJECT_COMMITS", 1):
        first = await insert(q)
        [request] = await q.claim(1)
        with patch.object(Lake, "open", side_effect=LakeError("the store does not answer")):
            await q.settle({request.request_id: Done()})
        assert (await q.get(first)).status is RequestStatus.SUCCESS
    await q.close()


async def test_many_failed_are_put_back_in_one_commit_and_one_whose_key_is_held_is_left(
    tmp_path: Path,
) -> None:
    q = queue(tmp_path)
    ids = [await insert(q, symbol, idempotency_key=symbol) for symbol in ("A", "B", "C")]
    await q.claim()
    await q.settle({each: FailedBecause(message="m", category=ErrorCategory.CONTRACT) for each in ids})
    holder = await insert(q, "B", idempotency_key="B")
    with pytest.raises(RequestConflict, match=holder):
        await q.retry_many(ids)
    assert [(await q.get(each)).status for each in ids] == ["FAILED"] * 3
    version = q.version
    changed = await q.retry_many(ids, leave_held=True)
    assert [(r.request_id, r.status, r.attempt) for r in changed] == [(ids[0], "PENDING", 0), (ids[2], "PENDING", 0)]
    assert q.version == version + 1
    assert await q.retry_many(ids, leave_held=True) == []
    with pytest.raises(UnknownRequest, match="nobody"):
        await q.retry_many(["nobody"], leave_held=True)


def log_files(lake: Path) -> list[Path]:
    return sorted((lake / REQUESTS.name / "_delta_log").glob("*.json"))


async def test_a_claim_whose_answer_was_lost_and_whose_commit_was_cleaned_away_meanwhile_is_still_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    q = queue(tmp_path)
    ids = [await insert(q, symbol) for symbol in ("SPY", "QQQ")]
    lost: list[int] = []

    def append_and_lose_the_answer(*arguments: Any, **more: Any) -> int:
        version = delta.append(*arguments, **more)
        if not lost and more.get("app_transactions"):
            lost.append(version)
            later = q.lake.open(REQUESTS.name)
            delta.append(later, frame_of([]))
            delta.checkpoint(later)
            for commit in log_files(tmp_path)[:-1]:
                commit.unlink()
            raise delta.DeltaError("no answer")
        return version

    monkeypatch.setattr(queue_writer, "append", append_and_lose_the_answer)
    assert {r.request_id for r in await q.claim()} == set(ids)
    assert lost
    assert (await q.settle({i: Done() for i in ids})).settled == set(ids)
    assert q.request_history(ids[0]).collect()["status"].to_list() == ["PENDING", "PROCESSING", "SUCCESS"]


@pytest.mark.parametrize("damage", ["cut off", "missing"])
async def test_a_commit_that_is_torn_under_an_open_queue_is_named_by_every_call(tmp_path: Path, damage: str) -> None:
    q, other = queue(tmp_path), queue(tmp_path)
    claimed = await insert(q)
    await q.claim(1)
    for _ in range(2):
        await insert(other)
    torn = sorted((tmp_path / REQUESTS.name / "_delta_log").glob("*.json"))[-1 if damage == "cut off" else -2]
    if damage == "missing":
        torn.unlink()
    else:
        torn.write_bytes(torn.read_bytes()[:80])
    for call in (q.stats(), q.claim(1), q.settle({claimed: Done()}), insert(q), q.cancel(claimed)):
        with pytest.raises(TableDamaged, match=f"{torn.name}.*v6 doctor --tables"):
            await call
    for each in (q, other):
        await each.close()
