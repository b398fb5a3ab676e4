"""The values a fault takes: how each is written, checked, and described."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

REQUIRED = object()


class FaultError(Exception):
    """A fault is written wrong. ``name`` is the value at fault, empty where it is the fault as a whole."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}" if name else message)
        self.name = name


@dataclass(frozen=True, slots=True)
class Value:
    """One value: how it is read (raises ValueError), what it is when left out, and what it means."""

    read: Callable[[Any], Any]
    default: Any
    meaning: str


def number(least: float = 0.0, most: float = math.inf) -> Callable[[Any], float]:
    """A number within bounds; a program may write it as text."""

    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError("it is a number")  # noqa: TRY004 - to whoever wrote the script it is a wrong value
        try:
            found = float(value)
        except ValueError as error:
            raise ValueError("it is a number") from error
        if not least <= found <= most or not math.isfinite(found):
            raise ValueError(f"it is a number from {least:g} to {most:g}" if most < math.inf else f"at least {least:g}")
        return found

    return read


def integer(least: int = 0) -> Callable[[Any], int]:
    """A whole number."""

    def read(value: Any) -> int:
        found = number(least)(value)
        if found != int(found):
            raise ValueError("it is a whole number")
        return int(found)

    return read


def flag(value: Any) -> bool:
    """True or false."""
    found = {"true": True, "false": False}.get(str(value).lower())
    if found is None:
        raise ValueError("it is true or false")
    return found


def text(value: Any) -> str:
    """Any text; a number is taken as written."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("it is a text")  # noqa: TRY004 - as above
    return str(value)


def choice(*names: str) -> Callable[[Any], str]:
    """One of a few words."""

    def read(value: Any) -> str:
        found = text(value)
        if found not in names:
            raise ValueError(f"it is one of {', '.join(names)}")
        return found

    return read


def choices(*names: str) -> Callable[[Any], tuple[str, ...]]:
    """Some of a few words: a list, or with commas between."""

    def read(value: Any) -> tuple[str, ...]:
        found = value if isinstance(value, list) else text(value).split(",")
        return tuple(choice(*names)(one) for one in found)

    return read


def seconds_range(value: Any) -> tuple[float, float]:
    """Seconds, or the least and the most of them: ``2``, ``[0.5, 2]`` or ``0.5,2``."""
    parts: Sequence[Any] = value if isinstance(value, list) else str(value).split(",")
    found = [number()(part) for part in parts]
    if len(found) not in (1, 2) or found[0] > found[-1]:
        raise ValueError("it is seconds, or the least and the most of them: [0.5, 2]")
    return found[0], found[-1]


def instant(value: Any) -> datetime:
    """An ISO 8601 instant; one without an offset is UTC."""
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(text(value))
    except ValueError as error:
        raise ValueError("it is an instant such as 2026-11-23T17:30:00Z") from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
