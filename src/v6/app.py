"""Builds the parts of v6 from the settings and hands them to each other; the one place that knows how they fit."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from v6.clock import Clock
from v6.events import EventBus
from v6.logs import log_events
from v6.settings import Settings

if TYPE_CHECKING:  # each part is imported when it is asked for: a command loads only what it uses
    from v6.data.delta import Lake
    from v6.data.ib_request_queue import IBRequestQueue


class App:
    """The parts, each built at its first use. The clock, the bus and the lake are shared by all of them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = Clock(settings.clock)
        self.events = EventBus()
        log_events(self.events, clock=self.clock, level=settings.log_level, form=settings.log_format)

    @cached_property
    def lake(self) -> Lake:
        """The tables."""
        from v6.data.delta import Lake

        return Lake(self.settings.lake)

    def queue(self, *, source: str, worker_id: str = "") -> IBRequestQueue:
        """A queue object of its own, to be closed by whoever asked for it. ``source`` says who inserts."""
        from v6.data.ib_request_queue import IBRequestQueue

        return IBRequestQueue(
            self.lake,
            clock=self.clock,
            source=source,
            worker_id=worker_id,
            key_lifetime_seconds=self.settings.key_lifetime_seconds,
        )
