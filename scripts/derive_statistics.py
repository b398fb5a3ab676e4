"""Derive statistics of past ranges through the queue; run it again to go on where it stopped."""

from __future__ import annotations

from typing import Annotated

import typer

from v6.app import App
from v6.cli import run_script
from v6.commands.command import Call
from v6.loading.command_line import Days, DryRun, End, PriorityOption, Start, asked_range, load


async def derive_statistics(
    call: Call,
    *,
    symbols: Annotated[list[str], typer.Argument(metavar="SYMBOL…", help="such as SPY QQQ ES VIX")],
    start: Start = None,
    end: End = None,
    days: Days = 365,
    again: Annotated[bool, typer.Option("--again", help="also what was derived before: newer rows supersede")] = False,
    priority: PriorityOption = 3,
    dry_run: DryRun = False,
) -> int:
    """Insert the requests, show their progress until all have ended; exit code 0 says that all of it was derived."""
    from v6.loading.derivation import derivation_requests

    app = App(call.settings)
    first, last = asked_range(app, start, end, days)
    again_at = app.clock.machine_now() if again else None
    requests = [
        request
        for symbol in symbols
        for request in derivation_requests(symbol.upper(), first, last, priority=priority, again_at=again_at)
    ]
    return await load(call, app, requests, dry_run=dry_run)


if __name__ == "__main__":
    run_script(derive_statistics)
