"""Commands and options as typer knows them, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from v6.cli import build
from v6.commands.command import PANEL


def describe_commands() -> str:
    """A section for each command: what it does, its arguments and its own options."""
    return "\n\n".join(_section(name, command) for name, command in commands())


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its full name."""
    root = typer.main.get_command(build())
    for name, command in vars(root)["commands"].items():
        yield from _leaves(f"v6 {name}", command)


def own_parameters(command: Any) -> list[Any]:
    """A command's arguments and options without those that every command has."""
    own = [parameter for parameter in command.params if getattr(parameter, "rich_help_panel", None) != PANEL]
    return [parameter for parameter in own if parameter.name != "help"]


def spelling(parameter: Any) -> str:
    """How a parameter is written on the command line."""
    if parameter.param_type_name == "argument":
        name = parameter.metavar or parameter.name.upper()
        return str(name) if parameter.required else f"[{name}]"
    words = [*parameter.opts, *parameter.secondary_opts]
    return " / ".join(words) if parameter.is_flag else f"{words[0]} {_value(parameter)}"


def _leaves(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    children = vars(command).get("commands")
    if not children:
        yield name, command
        return
    if command.invoke_without_command:
        yield name, command
    for child, inner in children.items():
        yield from _leaves(f"{name} {child}", inner)


def _section(name: str, command: Any) -> str:
    parameters = own_parameters(command)
    arguments = [spelling(p) for p in parameters if p.param_type_name == "argument"]
    usage = " ".join([name, *arguments, *(["[OPTIONS]"] if len(parameters) > len(arguments) else [])])
    lines = [f"### {name}", "", " ".join((command.help or "").split()), "", f"`{usage}`"]
    if parameters:
        lines += ["", "| | default | what it is |", "|---|---|---|"]
        lines += [f"| `{spelling(p)}` | {_default(p)} | {_text(p.help)} |" for p in parameters]
    return "\n".join(lines)


def _text(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _value(parameter: Any) -> str:
    annotation = parameter.type_descriptor.annotation
    return str(parameter.metavar or {int: "INTEGER", float: "NUMBER", Path: "PATH"}.get(annotation, "TEXT"))


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    default = parameter.default
    if default in (None, "", ()):
        return ""
    if isinstance(default, bool):
        return (
            "" if not parameter.secondary_opts else f"`{parameter.opts[0] if default else parameter.secondary_opts[0]}`"
        )
    return f"`{default}`"
