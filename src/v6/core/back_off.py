"""How long to wait before the session is opened again: exponentially longer, with jitter."""

from __future__ import annotations

import random

from v6.clock import Clock
from v6.core.session_state import ReconnectScheduled
from v6.events import EventBus

FIRST_SECONDS = 1.0
CAP_SECONDS = 60.0


class BackOff:
    """The pauses between tries of one session."""

    def __init__(self, clock: Clock, events: EventBus, jitter: random.Random | None = None) -> None:
        self._clock = clock
        self._events = events
        self._jitter = jitter or random.Random()

    async def wait(self, attempt: int, reason: str) -> None:
        """Wait before the try after failure number ``attempt``, counted from 1."""
        longest = min(CAP_SECONDS, FIRST_SECONDS * 2 ** min(attempt - 1, 10))
        seconds = longest * self._jitter.uniform(0.5, 1.0)
        self._events.emit(ReconnectScheduled(seconds=seconds, reason=reason))
        await self._clock.sleep(seconds)
