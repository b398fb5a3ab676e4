"""Waiting work in the order in which it is served: by priority, then in turns between requests, then first come."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from v6.clock import Clock


@dataclass(frozen=True, kw_only=True, slots=True)
class Claimant:
    """Who asks: the request and its priority. A cancel ``releases`` a line, and has no answer."""

    priority: int
    request_id: str
    releases: bool = False

    @property
    def is_urgent(self) -> bool:
        """Priority 1, and the session's own work."""
        return self.priority <= 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """What a request waits for: how many of its steps, the longest for how many seconds, and how much longer."""

    reason: str
    steps: int
    waited_seconds: float
    expected_seconds: float | None = None  # None: it cannot be told


@dataclass(eq=False, kw_only=True, slots=True)
class Ticket:
    """One place in the queue."""

    claimant: Claimant
    rank: tuple[int, int, int]  # priority, turn, number
    since: float
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    has_left: bool = False

    def __lt__(self, other: Ticket) -> bool:
        return self.rank < other.rank

    async def woken_within(self, seconds: float, clock: Clock) -> None:
        """Wait until it is told to look again, or for so long (clock time)."""
        waits = [asyncio.ensure_future(clock.sleep(seconds)), asyncio.ensure_future(self.woken.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


class FairQueue:
    """Requests of one priority are served in turns (start-time fair queueing), whatever the length of each."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._heap: list[Ticket] = []
        self._numbers = itertools.count()
        self._turn = 0
        self._last_turns: dict[str, int] = {}
        self._waiting = Counter[str]()

    def __len__(self) -> int:
        return self._waiting.total()

    def join(self, claimant: Claimant) -> Ticket:
        """Take a place in the queue; leave it with ``leave`` in any case."""
        turn = max(self._turn, self._last_turns.get(claimant.request_id, 0)) + 1
        self._last_turns[claimant.request_id] = turn
        ticket = Ticket(claimant=claimant, rank=(claimant.priority, turn, next(self._numbers)), since=self._now())
        heapq.heappush(self._heap, ticket)
        self._waiting[claimant.request_id] += 1
        return ticket

    @property
    def first(self) -> Ticket | None:
        """Who is served next."""
        return self._heap[0] if self._heap else None

    def is_first(self, ticket: Ticket) -> bool:
        """Whether nobody waits before this ticket."""
        return self._heap[0] is ticket

    def leave(self, ticket: Ticket) -> None:
        """Give up the place, served or not, and wake whoever is first now."""
        ticket.has_left = True
        if self._heap[0] is ticket:
            self._turn = max(self._turn, ticket.rank[1])
        while self._heap and self._heap[0].has_left:
            heapq.heappop(self._heap)
        self._waiting[ticket.claimant.request_id] -= 1
        self._waiting += Counter()  # drops those that wait no more
        if not self._heap:
            self._last_turns.clear()
        self.wake_first()

    def wake_first(self) -> None:
        """Let the first one look again whether it may go."""
        if self._heap:
            self._heap[0].woken.set()

    def in_order(self) -> Iterator[Ticket]:
        """Who waits, the first one first."""
        return (ticket for ticket in sorted(self._heap) if not ticket.has_left)

    def waiting(self) -> dict[str, int]:
        """How many places each request holds in the queue."""
        return dict(self._waiting)

    def waits(self, reason: str, expected: Callable[[int], float | None] = lambda _: None) -> dict[str, Wait]:
        """What each request waits for; ``expected`` tells how long the place so many behind the first one takes."""
        found: dict[str, Wait] = {}
        now = self._now()
        for places, ticket in enumerate(self.in_order()):
            known = found.get(ticket.claimant.request_id)
            found[ticket.claimant.request_id] = Wait(
                reason=reason,
                steps=1 if known is None else known.steps + 1,
                waited_seconds=round(max(now - ticket.since, 0.0 if known is None else known.waited_seconds), 3),
                expected_seconds=expected(places) if known is None else known.expected_seconds,
            )
        return found
