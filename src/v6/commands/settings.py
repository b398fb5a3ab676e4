"""``v6 settings``: what is in force, and where each setting came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from v6.app import App
from v6.commands.command import Call, command
from v6.settings import TYPES, plain_settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="settings")(command(show_settings))


def show_settings(call: Call) -> None:
    """Show every setting in force and where it came from: flag, environment, file or default; for the numbers of
    request types also the type that declares them."""
    sources = call.in_force.sources
    plain = {name: (getattr(call.settings, name), sources[name]) for name in plain_settings()}
    values = {**plain, **_numbers_of_types(App(call.settings), sources)}
    if call.out.as_json:
        call.out.json({name: {"value": value, "source": source} for name, (value, source) in values.items()})
        return
    rows = [(name, "" if value is None else str(value), source) for name, (value, source) in values.items()]
    call.out.table(["setting", "value", "from"], rows)


def _numbers_of_types(app: App, sources: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    numbers = {
        f"{TYPES}.{kind.name}.{name}": value
        for kind in app.catalogue.types()
        for name, value in app.policies.of(kind).as_settings().items()
    }
    return {name: (value, sources.get(name, "the type")) for name, value in numbers.items()}
