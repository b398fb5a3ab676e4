"""Market-data lines and other places that are held for a while: how many are taken, and who waits for one."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncIterator, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace

from v6.clock import Clock
from v6.core.fair_queue import Claimant, FairQueue, Ticket, Wait

PACE_OF = 64  # so many places that were given back tell how fast they are
URGENT_SHARE = 25  # one place in so many is kept for priority 1: 4 lines of 100 leave 96 % for the rest


@dataclass(eq=False, kw_only=True, slots=True)
class LineUp:
    """Contracts of a request that will join the queue."""

    request_id: str
    contracts: int


class LineLimiter:
    """At most ``lines`` different contracts streamed at once; the same contract counts once.

    One in 25 is for priority 1 alone: it never waits until a slow quote gives up.
    """

    def __init__(self, *, lines: int, clock: Clock, reason: str = "market-data lines") -> None:
        self.lines = lines
        self.reason = reason
        self._for_all = lines - lines // URGENT_SHARE
        self._holders: dict[Hashable, int] = {}
        self._now = clock.monotonic
        self._queue = FairQueue(clock.monotonic)
        self._freed: deque[float] = deque(maxlen=PACE_OF)
        self._lined_up: set[LineUp] = set()

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

    async def _wait_for_line(self, ticket: Ticket, contract_key: Hashable) -> None:
        while not self._queue.is_first(ticket) or not self._has_room(contract_key, ticket.claimant):
            ticket.woken.clear()
            await ticket.woken.wait()

    def _has_room(self, contract_key: Hashable, claimant: Claimant) -> bool:
        limit = self.lines if claimant.is_urgent else self._for_all
        return contract_key in self._holders or len(self._holders) < limit

    def release(self, contract_key: Hashable) -> None:
        """Give back one hold; the line is free when the last one went."""
        self._holders[contract_key] -= 1
        if not self._holders[contract_key]:
            del self._holders[contract_key]
            self._freed.append(self._now())
        self._queue.wake_first()

    @asynccontextmanager
    async def line(self, contract_key: Hashable, claimant: Claimant) -> AsyncIterator[None]:
        """Hold a line for a contract."""
        await self.acquire(contract_key, claimant)
        try:
            yield
        finally:
            self.release(contract_key)

    @contextmanager
    def line_up(self, request_id: str, contracts: int) -> Iterator[LineUp]:
        """So many more contracts of a request will wait for a line, and have not joined the queue yet."""
        lined_up = LineUp(request_id=request_id, contracts=contracts)
        self._lined_up.add(lined_up)
        try:
            yield lined_up
        finally:
            self._lined_up.remove(lined_up)

    def waits(self) -> dict[str, Wait]:
        """What waits for a line, by request, with the contracts that are lined up."""
        behind = Counter[str]()
        for lined_up in self._lined_up:
            behind[lined_up.request_id] += lined_up.contracts
        found = self._queue.waits(self.reason, self._expected)
        return {i: replace(wait, steps=wait.steps + behind[i]) for i, wait in found.items()}

    def _expected(self, places: int) -> float | None:
        """Seconds until so many lines and one more are free, at the pace of late; None where there was none."""
        if len(self._freed) < PACE_OF // 4:
            return None
        seconds = self._now() - self._freed[0]
        return round((places + 1) * seconds / len(self._freed), 1)


class SlotLimiter:
    """At most ``slots`` at once: open historical requests, broad contract-details requests."""

    def __init__(self, *, slots: int, clock: Clock, reason: str) -> None:
        self.slots = slots
        self.reason = reason
        self._lines = LineLimiter(lines=slots, clock=clock, reason=reason)

    @property
    def in_use(self) -> int:
        """Slots in use."""
        return self._lines.in_use

    @asynccontextmanager
    async def slot(self, claimant: Claimant) -> AsyncIterator[None]:
        """Hold one slot."""
        async with self._lines.line(object(), claimant):
            yield

    def waits(self) -> dict[str, Wait]:
        """What waits for a slot, by request."""
        return self._lines.waits()
