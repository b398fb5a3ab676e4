"""The queue: one append-only Delta table, ``ib_requests``.

``IBRequestQueue`` is what scripts, the scheduler and the worker use. Its calls are coroutines; the blocking work runs
on one thread of its own, which owns the one writer object.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache, partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from v6.clock import Clock
from v6.data.births import Births, slot_id
from v6.data.ib_request import (
    HISTORY_DAYS,
    OPEN_STATES,
    REQUESTS,
    IBRequest,
    NewRequest,
    Priority,
    RequestStatus,
)
from v6.data.lake import Lake
from v6.data.outcome import Outcome
from v6.data.queue_log import current, requests_of
from v6.data.queue_state import KEY_MEMORY, ClaimLimits, QueueState
from v6.data.queue_writer import QueueWriter
from v6.data.recent_claims import Rate
from v6.data.transitions import as_json, cancelled, claimed, duplicate, expired, is_claim_of, replayed, settled
from v6.errors import RequestConflict, SettingsError, UnknownRequest

__all__ = ["IBRequest", "IBRequestQueue", "NewRequest", "Priority", "QueueStats", "RequestStatus", "Turn"]

WAIT_POLL_SECONDS = 0.1

InsertCheck = Callable[[NewRequest], NewRequest]
Result = TypeVar("Result")


class _PlaceTaken(Exception):
    """The place is no longer held as it was seen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """What one commit did: which were settled, which were refused (their state now), and what was claimed."""

    settled: frozenset[str] = frozenset()
    refused: Mapping[str, IBRequest | None] = field(default_factory=dict)
    claimed: Sequence[IBRequest] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueStats:
    """The queue in numbers. Ages in seconds; ``due`` are pending requests that may run now."""

    counts: Mapping[str, int]
    due: int
    delayed: int
    in_flight: int
    oldest_due_seconds: float | None


class IBRequestQueue:
    """Insert, claim, settle, cancel, replay and read requests."""

    def __init__(
        self,
        lake: Lake | str | Path,
        *,
        clock: Clock | None = None,
        source: str = "script",
        worker_id: str = "",
        key_lifetime_seconds: float = 600.0,
        history_days: int | None = HISTORY_DAYS,
        check: InsertCheck | None = None,
        rates: Mapping[str, Rate] | None = None,
    ) -> None:
        """``check`` fills a type's defaults and refuses bad requests; without one the installed catalogue does.
        ``history_days`` is how long finished requests are kept, None for ever: older slots are refused. ``rates`` say
        how many requests of a type may begin in a period, counting the claims of every worker, also earlier ones."""
        self.lake = lake if isinstance(lake, Lake) else Lake(lake)
        self.worker_id = worker_id
        self._clock = clock or Clock()
        self._source = source
        self._key_lifetime = timedelta(seconds=key_lifetime_seconds)
        self.history_days = history_days
        self._check = check
        self._writer = QueueWriter(self.lake, self._clock, self._key_lifetime + KEY_MEMORY, rates)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ib-requests")

    # Inserting

    async def insert(
        self,
        *,
        request_type: str,
        symbol: str,
        priority: int | None = None,
        parameters: Mapping[str, Any] | None = None,
        result_table: str | None = None,
        idempotency_key: str | None = None,
        slot: datetime | None = None,
        not_before: datetime | None = None,
        deadline: datetime | None = None,
    ) -> str:
        """Insert one request and return its id; with a key that holds, the id of the request that holds it.

        It is on the disk when this returns.

        Raises:
            RequestError: the request is not one the catalogue knows; the text names the field.
            LakeError: the table cannot be written; nothing was inserted.
        """
        new = NewRequest(
            request_type=request_type,
            symbol=symbol,
            priority=priority,
            parameters={} if parameters is None else parameters,
            result_table=result_table,
            idempotency_key=idempotency_key,
            slot=slot,
            not_before=not_before,
            deadline=deadline,
        )
        return (await self.insert_many([new]))[0]

    async def insert_many(self, requests: Iterable[NewRequest]) -> list[str]:
        """Insert any number of requests in one commit, all or none; their ids in order."""
        return await self._run(self._insert_many, list(requests))

    def _insert_many(self, requests: list[NewRequest]) -> list[str]:
        check = self._check or _installed_check()
        checked = [check(new.checked()) for new in requests]
        if any(new.idempotency_key is not None for new in checked):
            self._writer.refresh()
        births = Births(
            self._writer.state,
            self._clock.now(),
            source=self._source,
            key_lifetime=self._key_lifetime,
            history_days=self.history_days,
            look_up=self._get,
        )
        ids = [births.add(new) for new in checked]
        if births.born:
            self._writer.birth(list(births.born.values()))
        elif ids:
            self._writer.flush()  # the requests that hold the keys may be another process's, in its very last commit
        return ids

    async def slot_ids(self, keys: Collection[str]) -> dict[str, str]:
        """The request ids of those slots that have a request, by idempotency key."""
        return await self._run(self._slot_ids, keys)

    def _slot_ids(self, keys: Collection[str]) -> dict[str, str]:
        self._writer.refresh()
        ids = {key: slot_id(key) for key in keys}
        return {key: request_id for key, request_id in ids.items() if self._writer.state.knows(request_id)}

    async def open_requests(self) -> dict[str, str | None]:
        """Every request that has not ended: its idempotency key by its id."""
        return await self._run(self._open_requests)

    def _open_requests(self) -> dict[str, str | None]:
        self._writer.refresh()
        return {row.request_id: row.idempotency_key for row in self._writer.state.open.values()}

    # Working

    async def claim(
        self,
        limit: int = 50,
        *,
        normal_limit: int | None = None,
        type_limits: Mapping[str, int] | None = None,
        skip_types: Collection[str] = (),
    ) -> list[IBRequest]:
        """Take up to ``limit`` due requests by priority, then age: they are PROCESSING and nobody else's.

        ``normal_limit`` bounds those of priority 2 and 3, ``type_limits`` those of each type.
        """
        turn = await self.settle_and_claim(
            {}, limit, normal_limit=normal_limit, type_limits=type_limits, skip_types=skip_types
        )
        return list(turn.claimed)

    async def settle(self, outcomes: Mapping[str, Outcome]) -> Turn:
        """Record how claimed requests ended, in one commit."""
        return await self.settle_and_claim(outcomes, 0)

    async def settle_and_claim(
        self,
        outcomes: Mapping[str, Outcome],
        limit: int,
        *,
        normal_limit: int | None = None,
        type_limits: Mapping[str, int] | None = None,
        skip_types: Collection[str] = (),
    ) -> Turn:
        """Record what finished and claim what comes next, in one commit."""
        limits = ClaimLimits(
            limit=limit, normal_limit=normal_limit, type_limits=type_limits, skip_types=frozenset(skip_types)
        )
        return await self.turn(outcomes, limits)

    async def turn(self, outcomes: Mapping[str, Outcome], limits: ClaimLimits) -> Turn:
        """Record what finished and claim what comes next within the limits, in one commit.

        Raises:
            LeaseLost: another took this worker's place; nothing was written.
        """
        return await self._run(self._turn, dict(outcomes), limits)

    def _turn(self, outcomes: Mapping[str, Outcome], limits: ClaimLimits) -> Turn:
        turn = Turn()

        def decide(state: QueueState) -> Sequence[IBRequest]:
            nonlocal turn
            now = self._clock.now()
            ended, refused = self._settlements(state, outcomes, now, self.worker_id)
            late = [expired(request, now, self.worker_id) for request in state.expired(now)]
            taken, duplicates = self._claims(state, limits, now)
            turn = Turn(settled=frozenset(r.request_id for r in ended), refused=refused, claimed=taken)
            return [*ended, *late, *taken, *duplicates]

        self._writer.transact(decide)
        return turn

    def _settlements(
        self, state: QueueState, outcomes: Mapping[str, Outcome], now: datetime, worker_id: str
    ) -> tuple[list[IBRequest], dict[str, IBRequest | None]]:
        ended, refused = [], {}
        for request_id, outcome in outcomes.items():
            request = state.open.get(request_id)
            if request is None or not is_claim_of(request, worker_id):
                refused[request_id] = request
            else:
                ended.append(settled(request, outcome, now))
        return ended, refused

    def _claims(self, state: QueueState, limits: ClaimLimits, now: datetime) -> tuple[list[IBRequest], list[IBRequest]]:
        taken, duplicates = [], []
        for request in state.due(limits, now):
            rivals = state.duplicates_of(request)
            if rivals:
                duplicates.append(duplicate(request, now, rivals[0]))
            else:
                taken.append(claimed(request, now, self.worker_id))
        return taken, duplicates

    async def record_plan(self, request_id: str, parts: Sequence[Mapping[str, Any]]) -> None:
        """Write down the numbered parts of a claimed request before the first lands; a restart uses that list.

        Raises:
            RequestConflict: the request is no longer this worker's.
        """
        await self._run(self._record_plan, request_id, parts)

    def _record_plan(self, request_id: str, parts: Sequence[Mapping[str, Any]]) -> None:
        def decide(state: QueueState) -> Sequence[IBRequest]:
            request = state.open.get(request_id)
            if request is None or not is_claim_of(request, self.worker_id):
                raise RequestConflict(f"request {request_id} is no longer claimed by worker {self.worker_id}")
            text = as_json({**request.result_data, "parts": list(parts)})
            return [request.next(RequestStatus.PROCESSING, now=self._clock.now(), result_data_json=text)]

        self._writer.transact(decide)

    async def unfinished(self, worker_id: str | None = None) -> list[IBRequest]:
        """What a worker (this one by default) has claimed and not settled."""
        return await self._run(self._unfinished, self.worker_id if worker_id is None else worker_id)

    def _unfinished(self, worker_id: str) -> list[IBRequest]:
        self._writer.refresh()
        return [r for r in self._writer.state.open.values() if is_claim_of(r, worker_id)]

    # Places: who may speak for a worker's claims

    async def take_place(self, *, newer_than: int = 0) -> int:
        """Take this worker's own place in a new epoch: from now on whoever held it in an earlier one can write nothing,
        and neither can this queue once another takes the place. ``newer_than`` is an epoch known from elsewhere."""
        return await self._run(self._take_own_place, newer_than)

    def _take_own_place(self, newer_than: int) -> int:
        epoch = None
        self._writer.let_go()
        while epoch is None:
            self._writer.refresh()
            seen = self._writer.place_of(self.worker_id)
            epoch = self._take_place(self.worker_id, seen, newer_than)
        self._writer.hold(self.worker_id, epoch)
        return epoch

    async def take_over_place(self, worker_id: str, *, seen: int, newer_than: int = 0) -> int | None:
        """Take a dead worker's place, held in epoch ``seen``; None when another was first, or it lives again.

        From the commit on the dead worker can neither claim nor settle, should it wake up.
        """
        return await self._run(self._take_place, worker_id, seen, newer_than)

    def _take_place(self, worker_id: str, seen: int, newer_than: int) -> int | None:
        epoch = max(seen, newer_than) + 1

        def decide(_: QueueState) -> Sequence[IBRequest]:
            if self._writer.place_of(worker_id) != seen:
                raise _PlaceTaken
            return []

        try:
            self._writer.transact(decide, places={worker_id: epoch})
        except _PlaceTaken:
            return None
        return epoch

    async def claimants(self, *, skip_types: Collection[str] = ()) -> dict[str, int]:
        """The other workers that have claims, and the epoch in which each holds its place (0: it never took one)."""
        return await self._run(self._claimants, skip_types)

    def _claimants(self, skip_types: Collection[str]) -> dict[str, int]:
        self._writer.refresh()
        claims = [r for r in self._writer.state.open.values() if r.status is RequestStatus.PROCESSING]
        wanted = [r for r in claims if r.request_type not in skip_types]
        names = {r.worker_id for r in wanted if r.worker_id and r.worker_id != self.worker_id}
        return {name: self._writer.place_of(name) for name in names}

    async def settle_left(self, worker_id: str, epoch: int, outcomes: Mapping[str, Outcome]) -> Turn | None:
        """Record what became of a dead worker's claims, while its place is held in ``epoch``; None when it no more is:
        another speaks for them now, and nothing was written."""
        return await self._run(self._settle_left, worker_id, epoch, outcomes)

    def _settle_left(self, worker_id: str, epoch: int, outcomes: Mapping[str, Outcome]) -> Turn | None:
        turn = Turn()

        def decide(state: QueueState) -> Sequence[IBRequest]:
            nonlocal turn
            if self._writer.place_of(worker_id) != epoch:
                raise _PlaceTaken
            ended, refused = self._settlements(state, outcomes, self._clock.now(), worker_id)
            turn = Turn(settled=frozenset(r.request_id for r in ended), refused=refused)
            return ended

        try:
            self._writer.transact(decide)
        except _PlaceTaken:
            return None
        return turn

    async def refresh(self) -> bool:
        """Look for what is new in the table; True when anything is."""
        return await self._run(self._writer.refresh)

    async def has_work(self, limits: ClaimLimits) -> bool:
        """Look at the table and say whether a claim within the limits would take anything, or anything expired.

        Raises:
            LeaseLost: another took this worker's place.
        """
        return await self._run(self._has_work, limits)

    def _has_work(self, limits: ClaimLimits) -> bool:
        self._writer.refresh()
        self._writer.check_place()
        now = self._clock.now()
        return bool(self._writer.state.due(replace(limits, limit=min(1, limits.limit)), now)) or bool(
            self._writer.state.expired(now)
        )

    # People's changes

    async def cancel(self, request_id: str, *, reason: str = "cancelled by hand") -> IBRequest:
        """Cancel a request. A pending one is CANCELLED at once. A running one stays PROCESSING and its worker is asked:
        it ends as CANCELLED, and nothing of it lands after, or as SUCCESS when all its rows had landed.

        Raises:
            UnknownRequest: there is none of that id.
            RequestConflict: it has ended, or another of its key came first.
        """
        return (await self._run(self._change, [request_id], partial(cancelled, reason=reason), OPEN_STATES))[0]

    async def retry(self, request_id: str) -> IBRequest:
        """Put a failed request back as new. Raises UnknownRequest, or RequestConflict when it is not FAILED."""
        return (await self.retry_many([request_id]))[0]

    async def retry_many(self, request_ids: Collection[str], *, leave_held: bool = False) -> list[IBRequest]:
        """Put failed requests back as new, all in one commit or none. Raises as ``retry`` does; with ``leave_held``
        those that cannot be are left as they are instead, and are not among what is returned."""
        return await self._run(self._change, request_ids, replayed, frozenset({RequestStatus.FAILED}), leave_held)

    def _change(
        self,
        request_ids: Collection[str],
        change: Callable[[IBRequest, datetime], IBRequest],
        allowed: Collection[RequestStatus],
        leave_held: bool = False,
    ) -> list[IBRequest]:
        changed: list[IBRequest] = []

        def decide(state: QueueState) -> Sequence[IBRequest]:
            nonlocal changed
            now = self._clock.now()
            before = list(self._changeables(state, request_ids, allowed, leave_held=leave_held))
            changed = [change(request, now) for request in before]
            return [row for row, old in zip(changed, before, strict=True) if row is not old]

        self._writer.transact(decide)
        return changed

    def _changeables(
        self, state: QueueState, request_ids: Iterable[str], allowed: Collection[RequestStatus], *, leave_held: bool
    ) -> Iterator[IBRequest]:
        for request in self._states(state, list(dict.fromkeys(request_ids))):
            try:
                yield self._changeable(state, request, allowed)
            except RequestConflict:
                if not leave_held:
                    raise

    def _changeable(self, state: QueueState, request: IBRequest, allowed: Collection[RequestStatus]) -> IBRequest:
        if request.status not in allowed:
            wanted = " or ".join(sorted(allowed))
            raise RequestConflict(
                f"request {request.request_id} is {request.status}, not {wanted}: nothing was changed"
            )
        if request.status is not RequestStatus.PROCESSING:
            self._check_key_is_free(state, request)
        return request

    async def cancels_asked(self) -> dict[str, str]:
        """This worker's claims that a person wants cancelled, and why; as of what was last looked at."""
        return await self._run(self._cancels_asked)

    def _cancels_asked(self) -> dict[str, str]:
        state = self._writer.state
        asked = [state.open[request_id] for request_id in state.cancelling]
        return {r.request_id: r.cancel_reason or "" for r in asked if is_claim_of(r, self.worker_id)}

    def _check_key_is_free(self, state: QueueState, request: IBRequest) -> None:
        tail = state.tail(request.idempotency_key, self._clock.now())
        rival = tail is not None and tail.request_id != request.request_id and tail.status.is_open
        if tail is not None and rival:
            raise RequestConflict(
                f"request {request.request_id}: its key {request.idempotency_key} is held by {tail.request_id}"
            )

    # Reading

    @property
    def version(self) -> int:
        """The version of the table that was folded last; -1 before the first look."""
        return self._writer.version

    async def get(self, request_id: str) -> IBRequest:
        """The request's state now. Raises UnknownRequest."""
        return await self._run(self._look_up, request_id)

    def _look_up(self, request_id: str) -> IBRequest:
        self._look()
        return self._states(self._writer.state, [request_id])[0]

    def _states(self, state: QueueState, request_ids: Sequence[str]) -> list[IBRequest]:
        """Requests as they are now, in order; those that have ended are read from the table, all at once."""
        ended = [each for each in request_ids if each not in state.open]
        found = {r.request_id: r for r in self._stored(ended)} if ended else {}
        for each in ended:
            if each not in found:
                raise UnknownRequest(f"no request has the id {each}: `v6 requests list` shows them")
        return [state.open.get(each) or found[each] for each in request_ids]

    def _stored(self, request_ids: Sequence[str]) -> list[IBRequest]:
        rows = self.lake.scan(REQUESTS).filter(pl.col("request_id").is_in(request_ids))
        with self.lake.reading(REQUESTS.name):
            return requests_of(current(rows).collect())

    def _get(self, request_id: str) -> IBRequest:
        return self._states(self._writer.state, [request_id])[0]

    async def wait(self, request_id: str, *, timeout_seconds: float | None = None) -> IBRequest:
        """Wait until a request has ended and return its last state. Raises UnknownRequest, TimeoutError."""
        async with self._clock.timeout(timeout_seconds):
            request = await self.get(request_id)
            while request.status.is_open:
                await self._clock.sleep(WAIT_POLL_SECONDS)
                request = await self.get(request_id)  # whoever else uses this queue may have seen what is new
            return request

    def requests(self, as_of: datetime | None = None) -> pl.LazyFrame:
        """One row a request: its state now, or as it was at a past moment."""
        rows = self.lake.scan(REQUESTS)
        return current(rows if as_of is None else rows.filter(pl.col("updated_at") <= as_of))

    def request_history(self, request_id: str) -> pl.LazyFrame:
        """Every row of one request, oldest first."""
        return self.lake.scan(REQUESTS).filter(pl.col("request_id") == request_id).sort("revision", "created_at")

    async def stats(self) -> QueueStats:
        """Counts by status and the age of what waits."""
        return await self._run(self._stats)

    def _look(self) -> None:
        """Fold what is new. Who only looks makes no table where there is none."""
        if self._writer.has_table or self.lake.exists(REQUESTS.name):
            self._writer.refresh()
        else:
            self.lake.check_no_file()
            self.lake.check_not_lost(REQUESTS.name)

    def _stats(self) -> QueueStats:
        self._look()
        state, now = self._writer.state, self._clock.now()
        pending = [r for r in state.open.values() if r.status is RequestStatus.PENDING]
        due = [r for r in pending if r.not_before is None or r.not_before <= now]
        ages = Counter({str(s): state.counts[s] for s in RequestStatus})
        return QueueStats(
            counts=dict(ages),
            due=len(due),
            delayed=len(pending) - len(due),
            in_flight=state.counts[RequestStatus.PROCESSING],
            oldest_due_seconds=max(((now - r.created_at).total_seconds() for r in due), default=None),
        )

    async def limits_reached(self) -> dict[str, str]:
        """Why no more requests of some types may begin now, as of what was last looked at."""
        return await self._run(self._limits_reached)

    def _limits_reached(self) -> dict[str, str]:
        claims, now = self._writer.state.claims, self._clock.now()
        return {name: rate.reason(name) for name, rate in claims.rates.items() if claims.room(name, now) == 0}

    async def waiting_by_type(self) -> dict[str, int]:
        """Pending requests of each type, delayed ones included."""
        return await self._run(self._waiting_by_type)

    def _waiting_by_type(self) -> dict[str, int]:
        self._writer.refresh()
        rows = self._writer.state.open.values()
        return dict(Counter(r.request_type for r in rows if r.status is RequestStatus.PENDING))

    async def close(self) -> None:
        """Let go of the thread; what was begun is finished."""
        await asyncio.to_thread(self._thread.shutdown)

    async def _run(self, work: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(work, *arguments))


@cache
def _installed_check() -> InsertCheck:
    """The check that the installed catalogue registered, so that nobody inserts past it by leaving it out."""
    for point in entry_points(group="v6.insert_check"):
        check: InsertCheck = point.load()
        return check
    raise SettingsError("v6 is not installed, so nothing says which requests there are: `make setup`, or give `check`")
