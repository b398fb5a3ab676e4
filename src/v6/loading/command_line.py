"""What the loading scripts share: the range, running a load, its result and exit code."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from v6.app import App
from v6.clock import parse_utc
from v6.commands.command import Call
from v6.errors import ExitCode, RequestError

if TYPE_CHECKING:
    from v6.loading.load import LoadResult
    from v6.loading.series import LoadRequest

FAILURES_SHOWN = 10
Start = Annotated[str | None, typer.Option(help="first day or instant, UTC: 2025-11-24; beats --days")]
End = Annotated[
    str | None, typer.Option(help="last day (all of it) or instant, UTC: nothing later is asked; without it now")
]
Days = Annotated[int, typer.Option(min=1, help="how many calendar days back from the end")]
PriorityOption = Annotated[int, typer.Option(min=1, max=3, help="1 immediate, 2 normal, 3 background")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="say what would be asked, insert nothing")]


def asked_range(app: App, start: str | None, end: str | None, days: int) -> tuple[datetime, datetime]:
    """The range in UTC. Raises RequestError."""
    last = app.clock.now() if end is None else _end(end)
    first = last - timedelta(days=days) if start is None else _instant("--start", start)
    if first >= last:
        raise RequestError(f"--start {first:%Y-%m-%d %H:%M} is not before --end {last:%Y-%m-%d %H:%M}")
    return first, last


def _end(text: str) -> datetime:
    """An instant; a day ends when it is over."""
    instant = _instant("--end", text)
    return instant + timedelta(days=1) if len(text.strip()) <= len("2025-11-24") else instant


def _instant(name: str, text: str) -> datetime:
    try:
        return parse_utc(text)
    except ValueError as error:
        raise RequestError(f"{name} {text} is no date: write 2025-11-24 or 2025-11-24T14:30:00Z") from error


async def load(call: Call, app: App, requests: Sequence[LoadRequest], *, dry_run: bool) -> int:
    """Run the load, report it, and give the exit code: 0 when everything arrived, 5 when a request failed."""
    from v6.loading.load import Load
    from v6.loading.load_view import load_view

    for request in requests:
        app.catalogue.check(request.new.checked())
    if dry_run:
        _plan(call, requests)
        return ExitCode.OK
    queue = app.queue(source="load")
    try:
        with load_view() as show:
            result = await Load(queue=queue, clock=app.clock, requests=requests, show=show).run()
    finally:
        await queue.close()
    _report(call, result)
    return ExitCode.OK if result.is_complete else ExitCode.REQUEST_FAILED


def _plan(call: Call, requests: Sequence[LoadRequest]) -> None:
    rows = [(request.new.symbol, dict(request.new.parameters)) for request in requests]
    if call.out.as_json:
        call.out.json([{"symbol": symbol, "parameters": parameters} for symbol, parameters in rows])
        return
    shown = ("bar_size", "month", "start", "end")
    call.out.table(("symbol", *shown), [[symbol, *(p.get(name) for name in shown)] for symbol, p in rows])
    call.out.line(f"{len(rows)} requests")


def _report(call: Call, result: LoadResult) -> None:
    failed = [
        {"request_id": r.request_id, "symbol": r.symbol, "parameters": r.parameters, "why": r.error_message}
        for r in result.failed
    ]
    if call.out.as_json:
        progress = result.progress
        counts = {"requests": progress.total, "loaded_before": result.loaded_before, "rows": progress.rows}
        call.out.json({**counts, "seconds": round(progress.seconds, 1), "failed": failed})
        return
    call.out.line(f"{result.progress.line()}; {result.loaded_before:,} requests had been loaded before")
    for row in failed[:FAILURES_SHOWN]:
        call.out.line(f"failed: {row['symbol']} {row['parameters']}: {row['why']}")
    if failed:
        call.out.line(f"{len(failed)} requests failed: run it again to ask once more")
