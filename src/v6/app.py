"""Builds the parts of v6 from the settings and hands them to each other; the one place that knows how they fit."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from v6.clock import Clock
from v6.errors import SettingsError
from v6.events import EventBus
from v6.logs import log_events
from v6.settings import Settings, config_path

if TYPE_CHECKING:  # each part is imported when it is asked for: a command loads only what it uses
    from collections.abc import Callable, Coroutine

    from v6.core.ib_connection import IBConnectionManager
    from v6.core.unified_queue_worker import UnifiedQueueWorker
    from v6.data.ib_request_queue import IBRequestQueue, NewRequest
    from v6.data.lake import Lake
    from v6.data.recent_claims import Rate
    from v6.maintenance.maintainer import Maintainer
    from v6.request_types.catalogue import Catalogue
    from v6.request_types.policy import Policies
    from v6.scheduler.capacity import Capacity
    from v6.scheduler.expectations import Expectation
    from v6.scheduler.freshness_watch import FreshnessWatch
    from v6.scheduler.schedule import Schedule
    from v6.scheduler.unified_scheduler import UnifiedScheduler, Watch
    from v6.simulator.instruments import MarketSource
    from v6.simulator.server import SimulatedGateway


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
        from v6.data.lake import Lake

        return Lake(self.settings.lake, flushes=self.settings.flush_commits)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The request types that are installed."""
        from v6.request_types.catalogue import Catalogue

        return Catalogue.load()

    @cached_property
    def policies(self) -> Policies:
        """The numbers of the request types. Raises SettingsError when the settings name a type that is not there."""
        from v6.request_types.policy import Policies

        policies = Policies(self.settings.request_types)
        policies.check(self.catalogue.names())
        return policies

    @cached_property
    def rates(self) -> dict[str, Rate]:
        """How many requests of each limited type may begin in a period. Raises SettingsError as ``policies`` does."""
        from v6.data.recent_claims import Rate

        limiters = {kind.name: self.policies.of(kind).limiter for kind in self.catalogue.types()}
        return {
            name: Rate(claims=limiter.requests, period=timedelta(seconds=limiter.seconds))
            for name, limiter in limiters.items()
            if limiter is not None
        }

    def queue(self, *, source: str, worker_id: str = "") -> IBRequestQueue:
        """A queue object of its own, to be closed by whoever asked for it. ``source`` says who inserts."""
        from v6.data.ib_request_queue import IBRequestQueue

        return IBRequestQueue(
            self.lake,
            clock=self.clock,
            source=source,
            worker_id=worker_id,
            key_lifetime_seconds=self.settings.key_lifetime_seconds,
            history_days=self._history_days(),
            check=self._check,
            rates=self.rates if worker_id else None,  # who claims keeps to them
        )

    def _history_days(self) -> int | None:
        """How long finished requests are kept; None for ever. Raises SettingsError when ``retention`` is wrong."""
        from v6.data.ib_request import HISTORY_DAYS

        if not self.settings.retention:
            return HISTORY_DAYS
        from v6.maintenance.maintainer import queue_days

        return queue_days(self.settings.retention)

    def _check(self, new: NewRequest) -> NewRequest:
        return self.catalogue.check(new)  # loaded at the first insert: most commands insert nothing

    def connection(self) -> IBConnectionManager:
        """The one session with the gateway, not started."""
        from v6.core.ib_connection import IBConnectionManager
        from v6.core.pacing_record import PacingRecord
        from v6.core.worker_lock import lock_folder
        from v6.data.worker_state import WORKER_STATE

        settings = self.settings
        record = lock_folder(self.lake) / f"{settings.worker_name}.pacing"
        return IBConnectionManager(
            host=settings.gateway_host,
            port=settings.gateway_port,
            client_id=settings.client_id,
            clock=self.clock,
            events=self.events,
            market_data_lines=settings.market_data_lines,
            historical_slots=settings.open_historical,
            market_data_type=settings.market_data_type,
            connect_timeout_seconds=settings.connect_timeout_seconds,
            region=settings.gateway_region,
            record=PacingRecord(record, is_new_lake=not self.lake.exists(WORKER_STATE.name)),
        )

    def probe(self, client_id: int) -> IBConnectionManager:
        """A session for looking only, under exactly that client id, not started."""
        from v6.core.ib_connection import IBConnectionManager

        settings = self.settings
        return IBConnectionManager(
            host=settings.gateway_host,
            port=settings.gateway_port,
            client_id=client_id,
            client_id_pool=1,
            clock=self.clock,
            events=EventBus(),  # the doctor's answer says what a log would
            market_data_lines=settings.market_data_lines,
            market_data_type=settings.market_data_type,
            connect_timeout_seconds=settings.connect_timeout_seconds,
            region=settings.gateway_region,
        )

    def worker(self, queue: IBRequestQueue) -> UnifiedQueueWorker:
        """The worker on a queue that was opened for its name, not started."""
        from v6.core.derivation_processes import derivation_processes
        from v6.core.sent_record import SentRecord, sent_path
        from v6.core.unified_queue_worker import UnifiedQueueWorker
        from v6.core.worker_lock import lock_folder

        settings = self.settings
        folder = lock_folder(self.lake)
        connection, sent = self.connection(), SentRecord(sent_path(folder, settings.worker_name))
        connection.on_send = sent.note
        return UnifiedQueueWorker(
            queue=queue,
            connection=connection,
            catalogue=self.catalogue,
            lake=self.lake,
            clock=self.clock,
            events=self.events,
            worker_name=settings.worker_name,
            poll_seconds=settings.poll_seconds,
            batch_size=settings.batch_size,
            urgent_places=settings.urgent_places,
            grace_seconds=settings.grace_seconds,
            derivation_executor=partial(derivation_processes, settings.derive_processes),
            upkeep=self.upkeep(queue),
            lease_seconds=settings.lease_seconds,
            crash_limit=settings.crash_limit,
            aging_seconds=settings.aging_seconds,
            sent=sent,
            policies=self.policies,
        )

    def upkeep(self, queue: IBRequestQueue) -> Callable[[], Coroutine[Any, Any, None]] | None:
        """What has the lake maintained while a worker runs; None where the settings say that nothing does.

        Raises:
            SettingsError: ``retention`` is wrong.
        """
        if not self.settings.maintenance:
            return None
        from v6.maintenance.keeper import Keeper
        from v6.maintenance.maintainer import check_retention

        check_retention(self.settings.retention)
        keeper = Keeper(settings=self.settings, clock=self.clock, events=self.events, version=lambda: queue.version)
        return keeper.run

    def maintainer(self) -> Maintainer:
        """Maintenance of the lake in this process. Raises SettingsError when ``retention`` is wrong."""
        from v6.maintenance.maintainer import Maintainer, Promises

        return Maintainer(self.lake, self.clock, Promises.of(self.settings))

    @cached_property
    def schedules(self) -> list[Schedule]:
        """The schedules in force: those of the settings file, else the default set.

        Raises:
            SettingsError: some are bad, all named with file and line; or the package was installed without calendars.
        """
        try:
            from v6.scheduler.config_file import ConfigFile
            from v6.scheduler.schedule_file import load_schedules

            return load_schedules(ConfigFile.read(config_path()), self.catalogue)
        except ModuleNotFoundError as error:
            raise SettingsError(f"the scheduler needs the package {error.name}: pip install 'v6[scheduler]'") from error

    @cached_property
    def expectations(self) -> list[Expectation]:
        """How fresh each table has to be. Raises SettingsError as ``schedules`` does."""
        schedules = self.schedules
        from v6.scheduler.config_file import ConfigFile
        from v6.scheduler.expectations import load_expectations

        return load_expectations(ConfigFile.read(config_path()), self.catalogue, schedules)

    def check_config(self) -> None:
        """See that schedules, freshness and alerts can be read.

        Raises:
            SettingsError: it lists all that is wrong with them, each with file and line.
        """
        from v6.scheduler.alerts import load_senders
        from v6.scheduler.config_file import ConfigFile, refusal_of
        from v6.scheduler.expectations import load_expectations

        config = ConfigFile.read(config_path())
        found = (
            refusal_of(lambda: self.schedules),
            refusal_of(lambda: load_expectations(config, self.catalogue, ())),
            refusal_of(lambda: load_senders(config)),
        )
        wrong = "; ".join(text for text in found if text is not None)
        if wrong:
            raise SettingsError(wrong)

    def freshness_watch(self) -> FreshnessWatch:
        """What looks after freshness and tells a person. Raises SettingsError when alerts or expectations are wrong."""
        from v6.scheduler.alerts import Alerts, load_senders
        from v6.scheduler.config_file import ConfigFile
        from v6.scheduler.freshness_watch import FreshnessWatch

        senders = load_senders(ConfigFile.read(config_path()))
        return FreshnessWatch(
            lake=self.lake,
            clock=self.clock,
            events=self.events,
            alerts=Alerts(senders, clock=self.clock, events=self.events),
            expectations=self.expectations,
            look_seconds=self.settings.freshness_seconds,
        )

    @cached_property
    def history_types(self) -> list[str]:
        """The request types whose past can be asked for."""
        from v6.scheduler.schedule_file import is_history

        return [name for name in self.catalogue.names() if is_history(self.catalogue, name)]

    def capacity(self) -> Capacity:
        """What the schedules ask of the gateway while the markets are open, against its limit."""
        from v6.scheduler.capacity import capacity_of, recent_contracts

        contracts = recent_contracts(self.lake, self.schedules)
        return capacity_of(self.schedules, market_data_lines=self.settings.market_data_lines, contracts=contracts)

    def scheduler(self, queue: IBRequestQueue) -> UnifiedScheduler:
        """The scheduler on a queue of its own, not started."""
        try:
            import apscheduler  # noqa: F401 - looked for before anything is done

            from v6.scheduler.unified_scheduler import UnifiedScheduler
        except ModuleNotFoundError as error:
            raise SettingsError(f"the scheduler needs the package {error.name}: pip install 'v6[scheduler]'") from error
        return UnifiedScheduler(
            queue=queue,
            schedules=self.schedules,
            history_types=self.history_types,
            lake=self.lake,
            clock=self.clock,
            events=self.events,
            name=self.settings.scheduler_name,
            tick_seconds=self.settings.tick_seconds,
            watches=self._watches(queue),
        )

    def _watches(self, queue: IBRequestQueue) -> list[Watch]:
        """What the scheduler looks after beside its slots."""
        from v6.scheduler.cron import Cron
        from v6.scheduler.nightly_backfill import NightlyBackfill

        watches: list[Watch] = [self.freshness_watch()]
        if not self.settings.backfill_cron:
            return watches
        try:
            cron = Cron.parse(self.settings.backfill_cron)
        except ValueError as error:
            raise SettingsError(f"backfill_cron is wrong: {error}") from error
        return [
            *watches,
            NightlyBackfill(
                queue=queue,
                schedules=self.schedules,
                history_types=self.history_types,
                lake=self.lake,
                clock=self.clock,
                events=self.events,
                cron=cron,
            ),
        ]

    def market(self, seed: int) -> MarketSource:
        """The simulated market. Raises SettingsError when the package was installed without it."""
        try:
            from v6.simulator.market import Market

            return Market(seed)
        except ModuleNotFoundError as error:
            raise SettingsError(
                f"the simulated gateway needs the package {error.name}: pip install 'v6[simulator]'"
            ) from error

    def simulated_gateway(
        self, market: MarketSource, *, clock: Clock, host: str, port: int, **options: Any
    ) -> SimulatedGateway:
        """A simulated gateway, not started; ``options`` are those of GatewayOptions. Raises SettingsError."""
        from v6.simulator.options import GatewayOptions
        from v6.simulator.server import SimulatedGateway

        try:
            chosen = GatewayOptions(**options)
        except ValueError as error:
            raise SettingsError(str(error)) from error
        return SimulatedGateway(market, clock=clock, host=host, port=port, options=chosen)
