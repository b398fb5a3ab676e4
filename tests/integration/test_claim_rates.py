"""So many requests of a type may begin in a period: counted over all workers and all starts, from the table itself."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from v6.clock import ManualClock
from v6.data.ib_request_queue import IBRequestQueue, NewRequest
from v6.data.outcome import Done, SnoozeUntil
from v6.data.queue_state import ClaimLimits
from v6.data.recent_claims import Rate, RecentClaims

NOON = datetime(2026, 11, 23, 17, 0, tzinfo=UTC)
RATES = {"bars": Rate(claims=3, period=timedelta(seconds=60))}
REASON = {"bars": "the limit of 3 bars in 60 s"}


def opened(lake: Path, clock: ManualClock) -> Callable[[str], IBRequestQueue]:
    def queue(worker: str) -> IBRequestQueue:
        return IBRequestQueue(lake, clock=clock, worker_id=worker, check=NewRequest.checked, rates=RATES)

    return queue


async def insert(queue: IBRequestQueue, *types: str) -> None:
    await queue.insert_many([NewRequest(request_type=each, symbol="SPY", priority=2) for each in types])


async def test_no_more_begin_than_the_limit_in_any_window_and_other_types_are_not_kept_back(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    queue = opened(tmp_path, clock)("one")
    await insert(queue, *["bars"] * 5)
    assert len(await queue.claim(2)) == 2
    await insert(queue, "chain")
    clock.step(timedelta(seconds=50))
    assert sorted(r.request_type for r in await queue.claim()) == ["bars", "chain"]
    assert await queue.limits_reached() == REASON
    assert not await queue.has_work(ClaimLimits(limit=50))
    clock.step(timedelta(seconds=9.9))
    assert await queue.claim() == []
    clock.step(timedelta(seconds=0.1))  # the first two began a minute ago, the third ten seconds ago
    assert await queue.has_work(ClaimLimits(limit=50))
    assert len(await queue.claim()) == 2


async def test_the_limit_is_one_for_all_workers_and_survives_a_start(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    queue = opened(tmp_path, clock)
    one, other = queue("one"), queue("two")
    await insert(one, *["bars"] * 9)
    await other.refresh()
    claimed = await one.claim(2)
    assert len(await other.claim()) == 1
    clock.step(timedelta(seconds=1))
    await one.settle({r.request_id: Done(result={}) for r in claimed})
    later = queue("three")  # what began and is finished counts for who starts now, too
    assert await later.claim() == []
    assert await later.limits_reached() == REASON
    clock.step(timedelta(seconds=59))
    assert len(await later.claim()) == 3
    assert await one.claim() == []


async def test_a_plan_is_no_beginning_and_one_that_begins_again_counts_again(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    queue = opened(tmp_path, clock)
    one = queue("one")
    await insert(one, *["bars"] * 5)
    (first,) = await one.claim(1)
    await one.record_plan(first.request_id, [{"n": 1}, {"n": 2}])
    await one.settle({first.request_id: SnoozeUntil(at=clock.now(), reason="the farm is away")})
    assert len(await one.claim(1)) == 1  # the same again: two have begun
    for each in (one, queue("two")):
        assert len(await each.claim(1)) <= 1
        assert await each.limits_reached() == REASON


async def test_a_clock_that_was_set_back_does_not_stop_a_type_for_so_long(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    queue = opened(tmp_path, clock)
    one = queue("one")
    await insert(one, *["bars"] * 9)
    assert len(await one.claim()) == 3
    clock.step(timedelta(hours=-1))
    assert await one.claim() == []  # for a minute from the look on
    clock.step(timedelta(seconds=60))
    assert len(await one.claim()) == 3
    assert await one.claim() == []
    assert await queue("two").claim() == []


def test_it_is_known_when_the_next_may_begin() -> None:
    claims = RecentClaims(RATES)
    assert claims.next_at("chain", NOON) is None
    for seconds in (0, 10, 20):
        assert claims.next_at("bars", NOON) is None
        claims.note("bars", NOON + timedelta(seconds=seconds))
    assert claims.next_at("bars", NOON + timedelta(seconds=30)) == NOON + timedelta(seconds=60)
    assert claims.next_at("bars", NOON + timedelta(seconds=60)) is None
