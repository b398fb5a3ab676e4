"""``v6 queue``: pause and resume the queue, or one request type: what runs is finished, nothing new is begun."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from v6.app import App
from v6.commands.command import Call, command

if TYPE_CHECKING:
    from v6.data.queue_controls import Action

Type = Annotated[str | None, typer.Option("--type", help="only this request type; without it everything")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=False, help="Pause and resume the queue, or one request type.")
    group.command(name="pause")(command(pause))
    group.command(name="resume")(command(resume))
    app.add_typer(group, name="queue")


def pause(
    call: Call,
    request_type: Type = None,
    reason: Annotated[str, typer.Option(help="kept with the pause, and shown wherever something waits")] = "by hand",
) -> None:
    """Let workers begin nothing new; what is inserted waits."""
    from v6.data.queue_controls import Action

    _control(call, request_type, Action.PAUSE, reason)


def resume(call: Call, request_type: Type = None) -> None:
    """Let workers go on."""
    from v6.data.queue_controls import Action

    _control(call, request_type, Action.RESUME, None)


def _control(call: Call, request_type: str | None, action: Action, reason: str | None) -> None:
    from v6.data.queue_controls import QUEUE, QueueControlsTable

    app = App(call.settings)
    app.lake.check_usable()
    target = QUEUE if request_type is None else f"type:{app.catalogue.get(request_type).name}"
    QueueControlsTable(app.lake, clock=app.clock).record(target, action, reason=reason, source="cli")
    if call.out.as_json:
        call.out.json({"target": target, "action": str(action)})
    else:
        call.out.line(f"{action}d {target}")
