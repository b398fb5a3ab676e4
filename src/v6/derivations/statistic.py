"""What a statistic is: a name, a unit, and a pure function that gives values with their quality."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

OK = "ok"
SECTIONS = ("Formula", "Source", "Ties", "Null")

Inputs = TypeVar("Inputs")


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    """One value of a statistic; None with the reason in ``quality``. ``observations`` counts what it rests on."""

    value: float | None
    observations: int
    quality: str = OK
    tenor_days: int | None = None
    window_days: int | None = None
    strike: float | None = None

    def __post_init__(self) -> None:
        if self.value is None and self.quality == OK:
            raise ValueError("a value that is missing needs the reason as its quality")
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"a value has to be a finite number, not {self.value}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Statistic(Generic[Inputs]):
    """A named statistic. The docstring of ``compute`` has a summary, then Formula, Source, Ties and Null."""

    name: str
    unit: str
    compute: Callable[[Inputs], Iterable[Value]]

    @property
    def summary(self) -> str:
        """What it is, on one line."""
        return _paragraphs(self.compute)[0]

    def section(self, name: str) -> str:
        """One of ``SECTIONS`` of the docstring, on one line; empty where it is absent."""
        found = (text for text in _paragraphs(self.compute) if text.startswith(f"{name}: "))
        return next(found, "").removeprefix(f"{name}: ")


def _paragraphs(function: Callable[..., object]) -> list[str]:
    """A docstring as its summary and its sections, each on one line."""
    paragraphs: list[str] = []
    for line in (inspect.getdoc(function) or "").splitlines():
        begins = not paragraphs or line.startswith(tuple(f"{name}: " for name in SECTIONS))
        if begins:
            paragraphs.append(line.strip())
        elif line.strip():
            paragraphs[-1] += f" {line.strip()}"
    return paragraphs


def finite(value: float, observations: int, quality: str = OK, *, window_days: int | None = None) -> Value:
    """The value, or None where arithmetic gave no finite number."""
    if math.isfinite(value):
        return Value(value=float(value), observations=observations, quality=quality, window_days=window_days)
    return Value(value=None, observations=observations, quality="no finite number results", window_days=window_days)


def joined(*notes: str) -> str:
    """The notes that say something as one quality; ``ok`` where none does."""
    return "; ".join(note for note in notes if note and note != OK) or OK
