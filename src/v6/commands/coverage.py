"""``v6 coverage``: what was expected and is there, by day and symbol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v6.app import App
from v6.commands.command import Call, command
from v6.commands.ledger_days import Day, LastDay, Symbol, asked_days, settled_ledger
from v6.errors import RequestError

if TYPE_CHECKING:
    import polars as pl

    from v6.scheduler.heat_map import Cell, Strip

Type = Annotated[str | None, typer.Option("--type", help="only this request type")]
SHADES = ((1.0, "█", "green"), (0.95, "▓", "green"), (0.5, "▒", "yellow"), (0.0001, "░", "red"), (0.0, "·", "red"))
AWAITED = ("~", "blue")
COLOURS = {
    "fetched": "#2a9d5c",
    "empty": "#8bc5a4",
    "expected": "#6c9bd2",
    "failed": "#e07b39",
    "never_asked": "#e0b339",
    "lost": "#b3263a",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="coverage")(command(coverage))


async def coverage(
    call: Call,
    *,
    first: Day = None,
    last: LastDay = None,
    symbol: Symbol = None,
    request_type: Type = None,
    picture: Annotated[
        Path | None, typer.Option(help="draw it into this file: .png, .svg or .html (needs v6[charts])")
    ] = None,
) -> None:
    """Show by day and symbol how much of what was expected is there: a heat map, and the intervals by state."""
    from v6.scheduler.heat_map import strips_of

    app = App(call.settings)
    app.lake.check_usable()
    days = asked_days(app, first, last)
    await settled_ledger(app)
    frame = _frame(app, days, symbol, request_type)
    strips = strips_of(frame)
    if picture is not None:
        _draw(frame, picture)
    if call.out.as_json:
        call.out.json({"first": days[0], "last": days[1], "series": [strip.as_row() for strip in strips]})
        return
    if not strips:
        call.out.line(
            "nothing was expected in these days: `v6 schedule list` shows what is, `v6 scheduler` asks for it"
        )
        return
    _show(call, strips, days)


def _frame(app: App, days: tuple[date, date], symbol: str | None, request_type: str | None) -> pl.DataFrame:
    import polars as pl

    from v6.data.coverage import CoverageTable, keys_of
    from v6.scheduler.heat_map import frame_of, undecided_rows

    table = CoverageTable(app.lake, clock=app.clock)
    shown = ("request_type", "symbol", "series", "date", "state")
    stored = table.current(symbol=symbol, request_type=request_type, first=days[0], last=days[1]).collect()
    new = frame_of(undecided_rows(app.schedules, table.last_slots(), app.clock.now(), known=keys_of(stored)))
    new = new.filter(pl.col("date").is_between(*days))
    for name, value in (("symbol", symbol), ("request_type", request_type)):
        new = new if value is None else new.filter(pl.col(name) == value)
    return pl.concat([stored.select(shown), new])


def _show(call: Call, strips: Sequence[Strip], days: tuple[date, date]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    present = sorted({cell.day for strip in strips for cell in strip.cells})
    table = Table("series", "symbol", box=None, pad_edge=False, header_style="bold", title_justify="left")
    for day in present:
        table.add_column(f"{day:%d}", justify="center")
    for name in ("there", "of", "failed", "never asked", "lost"):
        table.add_column(name, justify="right")
    for strip in strips:
        cells = {cell.day: cell for cell in strip.cells}
        shades = [Text(*_shade(cells.get(day))) for day in present]
        table.add_row(f"{strip.request_type} {strip.series}", strip.symbol or "all", *shades, *_numbers(strip.counts))
    console = Console(width=None if call.out.is_terminal else 240, highlight=False, markup=False)
    console.print(f"{days[0]} to {days[1]}: █ whole  ▓ ≥ 95 %  ▒ ≥ 50 %  ░ less  · nothing  ~ still awaited")
    console.print(table)


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


def _draw(frame: pl.DataFrame, path: Path) -> None:
    import polars as pl

    from v6.errors import SettingsError

    try:
        import altair
    except ModuleNotFoundError as error:
        raise SettingsError(f"a picture needs the package {error.name}: pip install 'v6[charts]'") from error
    if path.suffix not in (".png", ".svg", ".html"):
        raise RequestError(f"--picture {path} must end in .png, .svg or .html")
    name = pl.concat_str(["symbol", "request_type", "series"], separator=" ").alias("of")
    counted = frame.group_by(name, pl.col("date").cast(pl.String), "state").len()
    states = list(COLOURS)
    chart = (
        altair.Chart(counted)
        .mark_bar()
        .encode(
            x=altair.X("date:O", title="trading date"),
            y=altair.Y("sum(len):Q", title=None, stack="normalize", axis=altair.Axis(format="%")),
            color=altair.Color("state:N", scale=altair.Scale(domain=states, range=list(COLOURS.values()))),
            row=altair.Row("of:N", title=None, header=altair.Header(labelAngle=0, labelAlign="left")),
        )
        .properties(height=28)
    )
    chart.save(str(path), **({"inline": True} if path.suffix == ".html" else {}))
