"""Messages that are held back for a while; those held back equally long keep their order."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

from v6.clock import Clock
from v6.simulator.answer_faults import Message
from v6.simulator.messages import ANSWERS


class DelayedMessages:
    """Hands each message to ``send`` when its time has come."""

    def __init__(self, clock: Clock, send: Callable[[Message], None]) -> None:
        self._clock = clock
        self._send = send
        self._heap: list[tuple[float, int, Message]] = []
        self._ids = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    def put(self, seconds: float, message: Message) -> None:
        """Hold a message back for clock seconds."""
        heapq.heappush(self._heap, (self._clock.monotonic() + seconds, next(self._ids), message))
        self._schedule()

    def forget(self, req_id: int) -> None:
        """Drop what is held back for a request that was cancelled."""
        if self._heap:
            self._heap = [entry for entry in self._heap if _request_of(entry[2]) != req_id]
            heapq.heapify(self._heap)

    def close(self) -> None:
        """Drop everything."""
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            seconds = max(0.0, self._heap[0][0] - self._clock.monotonic()) / self._clock.speed
            self._timer = asyncio.get_running_loop().call_later(seconds, self._send_due)

    def _send_due(self) -> None:
        while self._heap and self._heap[0][0] <= self._clock.monotonic():
            self._send(heapq.heappop(self._heap)[2])
        self._schedule()


def _request_of(message: Message) -> int | None:
    position = ANSWERS.get(message.number)
    if position is None or position >= len(message.texts):
        return None
    text = message.texts[position]
    return int(text) if text.lstrip("-").isdigit() else None
