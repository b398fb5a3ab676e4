"""What has finished and is not settled yet, and the runs that are being cancelled."""

from __future__ import annotations

from collections import deque

from v6.clock import Clock
from v6.core.executor import Executor
from v6.core.in_flight import Finished, InFlight
from v6.core.settlement_events import settlement_event
from v6.data.ib_request import IBRequest
from v6.data.ib_request_queue import IBRequestQueue, Turn
from v6.data.outcome import Cancelled, Outcome, SnoozeUntil
from v6.data.queue_state import ClaimLimits
from v6.events import EventBus

PUT_BACK = "put back: the worker stopped"


class Settling:
    """Gathers how requests ended and writes it into the queue, each once."""

    def __init__(
        self, *, queue: IBRequestQueue, in_flight: InFlight, executor: Executor, clock: Clock, events: EventBus
    ) -> None:
        self._queue = queue
        self._in_flight = in_flight
        self._executor = executor
        self._clock = clock
        self._events = events
        self._unsettled: deque[Finished] = deque()
        self._cancelling: dict[str, str] = {}

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be settled."""
        return not self._unsettled

    async def collect(self) -> None:
        """Take in what ended since the last call. Raises what broke a run."""
        collected = self._in_flight.collect()
        self._unsettled.extend(collected.finished)
        for request in collected.cancelled:
            outcome = await self._cancelled(request)
            self._unsettled.append(Finished(request=request, outcome=outcome, seconds=0.0))
        for finished in self._unsettled:
            self._cancelling.pop(finished.request.request_id, None)
        for failure in collected.failures:
            raise failure

    async def cancel_asked(self) -> None:
        """End the runs that a person wants cancelled."""
        for request_id, reason in (await self._queue.cancels_asked()).items():
            if request_id not in self._cancelling and self._in_flight.cancel(request_id):
                self._cancelling[request_id] = reason

    async def _cancelled(self, request: IBRequest) -> Outcome:
        """The end of a run that was cancelled, by the worker's stop or for a person: says when parts had landed."""
        reason = self._cancelling.get(request.request_id)
        if reason is None:
            return SnoozeUntil(at=self._clock.now(), reason=PUT_BACK)
        rows = await self._executor.rows_of(request)
        return Cancelled(reason=f"{reason}; {rows} rows of it had landed before" if rows else reason)

    async def settle_and_claim(self, limits: ClaimLimits) -> Turn:
        """Both in one commit. Raises LakeError; then everything is still to be settled."""
        finished = list(self._unsettled)
        turn = await self._queue.turn({f.request.request_id: f.outcome for f in finished}, limits)
        self._end(finished, turn)
        return turn

    async def settle_all(self) -> int:
        """Settle the rest at a stop, and put back what was cancelled; how many were put back."""
        collected = self._in_flight.collect()
        finished = [*self._unsettled, *collected.finished]
        outcomes = {f.request.request_id: f.outcome for f in finished}
        now = self._clock.now()
        outcomes |= {r.request_id: SnoozeUntil(at=now, reason=PUT_BACK) for r in collected.cancelled}
        if outcomes:
            self._end(finished, await self._queue.settle(outcomes))
        return len(collected.cancelled)

    def _end(self, finished: list[Finished], turn: Turn) -> None:
        self._unsettled.clear()
        for f in finished:
            self._events.emit(settlement_event(f, turn))
