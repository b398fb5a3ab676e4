"""The limiters: never over a limit in any window, near it in the long run, and served in the right order."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from v6.clock import ManualClock
from v6.core.pacing import Claimant, LineLimiter, MessageLimiter, SlotLimiter, SmallBarLimiter

START = datetime(2026, 11, 23, 15, tzinfo=UTC)
CHAIN = Claimant(priority=2, request_id="chain")
SHORT = Claimant(priority=2, request_id="short")
URGENT = Claimant(priority=1, request_id="urgent")


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


async def send_all(limiter: MessageLimiter, clock: ManualClock, claimants: list[Claimant]) -> list[tuple[float, str]]:
    """Send one message for each claimant at once and step time until all went; (elapsed, request) as sent."""
    sent: list[tuple[float, str]] = []

    async def send(claimant: Claimant) -> None:
        async with limiter.message(claimant):
            sent.append((clock.monotonic(), claimant.request_id))

    tasks = [asyncio.create_task(send(claimant)) for claimant in claimants]
    while not all(task.done() for task in tasks):
        await clock.advance(0.005)
        await settle()
    await asyncio.gather(*tasks)
    return sent


@given(per_second=st.integers(2, 60), count=st.integers(1, 150))
@settings(max_examples=15, deadline=None)
def test_no_second_ever_has_more_messages_than_the_limit(per_second: int, count: int) -> None:
    async def run() -> list[float]:
        clock = ManualClock(START)
        limiter = MessageLimiter(per_second=per_second, clock=clock)
        return [at for at, _ in await send_all(limiter, clock, [CHAIN] * count)]

    times = asyncio.run(run())
    assert len(times) == count
    for first, over in zip(times, times[per_second:], strict=False):
        assert over - first > 1.03  # what leaves that far apart arrives more than a second apart


async def test_messages_reach_95_percent_of_the_limit_in_the_long_run() -> None:
    clock = ManualClock(START)
    sent = await send_all(MessageLimiter(per_second=50, clock=clock), clock, [CHAIN] * 500)
    assert 500 / sent[-1][0] >= 0.95 * 50


async def test_an_urgent_message_overtakes_a_chain() -> None:
    clock = ManualClock(START)
    sent = await send_all(MessageLimiter(per_second=50, clock=clock), clock, [*[CHAIN] * 100, URGENT])
    assert [request for _, request in sent].index("urgent") <= 5  # those that the limit lets out at once


async def test_requests_of_one_priority_take_turns() -> None:
    clock = ManualClock(START)
    sent = await send_all(MessageLimiter(per_second=50, clock=clock), clock, [*[CHAIN] * 60, *[SHORT] * 10])
    order = [request for _, request in sent]
    assert max(index for index, request in enumerate(order) if request == "short") <= 25


async def test_a_cancelled_message_holds_nobody_up() -> None:
    clock = ManualClock(START)
    limiter = MessageLimiter(per_second=2, clock=clock)

    async def send() -> str:
        async with limiter.message(CHAIN):
            return "sent"

    tasks = [asyncio.create_task(send()) for _ in range(12)]
    await settle()
    cancelled = [task for task in tasks if not task.done()][:-1]
    for task in cancelled:
        task.cancel()
    await settle()
    assert limiter.waiting() == {"chain": 1}
    await clock.advance(5)
    await settle()
    assert tasks[-1].result() == "sent"
    assert limiter.waiting() == {}


async def test_a_hold_stops_all_messages_for_its_time() -> None:
    clock = ManualClock(START)
    limiter = MessageLimiter(per_second=50, clock=clock)
    limiter.hold(1.0)
    sent = await send_all(limiter, clock, [URGENT])
    assert sent[0][0] >= 1.0


async def test_lines_count_a_contract_once_and_wait_when_all_are_taken() -> None:
    limiter = LineLimiter(lines=2)
    await limiter.acquire(1, CHAIN)
    await limiter.acquire(1, SHORT)
    await limiter.acquire(2, CHAIN)
    assert limiter.in_use == 2
    third = asyncio.create_task(limiter.acquire(3, CHAIN))
    await settle()
    assert limiter.waiting() == {"chain": 1}
    limiter.release(1)
    await settle()
    assert not third.done()  # the other request still streams contract 1
    limiter.release(1)
    await settle()
    assert third.done()
    assert limiter.in_use == 2


async def test_an_urgent_contract_gets_the_next_free_line() -> None:
    limiter = LineLimiter(lines=1)
    await limiter.acquire(0, CHAIN)
    waiting = [asyncio.create_task(limiter.acquire(key, CHAIN)) for key in range(1, 20)]
    await settle()
    urgent = asyncio.create_task(limiter.acquire("urgent", URGENT))
    await settle()
    limiter.release(0)
    await settle()
    assert urgent.done()
    assert not any(task.done() for task in waiting)
    for task in waiting:
        task.cancel()


async def test_slots_never_exceed_their_number() -> None:
    limiter = SlotLimiter(slots=3)
    most = 0

    async def hold() -> None:
        nonlocal most
        async with limiter.slot(CHAIN):
            most = max(most, limiter.in_use)
            await asyncio.sleep(0)

    await asyncio.gather(*[hold() for _ in range(20)])
    assert most == 3
    assert limiter.in_use == 0


async def small_bar_times(what_to_show: str, identities: list[int], series: list[int]) -> list[float]:
    clock = ManualClock(START)
    limiter = SmallBarLimiter(clock=clock)
    times: list[float] = []

    async def ask(one: int, of: int) -> None:
        async with limiter.request(series=of, identity=(of, one), what_to_show=what_to_show, claimant=CHAIN):
            times.append(clock.monotonic())

    tasks = [asyncio.create_task(ask(one, of)) for one, of in zip(identities, series, strict=True)]
    while not all(task.done() for task in tasks):
        await clock.advance(0.5)
        await settle()
    return times


async def test_identical_small_bar_requests_keep_15_seconds() -> None:
    times = await small_bar_times("TRADES", [1, 1], [7, 7])
    assert times[1] - times[0] >= 15


async def test_one_series_gets_five_small_bar_requests_in_two_seconds() -> None:
    times = await small_bar_times("TRADES", list(range(6)), [7] * 6)
    assert times[5] - times[0] >= 2
    assert times[4] - times[0] < 2


async def test_bid_ask_counts_twice_in_ten_minutes() -> None:
    times = await small_bar_times("BID_ASK", list(range(31)), list(range(31)))
    assert times[29] - times[0] < 600
    assert times[30] - times[0] >= 600


async def test_lines_for_urgent_requests_are_free_while_a_chain_holds_the_rest() -> None:
    limiter = LineLimiter(lines=5, urgent=1)
    chain = [asyncio.create_task(limiter.acquire(number, CHAIN)) for number in range(8)]
    await settle()
    assert limiter.in_use == 4
    await limiter.acquire("ES", URGENT)
    assert limiter.in_use == 5
    limiter.release("ES")
    await settle()
    assert limiter.in_use == 4
    for number in range(4):
        limiter.release(number)
    await asyncio.gather(*chain)
    assert limiter.in_use == 4
