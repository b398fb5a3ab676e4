"""Which id an inserted request has: a new one, that of its slot, or that of the request which holds its key."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

from v6.data.ib_request import IBRequest, NewRequest, Priority, RequestStatus
from v6.data.queue_state import QueueState
from v6.errors import RequestError

KEY_NAMESPACE = uuid.UUID("6b1f3f0e-5d57-5c39-9b1e-9d8f6f1f6a51")
SLOT_NAMESPACE = uuid.UUID("0f4f2d1b-9a0f-5a6e-8f6f-0f2f9a7c3d42")


def slot_id(key: str) -> str:
    """The id of a slot's request: of the key alone."""
    return str(uuid.uuid5(SLOT_NAMESPACE, key))


class Births:
    """The requests of one insert: their ids in turn, and the first rows of those that are new."""

    def __init__(
        self,
        state: QueueState,
        now: datetime,
        *,
        source: str,
        key_lifetime: timedelta,
        history_days: int | None,
        look_up: Callable[[str], IBRequest],
    ) -> None:
        """``look_up`` reads the state of a request that has ended long ago."""
        self.born: dict[str, IBRequest] = {}
        self._state = state
        self._now = now
        self._source = source
        self._lifetime = key_lifetime
        self._history_days = history_days
        self._look_up = look_up

    def add(self, new: NewRequest) -> str:
        """The id that a request has or gets; ``born`` then has its first row, where nobody holds its key.

        Raises:
            RequestError: its slot is older than what the queue keeps.
        """
        request_id, is_new = self._identity(new)
        if is_new and request_id not in self.born:
            self.born[request_id] = self._first_row(request_id, new)
        return request_id

    def _first_row(self, request_id: str, new: NewRequest) -> IBRequest:
        return IBRequest(
            request_id=request_id,
            revision=0,
            request_type=new.request_type,
            symbol=new.symbol,
            priority=int(new.priority or Priority.NORMAL),
            status=RequestStatus.PENDING,
            parameters_json=new.parameters_json(),
            result_table=new.result_table or "",
            created_at=self._now,
            updated_at=self._now,
            date=self._now.date(),
            not_before=new.not_before,
            deadline=new.deadline,
            source=self._source,
            idempotency_key=new.idempotency_key,
        )

    def _identity(self, new: NewRequest) -> tuple[str, bool]:
        """The id of a request and whether it is to be born."""
        key = new.idempotency_key
        if key is None:
            return str(uuid.uuid4()), True
        now, state = self._now, self._state
        if new.slot is not None:
            if self._history_days is not None and new.slot < now - timedelta(days=self._history_days):
                raise RequestError(
                    f"slot {new.slot} is older than the queue's {self._history_days} days: it cannot be kept"
                )
            return slot_id(key), not state.knows(slot_id(key))
        tail = state.tail(key, now)
        if tail is None:
            first = str(uuid.uuid5(KEY_NAMESPACE, f"{key}\n{now.date().isoformat()}"))
            return first, first in self.born or not state.knows(first)
        if tail.holds(now, self._lifetime):
            return tail.request_id, False
        return self._next_generation(key, tail.request_id)

    def _next_generation(self, key: str, predecessor: str) -> tuple[str, bool]:
        candidate = str(uuid.uuid5(KEY_NAMESPACE, f"{key}\n{predecessor}"))
        while self._state.knows(candidate):
            existing = self._look_up(candidate)
            settled_ago = self._now - existing.updated_at
            if existing.status.is_open or (existing.status is RequestStatus.SUCCESS and settled_ago < self._lifetime):
                return candidate, False
            candidate = str(uuid.uuid5(KEY_NAMESPACE, f"{key}\n{candidate}"))
        return candidate, True
