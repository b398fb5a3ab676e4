"""``v6 worker``: the daemon that runs the requests."""

from __future__ import annotations

from typing import Annotated

import typer

from v6.app import App
from v6.commands.command import Call, command


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="worker")(command(worker))


async def worker(
    call: Call, *, drain: Annotated[bool, typer.Option("--drain", help="end when nothing is left to do")] = False
) -> None:
    """Run the worker until it is stopped: SIGTERM or Ctrl-C lets requests finish, or puts them back, and exits 0."""
    from v6.core.shutdown import stop_on_signals

    app = App(call.settings)
    app.lake.check_usable()
    queue = app.queue(source="worker", worker_id=call.settings.worker_name)
    try:
        daemon = app.worker(queue)
        with stop_on_signals(daemon.stop):
            await daemon.run(drain=drain)
    finally:
        await queue.close()
