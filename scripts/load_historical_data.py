"""Load bars of stocks, ETFs and indices through the queue; run it again to go on where it stopped."""

from __future__ import annotations

from typing import Annotated

import typer

from v6.app import App
from v6.cli import run_script
from v6.commands.command import Call
from v6.loading.command_line import Days, DryRun, End, PriorityOption, Start, asked_range, load


async def load_historical_data(
    call: Call,
    *,
    symbols: Annotated[list[str], typer.Argument(metavar="SYMBOL…", help="such as SPY QQQ IWM")],
    bar_size: Annotated[list[str], typer.Option(help="IB's words; may be given several times")] = ["1 day"],  # noqa: B006 - typer reads it, nobody changes it
    start: Start = None,
    end: End = None,
    days: Days = 365,
    what_to_show: Annotated[str, typer.Option(help="TRADES, MIDPOINT, BID, ASK, …")] = "TRADES",
    all_hours: Annotated[bool, typer.Option("--all-hours", help="outside regular hours too")] = False,
    sec_type: Annotated[str, typer.Option(help="STK, IND or CASH")] = "STK",
    priority: PriorityOption = 3,
    dry_run: DryRun = False,
) -> int:
    """Insert the requests, show their progress until all have ended; exit code 0 says that everything arrived."""
    from v6.loading.series import Series

    app = App(call.settings)
    more = {"what_to_show": what_to_show, "regular_hours": not all_hours, "sec_type": sec_type}
    first, last = asked_range(app, start, end, days)
    requests = [
        request
        for size in bar_size
        for symbol in symbols
        for request in Series(symbol=symbol.upper(), bar_size=size, more=tuple(sorted(more.items()))).requests(
            first, last, priority=priority, cut_at=last if end else None
        )
    ]
    return await load(call, app, requests, dry_run=dry_run)


if __name__ == "__main__":
    run_script(load_historical_data)
