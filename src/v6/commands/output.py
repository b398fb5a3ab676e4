"""What a command writes: text or a table for people, JSON for programs; errors as one line on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from v6.errors import ExitCode


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """Where a command's answer goes; ``as_json`` is what ``--json`` asked for."""

    as_json: bool

    @property
    def is_terminal(self) -> bool:
        """True when a person looks at it."""
        return sys.stdout.isatty()

    def line(self, text: str) -> None:
        """One line of text, at once."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def json(self, value: Any) -> None:
        """One JSON value on one line."""
        self.line(json.dumps(value, default=as_text))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str | None = None) -> None:
        """A table; numbers to the right, None as a dash."""
        from rich.console import Console
        from rich.table import Table

        table = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
        for index, column in enumerate(table.columns):
            numbers = [row[index] for row in rows if row[index] is not None]
            if numbers and all(isinstance(value, int | float) for value in numbers):
                column.justify = "right"
        for row in rows:
            table.add_row(*(cell(value) for value in row))
        width = None if sys.stdout.isatty() else 200  # lines of a file or pipe are not folded
        Console(file=sys.stdout, width=width, highlight=False, markup=False, soft_wrap=width is not None).print(table)

    def fields(self, values: Mapping[str, Any]) -> None:
        """Name and value, one a line."""
        wide = max(map(len, values), default=0)
        for name, value in values.items():
            self.line(f"{name:<{wide}}  {cell(value)}")


def error_line(message: str) -> None:
    """Exactly one line on stderr."""
    sys.stderr.write(f"error: {' '.join(message.split())}\n")


def forget_reader() -> ExitCode:
    """Whoever read stdout has gone away, as `head` does: that is no error, and nothing more is written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter complains at its exit
    return ExitCode.OK


def cell(value: Any) -> str:
    """A value as people read it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1 else f"{value:,.2f}"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    return str(value)


def as_text(value: Any) -> str:
    """What JSON has no word for: dates and instants in ISO 8601."""
    return value.isoformat() if isinstance(value, datetime | date) else str(value)
