"""Load bars of every listed month of futures through the queue; run it again to go on where it stopped."""

from __future__ import annotations

from typing import Annotated

import typer

from v6.app import App
from v6.cli import run_script
from v6.commands.command import Call
from v6.loading.command_line import Days, DryRun, End, PriorityOption, Start, asked_range, load


async def load_futures_data(
    call: Call,
    *,
    symbols: Annotated[list[str], typer.Argument(metavar="SYMBOL…", help="such as ES NQ RTY")],
    bar_size: Annotated[list[str], typer.Option(help="IB's words; may be given several times")] = ["1 day"],  # noqa: B006 - typer reads it, nobody changes it
    start: Start = None,
    end: End = None,
    days: Days = 365,
    month: Annotated[list[str] | None, typer.Option(help="only this month, YYYYMM; may be given several times")] = None,
    cycle: Annotated[str | None, typer.Option(help="the months' letters, HMUZ; known for the usual futures")] = None,
    days_before: Annotated[int, typer.Option(min=0, help="load a month from so many days before it begins")] = 180,
    all_hours: Annotated[bool, typer.Option("--all-hours", help="the night's trading too")] = False,
    exchange: Annotated[str | None, typer.Option(help="needed for futures that v6 does not know")] = None,
    priority: PriorityOption = 3,
    dry_run: DryRun = False,
) -> int:
    """Insert the requests, show their progress until all have ended; exit code 0 says that everything arrived."""
    from v6.loading.futures_months import listed_months, months_named
    from v6.loading.series import Series

    app = App(call.settings)
    first, last = asked_range(app, start, end, days)
    requests = []
    for symbol in symbols:
        for listed in (
            months_named(month, first, last, days_before=days_before)
            if month
            else listed_months(symbol.upper(), first, last, days_before=days_before, cycle=cycle)
        ):
            more = {"sec_type": "FUT", "month": listed.month, "regular_hours": not all_hours}
            if exchange is not None:
                more["exchange"] = exchange
            for size in bar_size:
                series = Series(symbol=symbol.upper(), bar_size=size, more=tuple(sorted(more.items())))
                requests += series.requests(listed.start, listed.end, priority=priority, cut_at=last if end else None)
    return await load(call, app, requests, dry_run=dry_run)


if __name__ == "__main__":
    run_script(load_futures_data)
