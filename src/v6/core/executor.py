"""One request as one pipeline: parameters → plan → parts → rows in the table. How it ended is a value."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from v6.clock import Clock
from v6.core.fetch_ahead import fetched_ahead
from v6.core.landed import landed_parts, landed_rows
from v6.core.result_writer import LandingInDoubt, ResultWriter
from v6.core.retry import outcome_of
from v6.core.stored_contracts import StoredContracts
from v6.core.table_health import TableHealth
from v6.data.ib_request import IBRequest, NewRequest
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.outcome import Done, FailedBecause, Outcome
from v6.data.table import Table
from v6.errors import LakeError, LeaseLost, RequestError, TableDamaged
from v6.request_types.base import Derivations, Fetched, Gateway, Job, Parameters, Part, RequestType
from v6.request_types.policy import Policies

Result = TypeVar("Result")


class Connection(Protocol):
    """The session with the gateway, as the worker needs it."""

    @property
    def account(self) -> str:
        """The account of the session."""
        ...

    @property
    def state(self) -> str:
        """The state of the session: ready, connecting, degraded, …"""
        ...

    async def start(self) -> None:
        """Connect. Raises GatewayUnavailable."""
        ...

    async def run(self) -> None:
        """Keep the session connected, until cancelled."""
        ...

    async def stop(self) -> None:
        """Disconnect in good order."""
        ...

    def gateway(self, priority: int, request_id: str) -> Gateway:
        """One request's view of the session."""
        ...

    def admits(self, pacing: str, /) -> str | None:
        """Why work of a pacing class cannot run now; None when it can."""
        ...

    def usage(self) -> Mapping[str, Any]:
        """The limits in use."""
        ...


class RequestTypes(Protocol):
    """The catalogue, as the worker needs it."""

    def names(self) -> Sequence[str]:
        """All types."""
        ...

    def get(self, name: str, /) -> RequestType[Any]:
        """One type. Raises RequestError."""
        ...

    def check(self, new: NewRequest, /) -> NewRequest:
        """Fill defaults. Raises RequestError that names the field."""
        ...

    def parse(self, request_type: str, parameters: Mapping[str, Any], /) -> Parameters:
        """A type's validated parameters. Raises RequestError that names the field."""
        ...


class Executor:
    """Runs claimed requests, each in a task of its own."""

    def __init__(
        self,
        *,
        queue: IBRequestQueue,
        connection: Connection,
        catalogue: RequestTypes,
        writer: ResultWriter,
        tables: Mapping[str, type[Table]],
        clock: Clock,
        derivations: Derivations,
        health: TableHealth,
        policies: Policies,
    ) -> None:
        self._queue = queue
        self._connection = connection
        self._catalogue = catalogue
        self._writer = writer
        self._tables = tables
        self._clock = clock
        self._contracts = StoredContracts(queue.lake)
        self._derivations = derivations
        self._health = health
        self._policies = policies

    async def run(self, request: IBRequest) -> Outcome:
        """Run one attempt to its end.

        Raises:
            LandingInDoubt: it is not known whether the rows landed; the request must stay as it is.
            LeaseLost: another took this worker's place.
        """
        try:
            request_type = self._catalogue.get(request.request_type)
            job = self._job(request, request_type)
        except RequestError as error:
            return FailedBecause(message=str(error), category=error.category)
        try:
            return await self._attempt(request, request_type, job)
        except (LandingInDoubt, LeaseLost):
            raise
        except Exception as error:  # noqa: BLE001 - the request boundary: whatever a type raises ends that request only
            return self._outcome_of(error, request, request_type)

    def _outcome_of(self, error: Exception, request: IBRequest, request_type: RequestType[Any]) -> Outcome:
        policy = self._policies.of(request_type)
        if isinstance(error, TableDamaged):
            self._health.note(request.request_type, error)
        return outcome_of(
            error,
            attempt=request.attempt + 1,
            attempts=policy.attempts,
            backoff=policy.backoff,
            now=self._clock.now(),
        )

    def _job(self, request: IBRequest, request_type: RequestType[Any]) -> Job[Any]:
        """The validated work; the row may have been written past the catalogue's check, so it is checked again."""
        checked = self._catalogue.check(
            NewRequest(
                request_type=request.request_type,
                symbol=request.symbol,
                priority=request.priority,
                parameters=request.parameters,
                result_table=request.result_table or None,
            ).checked()
        )
        return Job(
            request_id=request.request_id,
            symbol=checked.symbol,
            priority=request.priority,
            parameters=self._catalogue.parse(request.request_type, checked.parameters),
            created_at=request.created_at,
            clock=self._clock,
            contracts=self._contracts,
            derivations=self._derivations,
        )

    async def _attempt(self, request: IBRequest, request_type: RequestType[Any], job: Job[Any]) -> Outcome:
        began = self._clock.monotonic()
        gateway = self._connection.gateway(request.priority, request.request_id)
        parts, landed, rows = await self._parts(request, request_type, job, gateway)
        version: int | None = None
        summary: dict[str, Any] = {}

        async def fetch(part: Part) -> Fetched:
            return await self._within_deadline(request_type, job, request_type.fetch(job, part, gateway))

        async with fetched_ahead(fetch, parts[landed:]) as all_fetched:
            async for _, fetched in all_fetched:
                _stop_if_cancelled()
                stored = await self._writer.land(
                    request.request_id, request_type.result_table, fetched, urgent=request.priority == 1
                )
                rows, version = rows + stored.rows, version if stored.version is None else stored.version
                summary = _merged(summary, fetched.summary)
        seconds = round(self._clock.monotonic() - began, 3)
        return Done(result={**summary, "parts": len(parts), "rows": rows, "version": version, "seconds": seconds})

    async def _within_deadline(self, request_type: RequestType[Any], job: Job[Any], work: Awaitable[Result]) -> Result:
        seconds = self._policies.of(request_type).timeout_seconds
        try:
            async with self._clock.timeout(seconds):
                return await work
        except TimeoutError as error:
            raise TimeoutError(f"{request_type.name} {job.symbol} took longer than {seconds:g} s") from error

    async def _parts(
        self, request: IBRequest, request_type: RequestType[Any], job: Job[Any], gateway: Gateway
    ) -> tuple[Sequence[Part], int, int]:
        """The parts of the work, and how many parts and rows of it landed in an earlier run."""
        recorded = request.result_data.get("parts")
        if recorded:
            spec = self._tables[request_type.result_table].spec
            rows = await self._writer.call(landed_rows, self._queue.lake, spec, [request.request_id])
            return recorded, landed_parts(rows), rows.height
        parts = await self._within_deadline(request_type, job, request_type.plan(job, gateway))
        if len(parts) > 1:
            await self._queue.record_plan(request.request_id, parts)
        return parts, 0, 0

    async def rows_of(self, request: IBRequest) -> int:
        """How many rows of a request are stored; none where its table cannot be read now."""
        spec = self._tables[self._catalogue.get(request.request_type).result_table].spec
        try:
            rows = await self._writer.call(landed_rows, self._queue.lake, spec, [request.request_id])
        except LakeError:
            return 0
        return int(rows.height)


def _stop_if_cancelled() -> None:
    """A cancellation that came while rows were being written takes effect before the next part."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _merged(summary: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Two parts' summaries as one: numbers add up, of anything else the later stays."""
    merged = dict(summary)
    for name, value in other.items():
        known = merged.get(name)
        adds = _is_number(known) and _is_number(value)
        merged[name] = known + value if adds else value
    return merged


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
