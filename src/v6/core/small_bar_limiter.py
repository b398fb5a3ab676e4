"""IB's rules for bars of 30 seconds and less, kept across restarts.

No identical request within 15 s; fewer than 6 for one contract, exchange and type in 2 s; 60 in 10 minutes; BID_ASK
counts twice. Source: IB's historical data limitations. Only its answer proves that a request has been read, so it
counts from its answer, or from when it was given up; until then it counts as if it were being sent now.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta

from v6.clock import Clock
from v6.core.fair_queue import Claimant, FairQueue, Ticket, Wait
from v6.core.pacing_record import PacedRequest, PacingRecord
from v6.errors import ErrorCategory, GatewayError, LakeError

IDENTICAL_SECONDS = 15.0
SERIES_SECONDS, SERIES_LIMIT = 2.0, 5
WINDOW_SECONDS, WINDOW_LIMIT = 600.0, 60
MARGIN_MACHINE_SECONDS = 0.1  # by so much two clocks may measure ten minutes differently
PATIENCE_SECONDS = 5.0  # whoever would wait longer is told to come back instead
COMPACT_LINES = 2000


class SmallBarLimiter:
    """Admits requests for small bars, the first that may go first; ``record`` outlives the process."""

    reason = "small-bar history"

    def __init__(self, *, clock: Clock, record: PacingRecord | None = None) -> None:
        self._clock = clock
        self._record = record
        self._requests: dict[int, PacedRequest] = {}
        self._sent: set[int] = set()  # and not answered
        self._margin = timedelta(seconds=MARGIN_MACHINE_SECONDS * clock.speed)
        self._numbers = itertools.count(1)
        self._wanted: dict[Ticket, PacedRequest] = {}
        self._notes: set[asyncio.Task[None]] = set()
        self._lines = 0
        self._is_loaded = record is None
        self._loading = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._queue = FairQueue(clock.monotonic)

    @property
    def window(self) -> timedelta:
        """For how long a request counts."""
        return timedelta(seconds=WINDOW_SECONDS) + self._margin

    @asynccontextmanager
    async def request(
        self, *, series: str, identity: str, weight: int, claimant: Claimant, is_patient: bool = True
    ) -> AsyncIterator[Callable[[], None]]:
        """Enter when the request may be sent, with what is to be called when it goes out.

        ``series`` is contract, exchange and type; ``identity`` is all that is asked.

        Raises:
            GatewayError: it would wait for more than 5 s and is not patient; ``retry_seconds`` says how long.
        """
        await self._load()
        number = next(self._numbers)
        wanted = PacedRequest(number=number, at=self._clock.now(), weight=weight, series=series, identity=identity)
        seconds = self._seconds_until_free(wanted, ahead=self._wanted.values())
        if seconds > PATIENCE_SECONDS and not is_patient:
            text = f"{self.reason}: IB's limits let it through in {seconds:.0f} s"
            raise GatewayError(text, category=ErrorCategory.PACING, retry_seconds=seconds)
        admitted = await self._admitted(wanted, claimant)
        try:
            await self._write(admitted)
            yield lambda: self._sent.add(number)
        finally:
            self._end(number)

    async def _admitted(self, wanted: PacedRequest, claimant: Claimant) -> PacedRequest:
        ticket = self._queue.join(claimant)
        self._wanted[ticket] = wanted
        try:
            while (seconds := self._seconds_until_turn(ticket)) > 0:
                ticket.woken.clear()
                await ticket.woken_within(seconds, self._clock)
            admitted = replace(wanted, at=self._clock.now())
            self._requests[admitted.number] = admitted
            return admitted
        finally:
            del self._wanted[ticket]
            self._queue.leave(ticket)
            self._wake_all()

    def _wake_all(self) -> None:
        for ticket in self._wanted:
            ticket.woken.set()

    def _seconds_until_turn(self, ticket: Ticket) -> float:
        """0 when it may go: it fits, and no one before it waits for the ten minutes' window only."""
        for other in self._queue.in_order():
            wanted = self._wanted.get(other)
            if other is ticket or wanted is None:
                break
            if self._seconds_of_series(wanted) <= 0:  # it is stopped by what stops everyone
                return self._seconds_until_free(wanted) or 1.0  # news comes before
        return self._seconds_until_free(self._wanted[ticket])

    def _seconds_until_free(self, wanted: PacedRequest, *, ahead: Iterable[PacedRequest] = ()) -> float:
        queued = sum(other.weight for other in ahead)
        return max(self._seconds_of_series(wanted), self._seconds_of_window(wanted.weight + queued), 0.0)

    def _seconds_of_series(self, wanted: PacedRequest) -> float:
        counted = list(self._requests.values())
        same = [one for one in counted if one.identity == wanted.identity]
        of_series = [one for one in counted if one.series == wanted.series]
        return max(
            self._seconds_of(same, wanted.weight, 1, IDENTICAL_SECONDS),
            self._seconds_of(of_series, wanted.weight, SERIES_LIMIT, SERIES_SECONDS),
        )

    def _seconds_of_window(self, weight: int) -> float:
        # The first so many fit now; whoever is further back has to wait for as many windows.
        windows, rest = divmod(weight - 1, WINDOW_LIMIT)
        seconds = self._seconds_of(list(self._requests.values()), rest + 1, WINDOW_LIMIT, WINDOW_SECONDS)
        return seconds + windows * WINDOW_SECONDS

    def _seconds_of(self, requests: list[PacedRequest], weight: int, limit: int, seconds: float) -> float:
        """Until so much weight fits into a window of so many seconds with that limit."""
        now, total = self._clock.now(), weight
        for request in sorted(requests, key=lambda one: (not one.is_sent, one.at), reverse=True):
            total += request.weight
            at = request.at if request.is_sent else now
            if total > limit:
                return (min(at, now) + timedelta(seconds=seconds) + self._margin - now).total_seconds()
        return 0.0

    def _end(self, number: int) -> None:
        """It was answered or given up; what never went out does not count."""
        if number in self._sent:
            self._sent.discard(number)
            self._note_answered(number)
        elif self._requests.pop(number, None) is not None:
            self._wake_all()

    def _note_answered(self, number: int) -> None:
        answered = replace(self._requests[number], at=self._clock.now(), is_sent=True)
        self._requests[number] = answered
        self._forget()
        task = asyncio.get_running_loop().create_task(self._write_answered(answered), name="pacing-record")
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    def _forget(self) -> None:
        now = self._clock.now()
        for number in [n for n, one in self._requests.items() if one.is_sent and now - one.at > self.window]:
            del self._requests[number]

    # --- the record ---

    async def _load(self) -> None:
        async with self._loading:
            if self._is_loaded or self._record is None:
                return
            now = self._clock.now()
            known = await asyncio.to_thread(self._record.load, now, self.window)
            if known is None:
                known = [PacedRequest(number=0, at=now, weight=WINDOW_LIMIT, series="", identity="")]
            for number, one in enumerate(known, start=-len(known)):
                at = min(one.at, now) if one.is_sent else now
                self._requests[number] = replace(one, number=number, at=at, is_sent=True)
            await self._rewrite()
            self._is_loaded = True

    async def _rewrite(self) -> None:
        if self._record is not None:
            await asyncio.to_thread(self._record.rewrite, list(self._requests.values()))
            self._lines = len(self._requests)

    async def _write_answered(self, request: PacedRequest) -> None:
        with suppress(LakeError):  # without this line it counts from when the record is read; the next one will tell
            await self._write(request)

    async def close(self) -> None:
        """Until all is written."""
        await asyncio.gather(*self._notes)

    async def _write(self, request: PacedRequest) -> None:
        if self._record is None:
            return
        async with self._writing:
            if self._lines > COMPACT_LINES:
                await self._rewrite()
            await asyncio.to_thread(self._record.append, request)
            self._lines += 1

    def in_window(self) -> int:
        """Units that count in the ten minutes' window; BID_ASK counts twice."""
        self._forget()
        return sum(one.weight for one in self._requests.values())

    def waits(self) -> dict[str, Wait]:
        """What waits to be admitted, by request."""
        order = [self._wanted[ticket] for ticket in self._queue.in_order() if ticket in self._wanted]

        def expected(places: int) -> float:
            return round(self._seconds_until_free(order[places], ahead=order[:places]), 1)

        return self._queue.waits(self.reason, expected)
