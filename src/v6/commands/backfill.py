"""``v6 backfill`` and ``v6 schedule backfill``: the requests that fill the holes of the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v6.app import App
from v6.commands.command import Call, command
from v6.commands.ledger_days import Day, LastDay, Symbol, asked_days, settled_ledger
from v6.errors import RequestError

if TYPE_CHECKING:
    from v6.data.coverage import CoverageRow
    from v6.scheduler.backfill import Fill
    from v6.scheduler.ledger import Ledger
    from v6.scheduler.schedule import Schedule

DryRun = Annotated[bool, typer.Option("--dry-run", help="show what would be asked, and ask nothing")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="backfill")(command(backfill))


async def backfill(
    call: Call, *, first: Day = None, last: LastDay = None, symbol: Symbol = None, dry_run: DryRun = False
) -> None:
    """Ask for what is missing and can still be had, at priority 3, in as few requests as IB's pages allow."""
    app = App(call.settings)
    app.lake.check_usable()
    days = asked_days(app, first, last)
    ledger = await settled_ledger(app)
    holes = ledger.holes(first=days[0], last=days[1], symbol=symbol)
    await _fill(call, app, ledger, [*holes, *_undecided(app, ledger, days, symbol)], dry_run=dry_run)


async def backfill_schedule(
    call: Call, app: App, schedule: Schedule, days: tuple[date, date], symbol: str | None, *, dry_run: bool
) -> None:
    """Ask for what a schedule would have brought on these days and is not there, from before it began too.

    Raises:
        RequestError: it asks for snapshots, which nobody can take later.
    """
    from v6.scheduler.missing import missing_of

    if not schedule.is_history:
        raise RequestError(
            f"schedule {schedule.id} takes snapshots, and what was not taken then can never be had: "
            f"`v6 schedule run {schedule.id}` takes one now"
        )
    app.lake.check_usable()
    ledger = await settled_ledger(app)
    rows = missing_of(schedule, days, ledger.table, now=app.clock.now())
    await _fill(call, app, ledger, [row for row in rows if symbol in (None, row.interval.symbol)], dry_run=dry_run)


def _undecided(app: App, ledger: Ledger, days: tuple[date, date], symbol: str | None) -> list[CoverageRow]:
    """What was due since the last decided slots and can be asked for the past: no scheduler has looked at it."""
    from v6.data.coverage import keys_of
    from v6.scheduler.heat_map import undecided_rows

    known = keys_of(ledger.table.current(first=days[0], last=days[1]).collect())
    history = [schedule for schedule in app.schedules if schedule.is_history]
    rows = undecided_rows(history, ledger.table.last_slots(), app.clock.now(), known=known)
    return [row for row in rows if days[0] <= row.interval.date <= days[1] and symbol in (None, row.interval.symbol)]


async def _fill(call: Call, app: App, ledger: Ledger, holes: Sequence[CoverageRow], *, dry_run: bool) -> None:
    from v6.scheduler.backfill import ask, plan_backfill

    fills = plan_backfill(holes, app.schedules, app.clock.now())
    if fills and not dry_run:
        queue = app.queue(source="backfill")
        try:
            await ask(fills, queue, ledger)
        finally:
            await queue.close()
    _report(call, fills, asked=not dry_run)


def _report(call: Call, fills: Sequence[Fill], *, asked: bool) -> None:
    seconds = sum(fill.seconds for fill in fills)
    holes = sum(len(fill.holes) for fill in fills)
    if call.out.as_json:
        call.out.json({"asked": asked, "requests": [_as_row(f) for f in fills], "holes": holes, "seconds": seconds})
        return
    if not fills:
        call.out.line("there are no holes that can be filled")
        return
    rows = [tuple(_as_row(fill).values()) for fill in fills]
    call.out.table(("request type", "symbol", "what", "from", "to", "holes", "seconds"), rows)
    verb = "asked" if asked else "would be asked"
    call.out.line(
        f"{len(fills)} requests for {holes} holes {verb}; about {timedelta(seconds=round(seconds))} of the gateway"
    )


def _as_row(fill: Fill) -> dict[str, Any]:
    first, last = fill.holes[0].interval, fill.holes[-1].interval
    return {
        "request_type": first.request_type,
        "symbol": first.symbol,
        "series": first.series,
        "from": first.timestamp,
        "to": last.interval_end,
        "holes": len(fill.holes),
        "seconds": fill.seconds,
    }
