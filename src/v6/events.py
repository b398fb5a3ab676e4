"""Facts that the parts of v6 report, and the bus that hands them to logs, metrics and pages.

The core emits; whoever wants to know subscribes. Every event is a frozen record; docs/events.md lists each with its
fields and a test compares. A subscriber that raises stops the process loudly: it is our own code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

EventType = TypeVar("EventType", bound="Event")


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Base of all events. ``name`` is how it appears in logs: noun.verb in the past tense."""

    name: ClassVar[str] = ""
    level: ClassVar[str] = "info"


class EventBus:
    """Delivers events in the order emitted, at once, to everyone who subscribed to their class or a base of it."""

    def __init__(self) -> None:
        self._subscribers: list[tuple[type[Event], Callable[[Event], None]]] = []

    def subscribe(self, event_type: type[EventType], subscriber: Callable[[EventType], None]) -> None:
        """Call ``subscriber`` with every event of that type from now on."""

        def deliver(event: Event) -> None:
            if isinstance(event, event_type):
                subscriber(event)

        self._subscribers.append((event_type, deliver))

    def emit(self, event: Event) -> None:
        """Report a fact."""
        for _, deliver in self._subscribers:
            deliver(event)
