"""The ledger as a heat map in the terminal: a line a series, a column a day, and the intervals by state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

from v6.commands.command import Call

if TYPE_CHECKING:
    from rich.text import Text

    from v6.scheduler.heat_map import Cell, Strip

SHADES = ((1.0, "█", "green"), (0.95, "▓", "green"), (0.5, "▒", "yellow"), (0.0001, "░", "red"), (0.0, "·", "red"))
AWAITED = ("~", "blue")
LEGEND = "█ whole  ▓ ≥ 95 %  ▒ ≥ 50 %  ░ less  · nothing  ~ still awaited"
ROOMY_DAYS = 23  # a month of sessions: so many have three places each, more have one
OTHER_COLUMNS = ("there", "of", "failed", "never asked", "lost")


def show(call: Call, strips: Sequence[Strip], days: tuple[date, date]) -> None:
    """Print the map and what its signs mean."""
    from rich.console import Console
    from rich.table import Table

    present = sorted({cell.day for strip in strips for cell in strip.cells})
    width = 3 if len(present) <= ROOMY_DAYS else 1
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(
        "series", no_wrap=True, vertical="bottom", min_width=12
    )  # the one that gives way to a narrow window
    table.add_column("symbol", no_wrap=True, vertical="bottom", min_width=6)
    table.add_column(heading(present, width), no_wrap=True, vertical="bottom", min_width=len(present) * width)
    for name in OTHER_COLUMNS:
        table.add_column(name, justify="right", no_wrap=True, vertical="bottom", min_width=max(6, len(name)))
    for strip in strips:
        name = f"{strip.request_type} {strip.series}"
        table.add_row(name, strip.symbol or "all", _line(strip, present, width), *_numbers(strip.counts))
    needed = len(present) * width + 120
    console = Console(width=None if call.out.is_terminal else max(240, needed), highlight=False, markup=False)
    console.print(f"{days[0]} to {days[1]}: {LEGEND}")
    console.print(table)


def heading(days: Sequence[date], width: int) -> str:
    """The days above their columns: months, then the days of the month, written downwards where there is one place."""
    months, covered = "", 0
    for index, day in enumerate(days):
        is_new = index == 0 or day.month != days[index - 1].month
        name = f"{day:%b %y}" if is_new and index * width >= covered else ""
        if name:
            months = months.ljust(index * width) + name
            covered = len(months) + 1
    if width > 1:
        return f"{months}\n{''.join(f'{day:%d}'.ljust(width) for day in days)}"
    return f"{months}\n{''.join(f'{day:%d}'[0] for day in days)}\n{''.join(f'{day:%d}'[1] for day in days)}"


def _line(strip: Strip, days: Sequence[date], width: int) -> Text:
    from rich.text import Text

    cells = {cell.day: cell for cell in strip.cells}
    line = Text()
    for day in days:
        mark, colour = _shade(cells.get(day))
        line.append((mark * max(1, width - 1)).ljust(width), colour)
    return line


def _shade(cell: Cell | None) -> tuple[str, str]:
    if cell is None:
        return " ", ""
    if cell.is_awaited:
        return AWAITED
    return next((mark, colour) for least, mark, colour in SHADES if cell.share >= least)


def _numbers(counts: Mapping[str, int]) -> list[str]:
    there = counts["fetched"] + counts["empty"]
    numbers = (there, sum(counts.values()), counts["failed"], counts["never_asked"], counts["lost"])
    return [f"{number:,}" for number in numbers]
