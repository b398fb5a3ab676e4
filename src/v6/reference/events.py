"""Every event with its fields, as Markdown."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import fields
from types import ModuleType

import v6.core
import v6.data
import v6.maintenance
import v6.scheduler
import v6.supervisor
from v6.events import Event

PACKAGES: tuple[ModuleType, ...] = (v6.core, v6.data, v6.maintenance, v6.scheduler, v6.supervisor)  # who emits


def describe_events() -> str:
    """A section for each event: level, when it is emitted, its fields."""
    return "\n\n".join(_section(event) for event in events())


def events() -> list[type[Event]]:
    """Every event that the package can emit, by name."""
    for package in PACKAGES:
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    return sorted((event for event in _below(Event) if event.name and _is_own(event)), key=lambda event: event.name)


def _is_own(event: type[Event]) -> bool:
    """True for a class that its module in v6 really holds: a dataclass with slots replaces the class it was made of."""
    module = sys.modules.get(event.__module__)
    return event.__module__.startswith("v6.") and getattr(module, event.__name__, None) is event


def _below(event: type[Event]) -> Iterator[type[Event]]:
    for child in event.__subclasses__():
        yield child
        yield from _below(child)


def _section(event: type[Event]) -> str:
    doc = " ".join((event.__doc__ or "").replace("``", "`").split())
    lines = [f"### {event.name}", "", f"Level {event.level}. {doc}", ""]
    return "\n".join([*lines, f"Fields: {', '.join(_field(field.name, field.type) for field in fields(event))}."])


def _field(name: str, kind: object) -> str:
    text = kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
    return f"`{name}` ({str(text).replace(' | None', ' or nothing')})"
