"""The queue folded in memory: what is open, in which order it is due, what is finished, and which keys hold.

Pure bookkeeping: rows go in, choices come out; nothing here reads or writes. Open requests are kept whole; of finished
ones only their ids, so that a duplicate of a finished request stays finished, and for a while their keys.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from v6.data.finished_ids import FinishedIds
from v6.data.ib_request import IBRequest, Priority, RequestStatus
from v6.data.recent_claims import Rate, RecentClaims, is_claim

_Ready = tuple[datetime, str, int]  # created_at, request_id, revision
KEY_MEMORY = timedelta(days=2)  # how long after its end the last request of a key is remembered
STALE_ENTRIES = 10_000  # so many entries of the heaps may be of requests that are pending no more
FORGET_AT = 10_000  # keys more than at the last look make another look at what can be forgotten worth it


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimLimits:
    """How much may be claimed: in total, of priority 2 and 3, and of each type (absent: no limit; skipped: none)."""

    limit: int
    normal_limit: int | None = None
    type_limits: Mapping[str, int] | None = None
    skip_types: Collection[str] = ()
    crash_limit: int | None = None  # a request with so many crashes runs alone
    running: int = 0  # in flight already
    aging: timedelta | None = None  # background that is so old is served as normal

    def is_suspect(self, request: IBRequest) -> bool:
        """Whether a request may have killed its worker so often that it must run alone."""
        return self.crash_limit is not None and request.crashes >= self.crash_limit

    def rank(self, request: IBRequest, now: datetime) -> tuple[int, datetime, str]:
        """The order of service: by priority, then age. Old background work counts as normal, never as immediate."""
        is_old = self.aging is not None and now - request.created_at >= self.aging
        priority = Priority.NORMAL if is_old and request.priority > Priority.NORMAL else request.priority
        return (priority, request.created_at, request.request_id)

    def of_type(self, request_type: str) -> int:
        """How many of one type."""
        if request_type in self.skip_types:
            return 0
        return (self.type_limits or {}).get(request_type, self.limit)


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyTail:
    """The request of a key that changed last."""

    request_id: str
    status: RequestStatus
    updated_at: datetime

    def holds(self, now: datetime, lifetime: timedelta) -> bool:
        """True while another insert of the key must give this request."""
        if self.status.is_open:
            return True
        return self.status is RequestStatus.SUCCESS and now - self.updated_at < lifetime


class QueueState:
    """The state of every request, as far as choosing the next ones needs it."""

    def __init__(self, key_memory: timedelta = KEY_MEMORY, rates: Mapping[str, Rate] | None = None) -> None:
        """``key_memory`` must exceed the time that a key holds after its request's end; ``rates`` limit claims."""
        self.claims = RecentClaims(rates)
        self.open: dict[str, IBRequest] = {}
        self.finished = FinishedIds()
        self.key_memory = key_memory
        self._keys: dict[str, KeyTail] = {}
        self._forget_at = FORGET_AT
        self.cancelling: set[str] = set()  # claimed requests that a person wants cancelled
        self.counts: Counter[RequestStatus] = Counter()
        self._ready: dict[tuple[str, int], list[_Ready]] = {}  # by type and priority, the oldest first
        self._delayed: list[tuple[datetime, str, int]] = []
        self._deadlines: list[tuple[datetime, str, int]] = []
        self._alive_by_key: dict[str, set[str]] = {}
        self._entries = 0  # pushed since the heaps were last gone through

    def knows(self, request_id: str) -> bool:
        """True when a request of that id exists."""
        return request_id in self.open or request_id in self.finished

    def tail(self, key: str | None, now: datetime) -> KeyTail | None:
        """The request of a key that changed last; None where there is none, or it ended too long ago to matter."""
        found = self._keys.get(key or "")
        return None if found is None or self._is_forgotten(found, now) else found

    def _is_forgotten(self, tail: KeyTail, now: datetime) -> bool:
        return not tail.status.is_open and now - tail.updated_at > self.key_memory

    def load_finished(self, request_ids: pl.Series, counts: Mapping[RequestStatus, int]) -> None:
        """Take in finished requests of a cold start by id only."""
        self.finished.extend(request_ids)
        self.counts.update(counts)

    def fold(self, row: IBRequest) -> None:
        """Take in one row. Rows of one request may come in any order; equal first rows fold into the smallest."""
        known = self.open.get(row.request_id)
        if known is None:
            if row.request_id in self.finished and not self._reopens(row):
                return
        elif not _supersedes(row, known):
            return
        self._replace(known, row)

    def _reopens(self, row: IBRequest) -> bool:
        if row.revision == 0:
            return False
        self.finished.discard(row.request_id)
        self.counts[RequestStatus.FAILED] -= 1  # the one final state that can be left
        return True

    def _replace(self, known: IBRequest | None, row: IBRequest) -> None:
        if known is not None:
            self.counts[known.status] -= 1
        self.counts[row.status] += 1
        if is_claim(row.status, known.status if known is not None else None):
            self.claims.note(row.request_type, row.updated_at)
        self._note_key(row)
        self.cancelling.discard(row.request_id)
        if not row.status.is_open:
            self.open.pop(row.request_id, None)
            self.finished.add(row.request_id)
            return
        self.open[row.request_id] = row
        if row.status is RequestStatus.PROCESSING and row.cancel_reason is not None:
            self.cancelling.add(row.request_id)
        if row.status is RequestStatus.PENDING:
            self._enqueue(row)

    def _note_key(self, row: IBRequest) -> None:
        key = row.idempotency_key
        if key is None:
            return
        self.note_tail(key, KeyTail(request_id=row.request_id, status=row.status, updated_at=row.updated_at))
        alive = self._alive_by_key.setdefault(key, set())
        if row.status.is_open:
            alive.add(row.request_id)
            return
        alive.discard(row.request_id)
        if not alive:
            del self._alive_by_key[key]

    def note_tail(self, key: str, tail: KeyTail) -> None:
        """Remember the request of a key that changed last; now and then, forget those that ended long ago."""
        self._keys[key] = tail
        if len(self._keys) < self._forget_at:
            return
        self._keys = {k: t for k, t in self._keys.items() if not self._is_forgotten(t, tail.updated_at)}
        self._forget_at = len(self._keys) + max(FORGET_AT, len(self._keys) // 2)

    def _enqueue(self, row: IBRequest) -> None:
        self._entries += 1
        if self._entries > STALE_ENTRIES + 2 * len(self.open):
            self._drop_stale_entries()
        if row.deadline is not None:
            heapq.heappush(self._deadlines, (row.deadline, row.request_id, row.revision))
        if row.not_before is not None:
            heapq.heappush(self._delayed, (row.not_before, row.request_id, row.revision))
        else:
            self._make_ready(row)

    def _drop_stale_entries(self) -> None:
        """Whoever claims takes stale entries off the tops as it goes; who only inserts and reads never would."""
        self._entries = 0
        for heap in (self._delayed, self._deadlines, *self._ready.values()):
            heap[:] = [entry for entry in heap if self._pending(*entry[1:]) is not None]
            heapq.heapify(heap)

    def _make_ready(self, row: IBRequest) -> None:
        entry = (row.created_at, row.request_id, row.revision)
        heapq.heappush(self._ready.setdefault((row.request_type, row.priority), []), entry)

    def _pending(self, request_id: str, revision: int) -> IBRequest | None:
        row = self.open.get(request_id)
        if row is None or row.revision != revision or row.status is not RequestStatus.PENDING:
            return None
        return row

    def expired(self, now: datetime) -> list[IBRequest]:
        """Pending requests whose deadline has passed."""
        due: dict[str, IBRequest] = {}
        while self._deadlines and self._deadlines[0][0] <= now:
            entry = heapq.heappop(self._deadlines)
            row = self._pending(*entry[1:])
            if row is not None:
                due[row.request_id] = row
        for row in due.values():  # they leave the heap for good only when their FAILED row has been folded
            heapq.heappush(self._deadlines, (row.deadline or now, row.request_id, row.revision))
        return list(due.values())

    def duplicates_of(self, row: IBRequest) -> list[IBRequest]:
        """Other open requests of the same key that came first or run already."""
        rivals = self._alive_by_key.get(row.idempotency_key or "", set()) - {row.request_id}
        found = [self.open[request_id] for request_id in rivals]
        return [r for r in found if r.status is RequestStatus.PROCESSING or _age(r) < _age(row)]

    def due(self, limits: ClaimLimits, now: datetime) -> list[IBRequest]:
        """The pending requests to run next, by priority, then age, within the limits. Changes no state.

        One that must run alone waits until nothing runs, and until then keeps back what comes after it.
        """
        self._release_delayed(now)
        chosen: list[IBRequest] = []
        taken: dict[str, IBRequest] = {}
        room = {name: self._room(name, limits, now) for name, _ in self._ready}
        normal = limits.limit if limits.normal_limit is None else limits.normal_limit
        while len(chosen) < limits.limit:
            row = self._best(limits, room, normal, now)
            if row is None or (limits.is_suspect(row) and (chosen or limits.running)):
                break
            heapq.heappop(self._ready[row.request_type, row.priority])
            if row.request_id in taken:  # equal first rows of one request may each have brought an entry
                continue
            taken[row.request_id] = row
            if row.deadline is not None and row.deadline <= now:  # it takes no place: this turn ends it
                continue
            room[row.request_type] -= 1
            normal -= row.priority > 1
            chosen.append(row)
            if limits.is_suspect(row):
                break
        for row in taken.values():  # claimed ones are dropped when their PROCESSING row has been folded
            self._make_ready(row)
        return chosen

    def _room(self, request_type: str, limits: ClaimLimits, now: datetime) -> int:
        allowed, begun = limits.of_type(request_type), self.claims.room(request_type, now)
        return allowed if begun is None else min(allowed, begun)

    def _best(self, limits: ClaimLimits, room: Mapping[str, int], normal: int, now: datetime) -> IBRequest | None:
        heads = []
        for (name, priority), heap in self._ready.items():
            while heap and self._pending(*heap[0][1:]) is None:
                heapq.heappop(heap)
            if heap and room[name] > 0 and (normal > 0 or priority <= 1):
                heads.append(self.open[heap[0][1]])
        return min(heads, default=None, key=lambda row: limits.rank(row, now))

    def _release_delayed(self, now: datetime) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            entry = heapq.heappop(self._delayed)
            row = self._pending(*entry[1:])
            if row is not None:
                self._make_ready(row)


def _supersedes(row: IBRequest, known: IBRequest) -> bool:
    if row.revision != known.revision:
        return row.revision > known.revision
    return row.revision == 0 and _birth(row) < _birth(known)


def _birth(row: IBRequest) -> tuple[datetime, str, str]:
    return (row.created_at, row.source, row.parameters_json)


def _age(row: IBRequest) -> tuple[datetime, str]:
    return (row.created_at, row.request_id)
