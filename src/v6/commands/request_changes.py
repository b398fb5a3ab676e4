"""``v6 requests cancel`` and ``v6 requests retry``: what a person changes of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from v6.app import App
from v6.commands.command import Call
from v6.commands.request_list import SYMBOL_HELP, TYPE_HELP, RequestId, check_type, chosen, matching
from v6.commands.submit import summary
from v6.commands.waiting import wait_for
from v6.errors import ErrorCategory, RequestError, RequestFailed

if TYPE_CHECKING:
    from v6.data.ib_request_queue import IBRequest, IBRequestQueue

ASKED = "is running: its worker was asked to cancel it"


async def cancel(
    call: Call,
    request_id: RequestId,
    reason: Annotated[str, typer.Option(help="kept with the request")] = "cancelled by hand",
    wait_seconds: Annotated[
        float | None, typer.Option(min=0, help="wait so long for one that runs to end; exit 5 when it has not")
    ] = None,
) -> None:
    """Cancel a request: at once when it has not begun, else its worker is asked to, and nothing more of it lands."""
    app = App(call.settings)
    queue = app.queue(source="cli")
    try:
        request = await queue.cancel(request_id, reason=reason)
        if request.status.is_open and wait_seconds is not None:
            request = await _end_of(app, queue, request_id, wait_seconds)
    finally:
        await queue.close()
    if call.out.as_json:
        call.out.json(summary(request))
    else:
        call.out.line(f"{request_id} {ASKED if request.status.is_open else request.status}")


async def _end_of(app: App, queue: IBRequestQueue, request_id: str, seconds: float) -> IBRequest:
    try:
        return await wait_for(app, queue, request_id, timeout_seconds=seconds)
    except TimeoutError as error:
        text = f"request {request_id} {ASKED} and has not ended yet: `v6 requests show {request_id}` tells"
        raise RequestFailed(text) from error


async def retry(
    call: Call,
    *,
    request_ids: Annotated[list[str] | None, typer.Argument(metavar="[REQUEST_ID]...", help="failed requests")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="every failed request, or those that the rest says")] = False,
    request_type: Annotated[str | None, typer.Option("--type", help=TYPE_HELP)] = None,
    symbol: Annotated[str | None, typer.Option(help=SYMBOL_HELP)] = None,
    category: Annotated[str | None, typer.Option(help="only what failed for this: timeout, contract, …")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say which, change nothing")] = False,
) -> None:
    """Put failed requests back into the queue as new: those named, or with --failed all that fit, in one commit."""
    ids = list(request_ids or [])
    conditions = {
        "request_type": request_type,
        "symbol": symbol,
        "error_category": chosen("category", category, ErrorCategory),
    }
    if bool(ids) == failed or (ids and any(conditions.values())):
        raise RequestError("name the requests, or give --failed, alone or with --type, --symbol and --category")
    app = App(call.settings)
    check_type(app, request_type)
    if failed:
        ids = matching(app, {"status": "FAILED", **conditions})["request_id"].to_list()
    queue = app.queue(source="cli")
    try:
        changed = [] if dry_run else await queue.retry_many(ids, leave_held=failed)
    finally:
        await queue.close()
    _report(call, ids, changed, dry_run=dry_run)


def _report(call: Call, ids: list[str], changed: list[IBRequest], *, dry_run: bool) -> None:
    if call.out.as_json and len(ids) == 1 == len(changed):
        call.out.json(summary(changed[0]))
        return
    put_back = [request.request_id for request in changed]
    left = [] if dry_run else [each for each in ids if each not in set(put_back)]
    if call.out.as_json:
        call.out.json({"found": ids, "put_back": put_back, "left": left})
        return
    for each in ids if dry_run else put_back:
        call.out.line(f"{each} {'would be put back' if dry_run else 'PENDING'}")
    for each in left:
        call.out.line(f"{each} was left: another request holds its key, or it is no longer FAILED")
    if not ids:
        call.out.line("no failed request fits: nothing was changed")
