"""``v6 freshness``: does every table grow as expected, and if not, why not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v6.app import App
from v6.commands.command import Call, command
from v6.errors import ExitCode
from v6.signals import release_signals

if TYPE_CHECKING:
    from v6.scheduler.freshness import Reading


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="freshness")(command(freshness, stops_in_order=True))


async def freshness(
    call: Call,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="look until stopped, and alert; the scheduler does it as well")
    ] = False,
) -> int:
    """Show for each table and symbol how old its newest row is, in minutes of the session, and why when it is too old.

    Exit code 7 when something is stale.
    """
    app = App(call.settings)
    expectations = app.expectations
    if watch:
        await _watch(app)
        return ExitCode.OK
    release_signals()
    from v6.scheduler.freshness import read_freshness

    readings = await asyncio.to_thread(read_freshness, app.lake, app.clock, expectations)
    rows = [_as_row(reading) for reading in readings]
    if call.out.as_json:
        call.out.json(rows)
    else:
        columns = ("table", "symbol", "state", "newest", "age_minutes", "limit_minutes", "cause", "detail", "advice")
        call.out.table([name.replace("_", " ") for name in columns], [[row[name] for name in columns] for row in rows])
    return ExitCode.UNHEALTHY if any(reading.diagnosis for reading in readings) else ExitCode.OK


async def _watch(app: App) -> None:
    from v6.signals import stop_on_signals

    stopping = asyncio.Event()
    watching = asyncio.create_task(app.freshness_watch().run(), name="freshness watch")
    watching.add_done_callback(lambda _: stopping.set())
    with stop_on_signals(stopping.set):
        await stopping.wait()
    if watching.done():
        watching.result()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


def _as_row(reading: Reading) -> dict[str, Any]:
    expectation, diagnosis = reading.expectation, reading.diagnosis
    return {
        "table": expectation.table,
        "symbol": expectation.symbol or "any",
        "state": str(reading.state),
        "newest": reading.newest,
        "age_minutes": None if reading.age_minutes is None else round(reading.age_minutes, 1),
        "limit_minutes": expectation.minutes,
        "cause": None if diagnosis is None else str(diagnosis.cause),
        "detail": None if diagnosis is None else diagnosis.detail,
        "advice": None if diagnosis is None else diagnosis.advice,
    }
