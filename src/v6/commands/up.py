"""``v6 up``: worker, scheduler, freshness and, when it is simulated, the gateway, as one process tree."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from v6.app import App
from v6.clock import ClockSetting
from v6.commands.command import Call, command
from v6.commands.gateway import simulated_now
from v6.errors import SettingsError
from v6.settings import CONFIG_VARIABLE, PREFIX, Settings, as_environment

if TYPE_CHECKING:
    from v6.supervisor.daemon import Daemon


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="up")(command(up, stops_in_order=True))


async def up(
    call: Call,
    *,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="run the simulated gateway too, on --gateway-port")
    ] = False,
    now: Annotated[
        str | None,
        typer.Option(metavar="INSTANT", help="with --simulated, everybody's now: an ISO 8601 instant, or last-session"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="with --simulated, the market's seed")] = 0,
) -> None:
    """Run worker, scheduler and the watch over freshness until stopped, each started again when it falls.

    SIGTERM or Ctrl-C ends them in order. When this process dies, they end too.
    """
    from v6.signals import stop_on_signals
    from v6.supervisor.supervisor import Supervisor

    if now is not None and not simulated:
        raise SettingsError("--now is for --simulated: a real gateway lives in the machine's time")
    app = App(call.settings)
    app.lake.check_usable()
    clock = call.settings.clock if now is None else _clock_text(app, now, seed)
    settings = call.settings.model_copy(update={"clock": clock})
    supervisor = Supervisor(list(_daemons(app, settings, simulated=simulated, seed=seed)))
    with stop_on_signals(supervisor.stop):
        await supervisor.run()


def _clock_text(app: App, now: str, seed: int) -> str:
    return str(ClockSetting.parse(simulated_now(now, app.market(seed), app.clock).isoformat()))


def _daemons(app: App, settings: Settings, *, simulated: bool, seed: int) -> Iterator[Daemon]:
    """In the order in which they depend on each other."""
    if simulated:
        app.market(seed)  # says at once when the package was installed without it
        yield _daemon(app, settings, "gateway", "--json", "--seed", str(seed))
    yield _daemon(app, settings, "worker")
    yield _daemon(app, settings, "scheduler")
    yield _daemon(app, settings, "freshness", "--watch")


def _daemon(app: App, settings: Settings, name: str, *arguments: str) -> Daemon:
    from v6.supervisor.daemon import Daemon

    bare = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX) or key == CONFIG_VARIABLE}
    return Daemon(
        name=name,
        program=[sys.executable, "-m", "v6", name, *arguments],
        environment={**bare, **as_environment(settings)},
        clock=app.clock,
        events=app.events,
        say=lambda line: print_line(name, line),
        announces=name == "gateway",
    )


def print_line(name: str, line: str) -> None:
    """A daemon's log line behind its name, on stderr."""
    sys.stderr.write(f"{name:<9} | {line}\n")
