"""``v6 scheduler``: the daemon that turns due slots into requests."""

from __future__ import annotations

import typer

from v6.app import App
from v6.commands.command import Call, command


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="scheduler")(command(scheduler, stops_in_order=True))


async def scheduler(call: Call) -> None:
    """Run the scheduler until it is stopped. Bad schedules are refused, all at once, with file and line."""
    from v6.scheduler.scheduler_events import SchedulesOverCapacity
    from v6.signals import stop_on_signals

    app = App(call.settings)
    app.check_config()
    app.lake.check_usable()
    capacity = app.capacity()
    if app.schedules and not capacity.fits:
        app.events.emit(SchedulesOverCapacity(arithmetic=capacity.describe()))
    queue = app.queue(source="scheduler")
    try:
        daemon = app.scheduler(queue)
        with stop_on_signals(daemon.stop):
            await daemon.run()
    finally:
        await queue.close()
