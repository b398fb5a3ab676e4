"""``v6 requests``: list, show, cancel and replay requests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v6.app import App
from v6.commands.command import Call, command, group
from v6.commands.request_changes import cancel, retry
from v6.commands.request_list import SYMBOL_HELP, TYPE_HELP, RequestId, check_type, chosen, matching
from v6.commands.request_waits import COLUMNS, waits_of
from v6.commands.submit import summary

if TYPE_CHECKING:
    pass

LISTED = ("request_id", "status", "request_type", "symbol", "priority", "attempt", "created_at", "error_message")
HISTORY = ("revision", "status", "updated_at", "attempt", "not_before", "worker_id", "error_message")
STATUS_HELP = "only these: pending, processing, success, failed or cancelled"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    commands = group("List, show, cancel and replay requests.")
    commands.command(name="list")(command(list_requests))
    commands.command(name="show")(command(show))
    commands.command(name="cancel")(command(cancel))
    commands.command(name="retry")(command(retry))
    app.add_typer(commands, name="requests")


def _statuses(incomplete: str) -> list[str]:
    """For the shell's completion."""
    from v6.data.ib_request import RequestStatus

    return [status.lower() for status in RequestStatus if status.startswith(incomplete.upper())]


def list_requests(
    call: Call,
    status: Annotated[str | None, typer.Option(help=STATUS_HELP, autocompletion=_statuses)] = None,
    request_type: Annotated[str | None, typer.Option("--type", help=TYPE_HELP)] = None,
    symbol: Annotated[str | None, typer.Option(help=SYMBOL_HELP)] = None,
    limit: Annotated[int, typer.Option(min=1, help="at most so many, the newest")] = 20,
) -> None:
    """List requests, the newest first."""
    from v6.data.ib_request import RequestStatus

    conditions = {"status": chosen("status", status, RequestStatus), "request_type": request_type, "symbol": symbol}
    app = App(call.settings)
    check_type(app, request_type)
    found = matching(app, conditions, limit)
    if call.out.as_json:
        call.out.json([_row_as_json(row) for row in found.iter_rows(named=True)])
        return
    call.out.table(LISTED, found.select(LISTED).rows())


async def show(call: Call, request_id: RequestId) -> None:
    """Show one request, what it waits for and how long, and every state it went through."""
    app = App(call.settings)
    queue = app.queue(source="cli")
    try:
        request = await queue.get(request_id)
        history = queue.request_history(request_id).select(HISTORY).collect()
    finally:
        await queue.close()
    values, waits = summary(request), waits_of(app, request)
    if call.out.as_json:
        call.out.json({**values, "waits": waits, "history": history.to_dicts()})
        return
    call.out.fields({**values, "parameters": request.parameters_json, "result_data": request.result_data_json})
    if waits:
        call.out.line("")
        call.out.table(COLUMNS, [[wait[name] for name in COLUMNS] for wait in waits], title="waits for")
    call.out.line("")
    call.out.table(HISTORY, history.rows())


def _row_as_json(row: dict[str, Any]) -> dict[str, Any]:
    for name in ("parameters", "result_data"):
        try:
            row[name] = json.loads(row[name] or "{}")
        except ValueError:  # somebody wrote it past the queue: show it as it stands
            continue
    return row
