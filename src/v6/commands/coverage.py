"""``v6 coverage``: what was expected and is there, by day and symbol."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v6.app import App
from v6.commands.command import Call, command
from v6.commands.coverage_map import show
from v6.commands.coverage_picture import draw
from v6.commands.ledger_days import Day, LastDay, Symbol, asked_days, settled_ledger

if TYPE_CHECKING:
    import polars as pl

Type = Annotated[str | None, typer.Option("--type", help="only this request type")]


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
    app.lake.check_no_file()
    days = asked_days(app, first, last)
    await settled_ledger(app)
    frame = _frame(app, days, symbol, request_type)
    strips = strips_of(frame)
    if picture is not None and strips:
        draw(strips, days, picture)
    if call.out.as_json:
        call.out.json({"first": days[0], "last": days[1], "series": [strip.as_row() for strip in strips]})
        return
    if not strips:
        call.out.line(
            "nothing was expected in these days: `v6 schedule list` shows what is, `v6 scheduler` asks for it"
        )
        return
    show(call, strips, days)


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
