"""The gateway's limits as context managers: messages, market-data lines, open historical requests, small bars.

Every limiter serves waiting work by priority (lower first), and within a priority in turns between requests, so that a
long chain neither holds up an urgent request nor a short one beside it. Each tells what waits on it and why.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from v6.clock import Clock

WINDOW_SECONDS = 1.0
# Packets bunch on the way: what is sent 1.00 s apart may arrive 0.96 s apart. 45 ms keeps 95.7 % of the limit.
JITTER_MACHINE_SECONDS = 0.045
URGENT_PRIORITY = 1
URGENT_SHARE = 25  # one line in so many is kept for urgent requests: 4 of 100 leave 96 % for the rest
CATCH_UP_MESSAGES = 4  # a timer that fires late may be made good by so many messages at once


@dataclass(frozen=True, kw_only=True, slots=True)
class Claimant:
    """Who asks: the request and its priority. ``releases`` puts cancels ahead of new work: they free a line."""

    priority: int
    request_id: str
    releases: bool = False


@dataclass(kw_only=True, slots=True, order=True)
class _Ticket:
    priority: int
    order: int  # 0 releases something, 1 takes something
    turn: int
    number: int
    claimant: Claimant = field(compare=False)
    woken: asyncio.Event = field(default_factory=asyncio.Event, compare=False)


class FairQueue:
    """Waiting work by priority, then in turns between requests (start-time fair queueing), then first come."""

    def __init__(self) -> None:
        self._heap: list[_Ticket] = []
        self._numbers = itertools.count()
        self._turn = 0
        self._last_turns: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._heap)

    def join(self, claimant: Claimant) -> _Ticket:
        """Take a place in the queue; leave it with ``leave`` in any case."""
        turn = max(self._turn, self._last_turns.get(claimant.request_id, 0)) + 1
        self._last_turns[claimant.request_id] = turn
        ticket = _Ticket(
            priority=claimant.priority,
            order=0 if claimant.releases else 1,
            turn=turn,
            number=next(self._numbers),
            claimant=claimant,
        )
        heapq.heappush(self._heap, ticket)
        return ticket

    def is_first(self, ticket: _Ticket) -> bool:
        """Whether nobody waits before this ticket."""
        return self._heap[0] is ticket

    def leave(self, ticket: _Ticket) -> None:
        """Give up the place, served or not, and wake whoever is first now."""
        if self._heap[0] is ticket:
            heapq.heappop(self._heap)
            self._turn = max(self._turn, ticket.turn)
        else:
            self._heap.remove(ticket)
            heapq.heapify(self._heap)
        if not self._heap:
            self._last_turns.clear()
        self.wake_first()

    def wake_first(self) -> None:
        """Let the first one look again whether it may go."""
        if self._heap:
            self._heap[0].woken.set()

    def waiting(self) -> dict[str, int]:
        """How many places each request holds in the queue."""
        counts: dict[str, int] = {}
        for ticket in self._heap:
            counts[ticket.claimant.request_id] = counts.get(ticket.claimant.request_id, 0) + 1
        return counts


class MessageLimiter:
    """At most ``per_second`` messages in any second as the receiver counts them, evenly spaced.

    A message is admitted when the one ``per_second`` places before it is a second and the jitter allowance ago, and the
    even schedule allows it. The long-run rate is ``per_second / (1 + jitter)``.
    """

    reason = "messages per second"

    def __init__(
        self, *, per_second: int, clock: Clock, jitter_machine_seconds: float = JITTER_MACHINE_SECONDS
    ) -> None:
        self.per_second = per_second
        self._clock = clock
        self._window = WINDOW_SECONDS + jitter_machine_seconds * clock.speed
        self._spacing = self._window / per_second
        self._sent: deque[float] = deque(maxlen=per_second)
        self._next_at = float("-inf")
        self._queue = FairQueue()

    @asynccontextmanager
    async def message(self, claimant: Claimant) -> AsyncIterator[None]:
        """Enter when one message may be sent; send it inside."""
        ticket = self._queue.join(claimant)
        try:
            await self._wait_for_turn(ticket)
            self._record()
        finally:
            self._queue.leave(ticket)
        yield

    async def _wait_for_turn(self, ticket: _Ticket) -> None:
        while True:
            if not self._queue.is_first(ticket):
                ticket.woken.clear()
                await ticket.woken.wait()
            elif (seconds := self._seconds_until_free()) > 0:
                await self._clock.sleep(seconds)
            else:
                return

    def _seconds_until_free(self) -> float:
        free_at = self._next_at
        if len(self._sent) == self.per_second:
            free_at = max(free_at, self._sent[0] + self._window)
        return free_at - self._clock.monotonic()

    def _record(self) -> None:
        now = self._clock.monotonic()
        self._sent.append(now)
        self._next_at = max(self._next_at, now - CATCH_UP_MESSAGES * self._spacing) + self._spacing

    def hold(self, seconds: float) -> None:
        """Send nothing for so long: the gateway said that we were too fast."""
        self._next_at = max(self._next_at, self._clock.monotonic() + seconds)

    def in_last_second(self) -> int:
        """Messages sent in the last second."""
        since = self._clock.monotonic() - WINDOW_SECONDS
        return sum(1 for sent in self._sent if sent > since)

    def waiting(self) -> dict[str, int]:
        """Messages that wait, by request."""
        return self._queue.waiting()


class LineLimiter:
    """At most ``lines`` different contracts streamed at once; the same contract counts once.

    ``urgent`` of them are for priority 1 and what is before it: it never waits until a slow quote gives up.
    """

    reason = "market-data lines"

    def __init__(self, *, lines: int, urgent: int = 0) -> None:
        self.lines = lines
        self._urgent = urgent
        self._holders: dict[Hashable, int] = {}
        self._queue = FairQueue()

    @property
    def in_use(self) -> int:
        """Lines in use."""
        return len(self._holders)

    async def acquire(self, contract_key: Hashable, claimant: Claimant) -> None:
        """Take a line for a contract, or share the one that it has; ``release`` it in any case."""
        if contract_key not in self._holders:
            ticket = self._queue.join(claimant)
            try:
                await self._wait_for_line(ticket, contract_key)
                self._holders.setdefault(contract_key, 0)
            finally:
                self._queue.leave(ticket)
        self._holders[contract_key] += 1

    async def _wait_for_line(self, ticket: _Ticket, contract_key: Hashable) -> None:
        while not self._queue.is_first(ticket) or not self._has_room(ticket.claimant, contract_key):
            ticket.woken.clear()
            await ticket.woken.wait()

    def _has_room(self, claimant: Claimant, contract_key: Hashable) -> bool:
        lines = self.lines if claimant.priority <= URGENT_PRIORITY else self.lines - self._urgent
        return contract_key in self._holders or len(self._holders) < lines

    def release(self, contract_key: Hashable) -> None:
        """Give back one hold; the line is free when the last one went."""
        self._holders[contract_key] -= 1
        if not self._holders[contract_key]:
            del self._holders[contract_key]
        self._queue.wake_first()

    @asynccontextmanager
    async def line(self, contract_key: Hashable, claimant: Claimant) -> AsyncIterator[None]:
        """Hold a line for a contract."""
        await self.acquire(contract_key, claimant)
        try:
            yield
        finally:
            self.release(contract_key)

    def waiting(self) -> dict[str, int]:
        """Contracts that wait for a line, by request."""
        return self._queue.waiting()


class SlotLimiter:
    """At most ``slots`` at once: the open historical requests."""

    reason = "open historical requests"

    def __init__(self, *, slots: int, urgent: int = 0) -> None:
        self.slots = slots
        self._lines = LineLimiter(lines=slots, urgent=urgent)

    @property
    def in_use(self) -> int:
        """Slots in use."""
        return self._lines.in_use

    @asynccontextmanager
    async def slot(self, claimant: Claimant) -> AsyncIterator[None]:
        """Hold one slot."""
        async with self._lines.line(object(), claimant):
            yield

    def waiting(self) -> dict[str, int]:
        """Requests that wait for a slot."""
        return self._lines.waiting()


@dataclass(frozen=True, kw_only=True, slots=True)
class _SmallBarRequest:
    at: float
    weight: int
    series: Hashable
    identity: Hashable


class SmallBarLimiter:
    """IB's rules for bars of 30 seconds and less.

    No identical request within 15 s; fewer than 6 for one contract, exchange and type in 2 s; 60 in 10 minutes; BID_ASK
    counts twice. Source: IB's historical data limitations.
    """

    reason = "small-bar history"
    identical_seconds = 15.0
    series_seconds = 2.0
    series_limit = 5
    window_seconds = 600.0
    window_limit = 60

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._requests: deque[_SmallBarRequest] = deque()
        self._queue = FairQueue()

    @asynccontextmanager
    async def request(
        self, *, series: Hashable, identity: Hashable, what_to_show: str, claimant: Claimant
    ) -> AsyncIterator[None]:
        """Enter when the request may be sent. ``series`` is contract, exchange and type; ``identity`` all of it."""
        weight = 2 if what_to_show.upper() == "BID_ASK" else 1
        ticket = self._queue.join(claimant)
        try:
            await self._wait_for_turn(ticket, series, identity, weight)
            now = self._clock.monotonic()
            self._requests.append(_SmallBarRequest(at=now, weight=weight, series=series, identity=identity))
        finally:
            self._queue.leave(ticket)
        yield

    async def _wait_for_turn(self, ticket: _Ticket, series: Hashable, identity: Hashable, weight: int) -> None:
        while True:
            if not self._queue.is_first(ticket):
                ticket.woken.clear()
                await ticket.woken.wait()
            elif (seconds := self._seconds_until_free(series, identity, weight)) > 0:
                await self._clock.sleep(seconds)
            else:
                return

    def _seconds_until_free(self, series: Hashable, identity: Hashable, weight: int) -> float:
        now = self._clock.monotonic()
        while self._requests and self._requests[0].at + self.window_seconds <= now:
            self._requests.popleft()
        same = [one for one in self._requests if one.identity == identity]
        of_series = [one for one in self._requests if one.series == series]
        free_at = max(
            same[-1].at + self.identical_seconds if same else now,
            _free_at(of_series, weight, self.series_limit, self.series_seconds, now),
            _free_at(list(self._requests), weight, self.window_limit, self.window_seconds, now),
        )
        return free_at - now

    def waiting(self) -> dict[str, int]:
        """Requests that wait, by request."""
        return self._queue.waiting()


def _free_at(requests: list[_SmallBarRequest], weight: int, limit: int, seconds: float, now: float) -> float:
    """When a further request of that weight fits into a window of so many seconds with that limit."""
    total = weight
    for request in reversed(requests):
        total += request.weight
        if total > limit:
            return max(now, request.at + seconds)
    return now
