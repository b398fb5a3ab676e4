"""The limiters: never over a limit in any window, near it in the long run, and served in the right order."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from v6.clock import ManualClock
from v6.core.fair_queue import Claimant
from v6.core.line_limiter import LineLimiter, SlotLimiter
from v6.core.message_limiter import MessageLimiter
from v6.core.pacing import Pacing
from v6.request_types.base import Contract

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
    assert {name: wait.steps for name, wait in limiter.waits().items()} == {"chain": 1}
    await clock.advance(5)
    await settle()
    assert tasks[-1].result() == "sent"
    assert limiter.waits() == {}


async def test_a_hold_stops_all_messages_for_its_time() -> None:
    clock = ManualClock(START)
    limiter = MessageLimiter(per_second=50, clock=clock)
    limiter.hold(1.0)
    sent = await send_all(limiter, clock, [URGENT])
    assert sent[0][0] >= 1.0


async def test_lines_count_a_contract_once_and_wait_when_all_are_taken() -> None:
    limiter = LineLimiter(lines=2, clock=ManualClock(START))
    await limiter.acquire(1, CHAIN)
    await limiter.acquire(1, SHORT)
    await limiter.acquire(2, CHAIN)
    assert limiter.in_use == 2
    third = asyncio.create_task(limiter.acquire(3, CHAIN))
    await settle()
    assert {name: wait.steps for name, wait in limiter.waits().items()} == {"chain": 1}
    limiter.release(1)
    await settle()
    assert not third.done()  # the other request still streams contract 1
    limiter.release(1)
    await settle()
    assert third.done()
    assert limiter.in_use == 2


async def test_an_urgent_contract_gets_the_next_free_line() -> None:
    limiter = LineLimiter(lines=1, clock=ManualClock(START))
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
    limiter = SlotLimiter(slots=3, clock=ManualClock(START), reason="slots")
    most = 0

    async def hold() -> None:
        nonlocal most
        async with limiter.slot(CHAIN):
            most = max(most, limiter.in_use)
            await asyncio.sleep(0)

    await asyncio.gather(*[hold() for _ in range(20)])
    assert most == 3
    assert limiter.in_use == 0


class Receiver:
    """Counts messages when they arrive, ``late`` seconds after they were sent, and answers some of them."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.arrivals: list[float] = []
        self.on_the_way: deque[tuple[float, int]] = deque()
        self.echoes = 0
        self.stalls_until = 0.0

    def echo(self) -> None:
        self.echoes += 1

    def read(self, limiter: MessageLimiter) -> None:
        """Read what has come, unless it stalls, and answer the newest."""
        now = self.clock.monotonic()
        if now < self.stalls_until:
            return
        newest = None
        while self.on_the_way:
            self.arrivals.append(now)
            newest = self.on_the_way.popleft()[1]
        if newest is not None:
            limiter.proven(newest)


@given(stalls=st.lists(st.tuples(st.floats(0, 6), st.floats(0.01, 2.5)), max_size=4), per_second=st.integers(3, 30))
@settings(max_examples=25, deadline=None)
def test_a_gateway_that_stalls_never_counts_more_than_the_limit(
    stalls: list[tuple[float, float]], per_second: int
) -> None:
    async def run() -> list[float]:
        clock = ManualClock(START)
        receiver = Receiver(clock)
        limiter = MessageLimiter(per_second=per_second, clock=clock, echo=receiver.echo)

        async def send() -> None:
            async with limiter.message(CHAIN) as number:
                receiver.on_the_way.append((clock.monotonic(), number))

        tasks = [asyncio.create_task(send()) for _ in range(5 * per_second)]
        while not all(task.done() for task in tasks):
            await clock.advance(0.005)
            await settle()
            at = clock.monotonic()
            receiver.stalls_until = max([begin + seconds for begin, seconds in stalls if begin <= at], default=0.0)
            receiver.read(limiter)
        await asyncio.gather(*tasks)
        return receiver.arrivals

    arrivals = asyncio.run(run())
    for first, over in zip(arrivals, arrivals[per_second:], strict=False):
        assert over - first >= 1.0


async def test_silence_is_answered_by_one_echo_in_the_last_place() -> None:
    clock = ManualClock(START)
    receiver = Receiver(clock)
    limiter = MessageLimiter(per_second=10, clock=clock, echo=receiver.echo)
    sent: list[int] = []

    async def send(*, is_echo: bool = False) -> None:
        async with limiter.message(CHAIN, is_echo=is_echo) as number:
            sent.append(number)

    tasks = [asyncio.create_task(send()) for _ in range(12)]
    for _ in range(300):
        await clock.advance(0.01)
        await settle()
    assert len(sent) == 9  # the tenth place is the echo's
    limiter.proven(sent[-1])
    for _ in range(300):
        await clock.advance(0.01)
        await settle()
    assert len(sent) == 12
    await asyncio.gather(*tasks)


async def test_some_lines_are_kept_for_urgent_work() -> None:
    limiter = LineLimiter(lines=25, clock=ManualClock(START))
    chain = [asyncio.create_task(limiter.acquire(key, CHAIN)) for key in range(30)]
    await settle()
    assert limiter.in_use == 24
    await limiter.acquire("urgent", URGENT)
    assert limiter.in_use == 25
    for task in chain:
        task.cancel()


async def test_one_request_can_be_asked_what_it_waits_for_and_how_long() -> None:
    clock = ManualClock(START)
    pacing = Pacing(clock=clock, market_data_lines=2)
    await pacing.lines.acquire(1, SHORT)
    await pacing.lines.acquire(2, SHORT)
    waiting = asyncio.create_task(pacing.lines.acquire(3, CHAIN))
    await settle()
    await clock.advance(4)
    (wait,) = pacing.waits()["chain"]
    assert (wait.reason, wait.steps, wait.waited_seconds) == ("market-data lines", 1, 4.0)
    waiting.cancel()


async def test_four_broad_contract_details_at_once() -> None:
    pacing = Pacing(clock=ManualClock(START), market_data_lines=100)
    chain = Contract(symbol="SPY", sec_type="OPT")
    most = 0

    async def ask(contract: Contract) -> None:
        nonlocal most
        async with pacing.contract_details(contract, CHAIN):
            most = max(most, pacing.details.in_use)
            await settle()

    await asyncio.gather(*[ask(chain) for _ in range(10)])
    assert most == 4
    async with pacing.contract_details(Contract(symbol="SPY", sec_type="STK"), CHAIN):
        assert pacing.details.in_use == 0


async def test_a_thousand_that_give_up_at_once_are_gone_at_once() -> None:
    limiter = LineLimiter(lines=1, clock=ManualClock(START))
    await limiter.acquire("held", CHAIN)
    waiting = [asyncio.create_task(limiter.acquire(key, CHAIN)) for key in range(5000)]
    await settle()
    for task in waiting:
        task.cancel()
    async with asyncio.timeout(2):
        await asyncio.gather(*waiting, return_exceptions=True)
    assert limiter.waits() == {}
