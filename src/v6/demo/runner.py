"""Runs the demo: gateway up, requests in, worker through, figures out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from v6.app import App
from v6.clock import Clock
from v6.data.ib_request import IBRequest, NewRequest, RequestStatus
from v6.data.ib_request_queue import IBRequestQueue
from v6.demo.children import Child, GatewayAddress, address_of, running, until_over
from v6.demo.plan import later_requests, planned_requests, urgent_request
from v6.demo.progress import JournalTail, Progress, requests_now, rows_of
from v6.errors import RequestFailed, SettingsError
from v6.settings import Settings

URGENT_AFTER_CONTRACTS = 100  # the chains are well under way then

Show = Callable[[Progress], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoFolder:
    """Where the demo leaves what is not the lake's."""

    path: Path
    journal: Path

    def make(self) -> None:
        """Raises SettingsError when it cannot be made."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or str(error)
            raise SettingsError(f"the folder {self.path} cannot be made ({reason}): choose another --folder") from error

    @property
    def page(self) -> Path:
        """The page with pictures."""
        return self.path / "index.html"


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoResult:
    """What came of it. Seconds are the machine's but the urgent request's, which are the clock's."""

    requests: tuple[IBRequest, ...]
    settings: Settings  # the demo's own: port and clock of its gateway
    seconds: float
    option_rows: int
    contracts_per_second: float
    urgent_seconds: float | None


async def run_demo(settings: Settings, folder: DemoFolder, *, seed: int, urgent: bool, show: Show) -> DemoResult:
    """Run it to the end.

    Raises:
        RequestFailed: a request did not end as SUCCESS; the text names it.
        V6Error: the gateway or the worker could not work; the text is what it said.
    """
    app = App(settings)
    app.lake.check_usable()
    folder.make()
    async with AsyncExitStack() as stack:
        serve = ["gateway", "--json", "--port", "0", "--now", "last-session", "--seed", str(seed)]
        serve += ["--host", "127.0.0.1", "--journal", str(folder.journal)]
        gateway = await stack.enter_async_context(running("gateway", serve, settings, folder.path / "gateway.log"))
        address = await address_of(gateway)
        here = App(_settings_for(settings, address))
        await asyncio.to_thread(_check_account, here, address.account)
        queue = here.queue(source="demo")
        stack.push_async_callback(queue.close)
        run = _Run(here, queue, JournalTail(folder.journal), show)
        await run.insert()
        work = running("worker", ["worker"], here.settings, folder.path / "worker.log")
        worker = await stack.enter_async_context(work)
        await run.watch(worker, gateway, urgent=urgent)
    return run.result()


def _settings_for(settings: Settings, address: GatewayAddress) -> Settings:
    changes = {"gateway_host": address.host, "gateway_port": address.port, "clock": address.clock}
    return settings.model_copy(update=changes)


def _check_account(app: App, account: str) -> None:
    """Refuse a lake that another account fed, before anything is inserted into it."""
    from v6.data.lake_account import LakeAccount

    owner = LakeAccount(app.lake, clock=app.clock)
    if owner.account() is not None:
        owner.check(account)


class _Run:
    """One demo from its insert to its last request."""

    def __init__(self, app: App, queue: IBRequestQueue, journal: JournalTail, show: Show) -> None:
        self._app = app
        self._queue = queue
        self._journal = journal
        self._show = show
        self._clock: Clock = app.clock
        self._since = app.clock.now().date()
        self._later = later_requests(self._since)
        self._ids: list[str] = []
        self._urgent_id: str | None = None
        self._began = app.clock.machine_monotonic()
        self._first_contract: float | None = None
        self._last: Progress | None = None

    async def insert(self) -> None:
        """Put everything into the queue in one commit."""
        self._ids = await self._queue.insert_many(planned_requests(self._since))

    async def watch(self, worker: Child, gateway: Child, *, urgent: bool) -> None:
        """Look until every request has ended; on the way, insert the urgent one and those that wait for others.

        Raises V6Error.
        """

        async def look() -> bool:
            seen = await self._look()
            has_ended = seen.ended == len(self._ids)
            if urgent and self._urgent_id is None and not has_ended:
                if self._journal.asked >= URGENT_AFTER_CONTRACTS:
                    [self._urgent_id] = await self._insert(urgent_request())
                return False
            return not await self._insert(*self._due(seen)) and has_ended

        await until_over(worker, gateway, look)

    def _due(self, seen: Progress) -> list[NewRequest]:
        """The requests whose time has come."""
        due = [later for later in self._later if seen.has_ended(later.after)]
        self._later = [later for later in self._later if later not in due]
        return [later.request for later in due]

    async def _insert(self, *requests: NewRequest) -> list[str]:
        ids = await self._queue.insert_many(requests) if requests else []
        self._ids += ids
        return ids

    async def _look(self) -> Progress:
        requests = await asyncio.to_thread(requests_now, self._app.lake, self._ids, self._since)
        await asyncio.to_thread(self._journal.read)
        now = self._clock.machine_monotonic()
        if self._journal.asked and self._first_contract is None:
            self._first_contract = now
        going = now - (self._first_contract or now)
        self._last = Progress(
            requests=requests,
            rows=sum(map(rows_of, requests)),
            contracts_planned=self._journal.planned,
            contracts_asked=self._journal.asked,
            seconds=now - self._began,
            contracts_per_second=self._journal.asked / going if going > 1 else 0.0,
        )
        self._show(self._last)
        return self._last

    def result(self) -> DemoResult:
        """The figures. Raises RequestFailed when a request has not ended well."""
        requests = self._last.requests if self._last else ()
        _check_success(requests, expected=len(self._ids))
        chains = [request for request in requests if request.request_type == "option_chain"]
        rows = sum(map(rows_of, chains))
        seconds = max(float(request.result_data["seconds"]) for request in chains)
        return DemoResult(
            requests=requests,
            settings=self._app.settings,
            seconds=self._clock.machine_monotonic() - self._began,
            option_rows=rows,
            contracts_per_second=rows / seconds,
            urgent_seconds=next((_seconds(r) for r in requests if r.request_id == self._urgent_id), None),
        )


def _seconds(request: IBRequest) -> float:
    """From birth to end."""
    return (request.updated_at - request.created_at).total_seconds()


def _check_success(requests: tuple[IBRequest, ...], *, expected: int) -> None:
    wrong = [request for request in requests if request.status is not RequestStatus.SUCCESS]
    if wrong:
        names = (f"{r.request_type} {r.symbol} is {r.status} ({r.error_message or 'no reason given'})" for r in wrong)
        raise RequestFailed(f"{len(wrong)} of {len(requests)} requests did not succeed: {'; '.join(names)}")
    if len(requests) != expected:
        raise RequestFailed(f"{expected} requests were inserted, and {len(requests)} are in the queue")
