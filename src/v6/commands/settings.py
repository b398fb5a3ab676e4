"""``v6 settings``: what is in force, and where each setting came from."""

from __future__ import annotations

import typer

from v6.commands.command import Call, command


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="settings")(command(show_settings))


def show_settings(call: Call) -> None:
    """Show every setting in force and where it came from: flag, environment, file or default."""
    values = call.settings.model_dump()
    sources = call.in_force.sources
    if call.out.as_json:
        call.out.json({name: {"value": value, "source": sources[name]} for name, value in values.items()})
        return
    call.out.table(["setting", "value", "from"], [(name, str(value), sources[name]) for name, value in values.items()])
