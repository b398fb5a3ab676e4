"""``v6 worker``: the daemon that runs the requests."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from itertools import count
from typing import TYPE_CHECKING, Annotated

import typer

from v6.app import App
from v6.commands.command import Call, command
from v6.errors import ErrorCategory, GatewayUnavailable, LakeError, LeaseLost

if TYPE_CHECKING:
    from v6.core.unified_queue_worker import UnifiedQueueWorker

LONGEST_PAUSE_SECONDS = 60.0
WAIT_HELP = "keep trying when the gateway is not there at the start; without it that is exit code 4"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="worker")(command(worker, stops_in_order=True, loop=measured_loop))


def measured_loop() -> asyncio.AbstractEventLoop:
    """The loop that a worker runs on: its blocks are seen."""
    from v6.core.loop_lag import MeasuredLoop

    return MeasuredLoop()


async def worker(
    call: Call,
    *,
    drain: Annotated[bool, typer.Option("--drain", help="end when nothing is left to do")] = False,
    wait_for_gateway: Annotated[bool, typer.Option("--wait-for-gateway", help=WAIT_HELP)] = False,
) -> None:
    """Run the worker until it is stopped: SIGTERM or Ctrl-C lets requests finish, or puts them back, and exits 0.

    One that was silent past its lease starts over by itself, in the same process.
    """
    from v6.signals import stop_on_signals

    app = App(call.settings)
    runs = _Runs(app)
    with stop_on_signals(runs.stop):  # before anything slow is loaded: a stop in between ends in good order too
        app.lake.check_usable()
        is_patient = wait_for_gateway
        for attempt in count():
            try:
                await runs.run(drain=drain)
            except LeaseLost:  # said by the worker: it starts over in an epoch of its own
                if runs.is_stopped:
                    return
                is_patient = True  # it has met its gateway
                continue
            except GatewayUnavailable as error:
                is_outage = error.category is not ErrorCategory.SESSION  # a refused session is not mended by waiting
                if not (is_patient and is_outage) or runs.is_stopped:
                    raise
                await runs.wait(attempt, str(error))
                if not runs.is_stopped:
                    continue
            return


def spare_loaded() -> None:
    """Take what is loaded out of garbage collection: to look through it all blocks the event loop for over 60 ms."""
    gc.collect()
    gc.freeze()


class _Runs:
    """One worker after another of the same name, until one has met the gateway."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._daemon: UnifiedQueueWorker | None = None
        self._stopped = asyncio.Event()

    @property
    def is_stopped(self) -> bool:
        """Whether somebody told it to stop."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Stop the worker, or the wait for its gateway."""
        self._stopped.set()
        if self._daemon is not None:
            self._daemon.stop()

    async def run(self, *, drain: bool) -> None:
        """Run a worker to its end. Raises what it raises; that the gateway is not there is written down first."""
        queue = self._app.queue(source="worker", worker_id=self._app.settings.worker_name)
        try:
            self._daemon = self._app.worker(queue)
            spare_loaded()
            await self._daemon.run(drain=drain)
        except GatewayUnavailable as error:
            await asyncio.to_thread(self._record, str(error))
            raise
        finally:
            self._daemon = None
            await queue.close()

    async def wait(self, attempt: int, reason: str) -> None:
        """Pause before the next attempt: longer each time, ended by a stop."""
        from v6.core.session_state import ReconnectScheduled

        clock = self._app.clock
        seconds = min(LONGEST_PAUSE_SECONDS, 2.0 ** min(attempt, 10))
        self._app.events.emit(ReconnectScheduled(seconds=seconds, reason=reason))
        with contextlib.suppress(TimeoutError):
            async with clock.timeout(seconds):
                await self._stopped.wait()

    def _record(self, reason: str) -> None:
        """For `v6 status`: this worker never met its gateway, and why."""
        from v6.data.worker_state import WorkerState, WorkerStateTable

        settings = self._app.settings
        state = WorkerState(
            worker_id=settings.worker_name,
            state="disconnected",
            reason=reason,
            in_flight=0,
            gateway=f"{settings.gateway_host}:{settings.gateway_port}",
        )
        with contextlib.suppress(LakeError):  # what ends the worker is said all the same
            WorkerStateTable(self._app.lake, clock=self._app.clock).record(state)
