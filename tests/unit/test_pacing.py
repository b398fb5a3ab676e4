"""The limiters: never over a limit in any window, near it in the long run, and served in the right order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
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
OWN = Claimant(priority=0, request_id="session")


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


def limiter_of(per_second: int, clock: ManualClock, echo: Callable[[], None] = lambda: None) -> MessageLimiter:
    return MessageLimiter(per_second=per_second, clock=clock, echo=echo)


async def send_all(limiter: MessageLimiter, clock: ManualClock, claimants: list[Claimant]) -> list[tuple[float, str]]:
    """Send one message for each claimant at once and step time until all went, each answered in the step that it was
    sent in; (elapsed, request) as sent."""
    sent: list[tuple[float, str]] = []

    async def send(claimant: Claimant) -> None:
        async with limiter.message(claimant) as number:
            sent.append((clock.monotonic(), claimant.request_id))
        await clock.sleep(0.001)
        limiter.proven(number)

    tasks = [asyncio.create_task(send(claimant)) for claimant in claimants]
    while not all(task.done() for task in tasks):
        await clock.advance(0.005)
        await settle()
    await asyncio.gather(*tasks)
    return sent


@given(per_second=st.integers(2, 60), count=st.integers(1, 150))
@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_no_second_ever_has_more_messages_than_the_limit(per_second: int, count: int) -> None:
    async def run() -> list[float]:
        clock = ManualClock(START)
        limiter = limiter_of(per_second, clock)
        return [at for at, _ in await send_all(limiter, clock, [CHAIN] * count)]

    times = asyncio.run(run())
    assert len(times) == count
    for first, over in zip(times, times[per_second:], strict=False):
        assert over - first > 1.0


async def test_messages_reach_95_percent_of_the_limit_in_the_long_run() -> None:
    clock = ManualClock(START)
    sent = await send_all(limiter_of(50, clock), clock, [CHAIN] * 500)
    assert 500 / sent[-1][0] >= 0.95 * 50


async def test_an_urgent_message_overtakes_a_chain() -> None:
    clock = ManualClock(START)
    sent = await send_all(limiter_of(50, clock), clock, [*[CHAIN] * 100, URGENT])
    assert [request for _, request in sent].index("urgent") <= 14  # those that the limit lets out at once


async def test_requests_of_one_priority_take_turns() -> None:
    clock = ManualClock(START)
    sent = await send_all(limiter_of(50, clock), clock, [*[CHAIN] * 60, *[SHORT] * 10])
    order = [request for _, request in sent]
    assert max(index for index, request in enumerate(order) if request == "short") <= 35


async def test_a_cancelled_message_holds_nobody_up() -> None:
    clock = ManualClock(START)
    limiter = limiter_of(2, clock)

    async def send() -> str:
        async with limiter.message(CHAIN) as number:
            limiter.proven(number)
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
    limiter = limiter_of(50, clock)
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


async def test_cancels_go_in_turns_with_what_proves_that_they_were_read() -> None:
    clock = ManualClock(START)
    cancels = [Claimant(priority=2, request_id=request, releases=True) for request in ("a", "b", "a")]
    limiter = limiter_of(3, clock)
    limiter.hold(0.1)  # until all wait
    sent = await send_all(limiter, clock, [CHAIN, SHORT, CHAIN, *cancels])
    order = [request for _, request in sent]
    assert [request in {"a", "b"} for request in order] == [True, False] * 3
    times = [at for at, _ in sent]
    assert all(question - cancel < 0.05 for cancel, question in zip(times[::2], times[1::2], strict=True))


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
    """Counts messages when it reads them, which it may not do for a while; answers some of them, some time after."""

    def __init__(self, clock: ManualClock, *, answers_after: float = 0.0) -> None:
        self.clock = clock
        self.answers_after = answers_after
        self.arrivals: list[float] = []
        self.messages = 0  # without the echoes
        self.limiter: MessageLimiter | None = None
        self._echoing: asyncio.Task[None] | None = None
        self._on_the_way: deque[tuple[int, float]] = deque()  # number, when its answer is due after reading
        self._answers: list[tuple[float, int]] = []

    def connect(self, per_second: int) -> MessageLimiter:
        self.limiter = limiter_of(per_second, self.clock, self.echo)
        return self.limiter

    def echo(self) -> None:
        if self._echoing is None or self._echoing.done():
            self._echoing = asyncio.create_task(self.send(OWN, is_echo=True))

    async def send(self, claimant: Claimant, *, is_echo: bool = False) -> None:
        assert self.limiter is not None
        async with self.limiter.message(claimant, is_echo=is_echo) as number:
            self._on_the_way.append((number, 0.0 if is_echo else self.answers_after))
            self.messages += not is_echo

    def read(self) -> None:
        """Read what has come; every other message has an answer."""
        now = self.clock.monotonic()
        while self._on_the_way:
            number, after = self._on_the_way.popleft()
            self.arrivals.append(now)
            if after == 0.0 or number % 2:
                self._answers.append((now + after, number))

    def hear(self) -> None:
        """Take in the answers that are due."""
        assert self.limiter is not None
        due = sorted(answer for answer in self._answers if answer[0] <= self.clock.monotonic())
        self._answers = [answer for answer in self._answers if answer[0] > self.clock.monotonic()]
        for _, number in due:
            self.limiter.proven(number)

    async def take(
        self, tasks: list[asyncio.Task[None]], *, is_stopped: Callable[[str], bool] = lambda _: False
    ) -> None:
        """Step time until all went; each side does nothing while it is stopped."""
        while not all(task.done() for task in tasks):
            await (asyncio.sleep(0) if is_stopped("sender") else settle())
            if not is_stopped("receiver"):
                self.read()
            if not is_stopped("sender"):
                self.hear()
            await self.clock.advance(0.005)
        await asyncio.gather(*tasks)

    def largest_second(self) -> int:
        return max(sum(1 for at in self.arrivals if first <= at < first + 1.0) for first in self.arrivals)


STALLS = st.lists(st.tuples(st.floats(0, 6), st.floats(0.01, 2.5)), max_size=4)


@given(of_receiver=STALLS, of_sender=STALLS, per_second=st.integers(2, 30), answers_after=st.floats(0, 0.4))
@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_whoever_stalls_the_gateway_never_counts_more_than_the_limit(
    of_receiver: list[tuple[float, float]],
    of_sender: list[tuple[float, float]],
    per_second: int,
    answers_after: float,
) -> None:
    async def run() -> int:
        clock = ManualClock(START)
        receiver = Receiver(clock, answers_after=answers_after)
        receiver.connect(per_second)

        def is_stopped(side: str) -> bool:
            stalls, now = of_receiver if side == "receiver" else of_sender, clock.monotonic()
            return any(begin <= now < begin + seconds for begin, seconds in stalls)

        tasks = [asyncio.create_task(receiver.send(CHAIN)) for _ in range(4 * per_second)]
        await receiver.take(tasks, is_stopped=is_stopped)
        return receiver.largest_second()

    assert asyncio.run(run()) <= per_second


@pytest.mark.parametrize(("answers_after", "share"), [(0.0, 0.98), (0.02, 0.96), (0.15, 0.94)])
async def test_late_answers_cost_no_more_than_two_echoes_a_second(answers_after: float, share: float) -> None:
    clock = ManualClock(START)
    receiver = Receiver(clock, answers_after=answers_after)
    receiver.connect(50)
    await receiver.take([asyncio.create_task(receiver.send(CHAIN)) for _ in range(500)])
    assert receiver.largest_second() <= 50
    assert receiver.messages / clock.monotonic() >= share * 50


async def test_opening_a_session_takes_a_place() -> None:
    clock = ManualClock(START)
    limiter = limiter_of(10, clock)
    limiter.opened()
    sent = await send_all(limiter, clock, [CHAIN] * 10)
    assert sent[8][0] < 1.0 <= sent[9][0]


async def test_one_message_a_second_leaves_no_place_for_an_echo_and_goes_on() -> None:
    clock = ManualClock(START)
    receiver = Receiver(clock, answers_after=3600.0)
    receiver.connect(1)
    await receiver.take([asyncio.create_task(receiver.send(CHAIN)) for _ in range(3)])
    assert clock.monotonic() < 40


async def test_silence_is_answered_by_one_echo_in_the_last_place() -> None:
    clock = ManualClock(START)
    limiter = limiter_of(10, clock)
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


async def test_contracts_that_will_wait_for_a_line_count_among_those_that_do() -> None:
    lines = LineLimiter(lines=1, clock=ManualClock(START))
    await lines.acquire("held", CHAIN)
    with lines.line_up(CHAIN.request_id, 7) as one, lines.line_up(CHAIN.request_id, 5):
        assert lines.waits() == {}
        waiting = asyncio.create_task(lines.acquire("next", CHAIN))
        await settle()
        assert lines.waits()[CHAIN.request_id].steps == 1 + 7 + 5
        one.contracts -= 1
        assert lines.waits()[CHAIN.request_id].steps == 1 + 6 + 5
    assert lines.waits()[CHAIN.request_id].steps == 1
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
    async with asyncio.timeout(10):
        await asyncio.gather(*waiting, return_exceptions=True)
    assert limiter.waits() == {}
