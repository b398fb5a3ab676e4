"""Where a worker works: its name, queue, lake and session. It makes the worker's parts that need several of these."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from v6.clock import Clock
from v6.core.claim_gate import ClaimGate, Places
from v6.core.executor import Connection, Executor, RequestTypes
from v6.core.in_flight import InFlight
from v6.core.pauses import Pauses
from v6.core.result_writer import ResultWriter
from v6.core.settling import Settling
from v6.core.table_health import TableHealth
from v6.core.take_over import TakeOver
from v6.core.worker_reporter import WorkerReporter
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.lake import Lake
from v6.data.table import Table
from v6.data.worker_state import WorkerState
from v6.errors import SettingsError
from v6.events import EventBus
from v6.request_types.base import Derivations
from v6.request_types.policy import Policies


@dataclass(frozen=True, kw_only=True, slots=True)
class Workplace:
    """``tables`` are all result tables that the worker can write; ``folder`` holds its lock and what lies beside it."""

    worker_name: str
    queue: IBRequestQueue
    connection: Connection
    catalogue: RequestTypes
    lake: Lake
    clock: Clock
    events: EventBus
    tables: Mapping[str, type[Table]]
    folder: Path
    policies: Policies

    def __post_init__(self) -> None:
        """Raises SettingsError when the queue belongs to another worker."""
        owner = self.queue.worker_id
        if owner != self.worker_name:
            raise SettingsError(f"the queue is opened for worker {owner!r}, not for {self.worker_name!r}")

    def result_writer(self) -> ResultWriter:
        """What appends results under the worker's name."""
        return ResultWriter(
            lake=self.lake, clock=self.clock, events=self.events, app_id=self.worker_name, tables=self.tables
        )

    def table_health(self, mended: Callable[[str], Awaitable[None]]) -> TableHealth:
        """What knows which tables are damaged; ``mended`` is told of one that is whole again."""
        names = self.catalogue.names()
        return TableHealth(
            lake=self.lake,
            clock=self.clock,
            events=self.events,
            tables=self.tables,
            result_tables={name: self.catalogue.get(name).result_table for name in names},
            mended=mended,
        )

    def executor(self, *, writer: ResultWriter, derivations: Derivations, health: TableHealth) -> Executor:
        """What runs one request from its parameters to its rows."""
        return Executor(
            queue=self.queue,
            connection=self.connection,
            catalogue=self.catalogue,
            writer=writer,
            tables=self.tables,
            clock=self.clock,
            derivations=derivations,
            health=health,
            policies=self.policies,
        )

    def claim_gate(self, *, pauses: Pauses, health: TableHealth, in_flight: InFlight, places: Places) -> ClaimGate:
        """What says which requests may begin."""
        return ClaimGate(
            connection=self.connection,
            catalogue=self.catalogue,
            policies=self.policies,
            pauses=pauses,
            health=health,
            in_flight=in_flight,
            places=places,
            events=self.events,
        )

    def settling(self, in_flight: InFlight, executor: Executor) -> Settling:
        """What writes into the queue how requests ended."""
        return Settling(queue=self.queue, in_flight=in_flight, executor=executor, clock=self.clock, events=self.events)

    def reporter(self, state: Callable[[], Awaitable[WorkerState]], lease_seconds: float) -> WorkerReporter:
        """What writes the worker's state down, and so renews its lease."""
        return WorkerReporter(
            lake=self.lake,
            clock=self.clock,
            events=self.events,
            state=state,
            worker_name=self.worker_name,
            lease_seconds=lease_seconds,
        )

    def take_over(self, *, health: TableHealth, lease_seconds: float, crash_limit: int) -> TakeOver:
        """What settles the claims that dead workers left, of this name and of others."""
        return TakeOver(
            queue=self.queue,
            lake=self.lake,
            clock=self.clock,
            events=self.events,
            catalogue=self.catalogue,
            tables=self.tables,
            lock_folder=self.folder,
            lease_seconds=lease_seconds,
            crash_limit=crash_limit,
            is_damaged=health.is_damaged,
        )
