"""``v6 submit``: put one request into the queue, and wait for it when asked to."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v6.app import App
from v6.clock import parse_utc
from v6.commands.command import Call, command
from v6.commands.waiting import wait_for
from v6.errors import RequestError, RequestFailed

if TYPE_CHECKING:
    from v6.data.ib_request_queue import IBRequest


WHEN = "2026-11-25T18:30:00Z (UTC unless it says), or +90s, +15m, +2h, +1d from now"
LATER = re.compile(r"\+(\d+)([smhd])", re.ASCII)
UNITS = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="submit")(command(submit))


def _types(incomplete: str) -> list[str]:
    """For the shell's completion."""
    from v6.request_types.catalogue import Catalogue

    return [name for name in Catalogue.load().names() if name.startswith(incomplete)]


async def submit(
    call: Call,
    *,
    request_type: Annotated[
        str, typer.Argument(metavar="TYPE", help="option_chain, futures_snapshot, …", autocompletion=_types)
    ],
    symbol: Annotated[str, typer.Argument(help="underlying; may be left out where the type allows all")] = "",
    priority: Annotated[
        int | None, typer.Option(help="1 immediate, 2 normal, 3 background; the type's when left out")
    ] = None,
    parameters: Annotated[str, typer.Option(metavar="JSON", help="the type's parameters as a JSON object")] = "{}",
    result_table: Annotated[str | None, typer.Option(help="the type's table when left out")] = None,
    key: Annotated[str | None, typer.Option(help="idempotency key: the same request twice is one request")] = None,
    not_before: Annotated[str | None, typer.Option(metavar="WHEN", help=f"it does not begin before; {WHEN}")] = None,
    deadline: Annotated[
        str | None, typer.Option(metavar="WHEN", help=f"it fails when not begun by then; {WHEN}")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="wait until it has ended; exit 5 when it failed")] = False,
    wait_seconds: Annotated[float | None, typer.Option(min=0, help="wait no longer than that")] = None,
) -> None:
    """Insert a request and print its id."""
    app = App(call.settings)
    queue = app.queue(source="cli")
    try:
        request_id = await queue.insert(
            request_type=request_type,
            symbol=symbol,
            priority=priority,
            parameters=parse_parameters(parameters),
            result_table=result_table,
            idempotency_key=key,
            not_before=_moment("--not-before", not_before, app.clock.now()),
            deadline=_moment("--deadline", deadline, app.clock.now()),
        )
        if not call.out.as_json:
            call.out.line(request_id)
        if not wait:
            answer: dict[str, Any] = {"request_id": request_id}
        else:
            answer = summary(await _ended(wait_for(app, queue, request_id, timeout_seconds=wait_seconds), request_id))
    finally:
        await queue.close()
    _report(call, answer)


def _moment(option: str, text: str | None, now: datetime) -> datetime | None:
    """An instant, or so much later than now (clock time). Raises RequestError."""
    if text is None:
        return None
    later = LATER.fullmatch(text.strip())
    try:
        return now + int(later[1]) * UNITS[later[2]] if later else parse_utc(text)
    except (ValueError, OverflowError) as error:
        raise RequestError(f"{option} {text!r} is no moment: write {WHEN}") from error


def parse_parameters(text: str) -> Mapping[str, Any]:
    """The parameters from JSON text. Raises RequestError when it is no JSON object."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_each_once)
    except RecursionError as error:
        raise RequestError("--parameters is nested too deep") from error
    except ValueError as error:
        raise RequestError(f"--parameters is not JSON ({error}): write an object such as '{{\"dte\": 45}}'") from error
    if not isinstance(value, dict):
        raise RequestError(f"--parameters is not an object but {text[:80]}: write one such as '{{\"dte\": 45}}'")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"{twice[0]} is there more than once")
    return dict(pairs)


def summary(request: IBRequest) -> dict[str, Any]:
    """A request as programs read it."""
    row = request.to_row()
    row["parameters"] = request.parameters
    row["result_data"] = request.result_data
    return row


async def _ended(waiting: Any, request_id: str) -> IBRequest:
    try:
        request: IBRequest = await waiting
    except TimeoutError as error:
        text = f"request {request_id} has not ended yet: `v6 requests show {request_id}` tells, `v6 status` says why"
        raise RequestFailed(text) from error
    return request


def _report(call: Call, answer: Mapping[str, Any]) -> None:
    if call.out.as_json:
        call.out.json(answer)
    status = answer.get("status")
    if status is None:
        return
    if status != "SUCCESS":
        reason = answer["error_message"] or "no reason was given"
        raise RequestFailed(f"request {answer['request_id']} is {status}: {reason}")
    if not call.out.as_json:
        rows = answer["result_data"].get("rows")
        call.out.line(f"SUCCESS{'' if rows is None else f': {rows} rows'} in {answer['result_table']}")
