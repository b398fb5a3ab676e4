"""What may be claimed now: the free places, each type's limit, and what holds a type back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from v6.core.executor import Connection, RequestTypes
from v6.core.in_flight import InFlight
from v6.core.pauses import Pauses
from v6.core.table_health import TableHealth
from v6.core.worker_events import RequestsHeld
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.queue_state import ClaimLimits
from v6.events import EventBus
from v6.request_types.base import NO_GATEWAY
from v6.request_types.policy import Policies


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """How many requests run at once: ``urgent`` of ``total`` are for priority 1 alone.

    After ``crash_limit`` crashes a request runs alone; background as old as ``aging`` is served as normal.
    """

    total: int
    urgent: int
    crash_limit: int
    aging: timedelta


class ClaimGate:
    """Says what may begin, and tells when a type begins to be held or is no longer."""

    def __init__(
        self,
        *,
        connection: Connection,
        catalogue: RequestTypes,
        policies: Policies,
        pauses: Pauses,
        health: TableHealth,
        in_flight: InFlight,
        places: Places,
        events: EventBus,
    ) -> None:
        self._connection = connection
        self._catalogue = catalogue
        self._policies = policies
        self._pauses = pauses
        self._health = health
        self._in_flight = in_flight
        self._places = places
        self._events = events
        self._held: dict[str, str] = {}

    def limits(self) -> ClaimLimits:
        """What may be claimed at this moment."""
        running, places = self._in_flight.by_type(), self._places
        types = [self._catalogue.get(name) for name in self._catalogue.names()]
        self._note({t.name: reason for t in types if (reason := self._obstacle(t.name, t.pacing)) is not None})
        total = 0 if self._in_flight.runs_alone(places.crash_limit) else places.total
        return ClaimLimits(
            limit=max(0, total - len(self._in_flight)),
            normal_limit=max(0, places.total - places.urgent - self._in_flight.normal()),
            type_limits={t.name: max(0, self._policies.of(t).concurrency - running[t.name]) for t in types},
            skip_types=frozenset(self._held),
            crash_limit=places.crash_limit,
            running=len(self._in_flight),
            aging=places.aging,
        )

    def _obstacle(self, request_type: str, pacing: str) -> str | None:
        """Why no request of a type may begin; None when it may."""
        session = None if pacing == NO_GATEWAY else self._connection.admits(pacing)
        return self._pauses.of_type(request_type) or self._health.of_type(request_type) or session

    def _note(self, held: dict[str, str]) -> None:
        for name in sorted(held.keys() | self._held.keys()):
            if held.get(name) != self._held.get(name):
                self._events.emit(RequestsHeld(request_type=name, reason=held.get(name)))
        self._held = held

    @property
    def held(self) -> Mapping[str, str]:
        """Why each type that is held is, by type."""
        return self._held

    async def waiting(self, queue: IBRequestQueue) -> dict[str, int]:
        """How many requests wait for each reason; what waits for a free place only has none."""
        reasons = {**await queue.limits_reached(), **self._held}
        if not reasons:
            return {}
        counts = Counter[str]()
        for request_type, count in (await queue.waiting_by_type()).items():
            if request_type in reasons:
                counts[reasons[request_type]] += count
        return dict(counts)
