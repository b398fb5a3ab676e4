"""Messages per second, as the gateway counts them: when it reads them, not when they are sent.

A message that is sent 1.00 s after another may be read 0.95 s after it, or at the same moment, when the gateway stood
still and read the first one late. No allowance for that is wide enough, and data that come in meanwhile tell nothing:
they may have been under way. So a message goes one second after the one ``per_second`` places before it is *proven* to
have been read, and nothing but an answer to it, or to a later one, is a proof:

- an answer to a request proves that it, and all that was sent before, has been read (``proven``);
- where answers are late, an ``echo`` is asked for: a question that every gateway answers at once.

A message cannot be read before it is sent, nor after it is answered. So no second has more than ``per_second``
messages, however long either side stands still, and whatever the network holds back. What it costs is the time from
sending to the proof: ``per_second`` messages need one second and that time. While answers come soon messages are evenly
spaced, and each proves those before it; a cancel has no answer, so a question goes right behind it. Where answers are
late, half of a second's messages go at once with an echo behind them: two messages a second for echoes, and the time
of one echo instead of that of an answer.
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
MARGIN_MACHINE_SECONDS = 0.001  # two machines' seconds are not equally long
CATCH_UP_SECONDS = 0.25  # what a timer that fires late, or a loop that was busy, may make good at once
SILENCE_MACHINE_SECONDS = 0.25  # where all places but one are in doubt for so long an echo is asked for
LATE_MACHINE_SECONDS = 0.02  # an answer that takes so long, and two places more, costs more than echoes do
ANSWERS_OF = 10  # so many answers tell how late they are
GIVEN_UP_MACHINE_SECONDS = 10.0  # with one message a second none is left for an echo: read by then, or never


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sent:
    number: int
    at: float


class MessageLimiter:
    """At most ``per_second`` messages in any second, as whoever receives them counts.

    ``echo`` asks the gateway for a sign of life, as a message with ``is_echo``.
    """

    reason = "messages per second"

    def __init__(self, *, per_second: int, clock: Clock, echo: Callable[[], None]) -> None:
        self.per_second = per_second
        self._clock = clock
        self._echo = echo
        self._window = WINDOW_SECONDS + MARGIN_MACHINE_SECONDS * clock.speed
        self._spacing = WINDOW_SECONDS / per_second
        self._numbers = itertools.count()
        self._in_doubt: deque[_Sent] = deque()
        self._read: deque[float] = deque(maxlen=per_second)  # when, at the latest
        self._sent: deque[_Sent] = deque(maxlen=per_second)
        self._answer_seconds = 0.0
        self._last_echo = -1
        self._next_at = self._held_until = float("-inf")
        self._cancels, self._questions = FairQueue(clock.monotonic), FairQueue(clock.monotonic)
        self._is_unproven = False  # the last one was a cancel: it is proven by what is sent next

    @asynccontextmanager
    async def message(self, claimant: Claimant, *, is_echo: bool = False) -> AsyncIterator[int]:
        """Enter when one message may be sent, with its number; send it inside. An echo may take the last place."""
        queue = self._cancels if claimant.releases else self._questions
        ticket = queue.join(claimant)
        try:
            await self._wait_for_turn(ticket, is_echo=is_echo)
            number = self._record(is_echo=is_echo)
            self._is_unproven = claimant.releases
        finally:
            queue.leave(ticket)
            self._wake_first()
        yield number

    def _first(self) -> Ticket | None:
        """Who goes next: the more urgent, else cancels and questions in turns, for a question proves a cancel."""
        cancel, question = self._cancels.first, self._questions.first
        if cancel is None or question is None:
            return cancel or question
        if cancel.claimant.priority != question.claimant.priority:
            return min(cancel, question, key=lambda ticket: ticket.claimant.priority)
        return question if self._is_unproven else cancel

    def _wake_first(self) -> None:
        if (first := self._first()) is not None:
            first.woken.set()

    async def _wait_for_turn(self, ticket: Ticket, *, is_echo: bool) -> None:
        while True:
            ticket.woken.clear()
            if self._first() is not ticket:
                await ticket.woken.wait()
            elif len(self._in_doubt) >= (self.per_second if is_echo else self._most_in_doubt()):
                await self._wait_for_news(ticket)
            elif (seconds := self._seconds_until_free(ticket)) > 0:
                await self._clock.sleep(seconds)
            else:
                return

    @property
    def _is_late(self) -> bool:
        """Whether answers take longer than echoes cost."""
        return self._answer_seconds > LATE_MACHINE_SECONDS * self._clock.speed + 2 * self._spacing

    def _most_in_doubt(self) -> int:
        """So many may be in doubt before one that is no echo: one place is left for it."""
        return max(1, (self.per_second // 2 if self._is_late else self.per_second) - 1)

    async def _wait_for_news(self, ticket: Ticket) -> None:
        oldest, silence = self._in_doubt[0], SILENCE_MACHINE_SECONDS * self._clock.speed
        age = self._clock.monotonic() - oldest.at
        if self.per_second == 1 and age >= GIVEN_UP_MACHINE_SECONDS * self._clock.speed:
            self.forget()
            return
        if (self._is_late or age >= silence) and self._last_echo < oldest.number:  # none is under way
            self._echo()
        await ticket.woken_within(silence, self._clock)

    def _seconds_until_free(self, ticket: Ticket) -> float:
        is_cancel = ticket.claimant.releases
        is_pair = is_cancel and self._questions.first is not None  # what proves it goes right behind it
        evenly = float("-inf") if self._is_late or (self._is_unproven and not is_cancel) else self._next_at
        return max(evenly, self._held_until, self._window_at(2 if is_pair else 1)) - self._clock.monotonic()

    def _window_at(self, messages: int) -> float:
        """When the window has room for so many: a second after the last of those that leave it has been read."""
        leaves = max(1, self.per_second + 1 - messages - len(self._in_doubt))  # counted from the end of those read
        return self._read[-leaves] + self._window if len(self._read) >= leaves else float("-inf")

    def _record(self, *, is_echo: bool) -> int:
        now = self._clock.monotonic()
        sent = _Sent(number=next(self._numbers), at=now)
        self._in_doubt.append(sent)
        self._sent.append(sent)
        if is_echo:
            self._last_echo = sent.number
        self._next_at = max(self._next_at, now - CATCH_UP_SECONDS) + self._spacing
        return sent.number

    def proven(self, number: int) -> None:
        """The message of that number was answered: it, and all before it, has been read by now."""
        if number != self._last_echo:
            self._note_answer(number)
        self._settle(number)

    def _note_answer(self, number: int) -> None:
        sent = self._sent[max(0, number - self._sent[0].number)]
        self._answer_seconds += (self._clock.monotonic() - sent.at - self._answer_seconds) / ANSWERS_OF

    def opened(self) -> None:
        """A session was opened, which took one message, and that was answered."""
        self._read.append(self._clock.monotonic())

    def forget(self) -> None:
        """The session is gone: what was in doubt has been read by now or never will be."""
        if self._in_doubt:
            self._settle(self._in_doubt[-1].number)

    def _settle(self, number: int) -> None:
        now, before = self._clock.monotonic(), len(self._in_doubt)
        while self._in_doubt and self._in_doubt[0].number <= number:
            self._in_doubt.popleft()
            self._read.append(now)
        if len(self._in_doubt) < before:
            self._wake_first()

    def hold(self, seconds: float) -> None:
        """Send nothing for so long: the gateway said that we were too fast."""
        self._held_until = max(self._held_until, self._clock.monotonic() + seconds)

    def in_last_second(self) -> int:
        """Messages sent in the last second."""
        since = self._clock.monotonic() - WINDOW_SECONDS
        return sum(1 for sent in self._sent if sent.at > since)

    def waits(self) -> dict[str, Wait]:
        """What waits to be sent, by request."""
        cancels, questions = (
            queue.waits(self.reason, lambda places: round(places * self._spacing, 3))
            for queue in (self._cancels, self._questions)
        )
        return cancels | questions
