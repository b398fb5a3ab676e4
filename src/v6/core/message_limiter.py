"""Messages per second, as the gateway counts them: when they arrive, not when they are sent.

A message that is sent 1.00 s after another may arrive 0.95 s after it, when the gateway was busy and read the first one
late. A fixed allowance for that costs its share of the limit and still fails when the gateway stalls for longer. So the
limiter learns from what comes back when its messages have arrived, and lets a message go one second after the one
``per_second`` places before it is *known* to have arrived:

- an answer to a request proves that it, and all that was sent before, has been read (``proven``);
- a gateway that sends is a gateway that reads: data which came in two further packets, some time after a message was
  sent, tell that it has been read (``heard``);
- silence proves nothing: before the last place of the window is given away the limiter asks for an echo (``echo``).

So at most ``per_second`` messages are ever in doubt, and a gateway that hangs for seconds and then reads everything at
once does not count too many.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from v6.clock import Clock
from v6.core.fair_queue import Claimant, FairQueue, Ticket, Wait

WINDOW_SECONDS = 1.0
MARGIN_MACHINE_SECONDS = 0.001
CATCH_UP_MESSAGES = 4  # a timer that fires late may be made good by so many messages at once
READ_MACHINE_SECONDS = 0.02  # a gateway that sends has read what came so long before
SILENCE_MACHINE_SECONDS = 0.25  # without news for so long an echo is asked for
UNKNOWN_MACHINE_SECONDS = 0.045  # where nothing tells when messages arrive


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sent:
    number: int
    at: float


class MessageLimiter:
    """At most ``per_second`` messages in any second as the receiver counts them, evenly spaced.

    ``echo`` asks the gateway for a sign of life; without it, arrival is taken to be 45 ms after sending.
    """

    reason = "messages per second"

    def __init__(self, *, per_second: int, clock: Clock, echo: Callable[[], None] | None = None) -> None:
        self.per_second = per_second
        self._clock = clock
        self._echo = echo
        self._window = WINDOW_SECONDS + MARGIN_MACHINE_SECONDS * clock.speed
        self._spacing = WINDOW_SECONDS / per_second
        self._numbers = itertools.count()
        self._in_doubt: deque[_Sent] = deque()
        self._arrived: deque[float] = deque(maxlen=per_second)
        self._sent: deque[float] = deque(maxlen=per_second)
        self._last_packet = float("-inf")
        self._next_at = float("-inf")
        self._queue = FairQueue(clock.monotonic)

    @asynccontextmanager
    async def message(self, claimant: Claimant, *, is_echo: bool = False) -> AsyncIterator[int]:
        """Enter when one message may be sent, with its number; send it inside. An echo may take the last place."""
        ticket = self._queue.join(claimant)
        try:
            await self._wait_for_turn(ticket, self.per_second if is_echo else max(1, self.per_second - 1))
            number = self._record()
        finally:
            self._queue.leave(ticket)
        yield number

    async def _wait_for_turn(self, ticket: Ticket, doubts: int) -> None:
        while True:
            ticket.woken.clear()
            if not self._queue.is_first(ticket):
                await ticket.woken.wait()
            elif self._echo is not None and len(self._in_doubt) >= doubts:
                await self._wait_for_news(ticket)
            elif (seconds := self._seconds_until_free()) > 0:
                await self._clock.sleep(seconds)
            else:
                return

    async def _wait_for_news(self, ticket: Ticket) -> None:
        silence = self._clock.monotonic() - max(self._in_doubt[0].at, self._last_packet)
        longest = SILENCE_MACHINE_SECONDS * self._clock.speed
        if silence >= longest and self._echo is not None:
            self._echo()
        await ticket.woken_within(longest, self._clock)

    def _seconds_until_free(self) -> float:
        return max(self._next_at, self._window_at()) - self._clock.monotonic()

    def _window_at(self) -> float:
        """When the window has room: a second after the message that leaves it had arrived."""
        leaves = self.per_second - len(self._in_doubt)  # so many places from the end of those that arrived
        if leaves <= 0:
            unknown = UNKNOWN_MACHINE_SECONDS * self._clock.speed
            return self._in_doubt[-self.per_second].at + unknown + self._window
        return self._arrived[-leaves] + self._window if len(self._arrived) >= leaves else float("-inf")

    def _record(self) -> int:
        now = self._clock.monotonic()
        sent = _Sent(number=next(self._numbers), at=now)
        self._in_doubt.append(sent)
        self._sent.append(now)
        if self._echo is None:
            self._assume_arrived()
        self._next_at = max(self._next_at, now - CATCH_UP_MESSAGES * self._spacing) + self._spacing
        return sent.number

    def _assume_arrived(self) -> None:
        """Nothing will tell: it arrives a little after it was sent."""
        sent = self._in_doubt.popleft()
        self._arrived.append(sent.at + UNKNOWN_MACHINE_SECONDS * self._clock.speed)

    def proven(self, number: int) -> None:
        """The message of that number, and all before it, has been read by now."""
        self._settle(lambda sent: sent.number <= number)

    def heard(self) -> None:
        """A packet came in."""
        now = self._clock.monotonic()
        read_before = min(self._last_packet, now - READ_MACHINE_SECONDS * self._clock.speed)
        self._last_packet = now
        self._settle(lambda sent: sent.at <= read_before)

    def forget(self) -> None:
        """The session is gone: what was in doubt has arrived by now or never will."""
        self._settle(lambda _: True)

    def _settle(self, has_arrived: Callable[[_Sent], bool]) -> None:
        now, before = self._clock.monotonic(), len(self._in_doubt)
        while self._in_doubt and has_arrived(self._in_doubt[0]):
            self._in_doubt.popleft()
            self._arrived.append(now)
        if len(self._in_doubt) < before:
            self._queue.wake_first()

    def hold(self, seconds: float) -> None:
        """Send nothing for so long: the gateway said that we were too fast."""
        self._next_at = max(self._next_at, self._clock.monotonic() + seconds)

    def in_last_second(self) -> int:
        """Messages sent in the last second."""
        since = self._clock.monotonic() - WINDOW_SECONDS
        return sum(1 for sent in self._sent if sent > since)

    def waits(self) -> dict[str, Wait]:
        """What waits to be sent, by request."""
        return self._queue.waits(self.reason, lambda places: round(places * self._spacing, 3))
