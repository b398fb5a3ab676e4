"""``v6 coverage`` and ``v6 backfill``: what was expected and is there, and the requests that fill the holes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v6.app import App
from v6.commands.command import Call, command
from v6.errors import RequestError

if TYPE_CHECKING:
    import polars as pl

    from v6.data.coverage import CoverageRow
    from v6.scheduler.backfill import Fill
    from v6.scheduler.heat_map import Cell, Strip
    from v6.scheduler.ledger import Ledger

Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="first day; without it 14 days back")]
LastDay = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="last day; without it today")]
Symbol = Annotated[str | None, typer.Option(help="only this symbol")]
Type = Annotated[str | None, typer.Option("--type", help="only this request type")]
DAYS = 14
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
    """Add the commands."""
    app.command(name="coverage")(command(coverage))
    app.command(name="backfill")(command(backfill))


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
    days = _days(app, first, last)
    await _settle(app)
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


async def backfill(
    call: Call,
    *,
    first: Day = None,
    last: LastDay = None,
    symbol: Symbol = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what would be asked, and ask nothing")] = False,
) -> None:
    """Ask for what is missing and can still be had, at priority 3, in as few requests as IB's pages allow."""
    from v6.scheduler.backfill import ask, plan_backfill

    app = App(call.settings)
    app.lake.check_usable()
    days = _days(app, first, last)
    ledger = await _settle(app)
    fills = plan_backfill(ledger.holes(first=days[0], last=days[1], symbol=symbol), app.schedules, app.clock.now())
    if fills and not dry_run:
        queue = app.queue(source="backfill")
        try:
            await ask(fills, queue, ledger)
        finally:
            await queue.close()
    _report(call, fills, asked=not dry_run)


async def _settle(app: App) -> Ledger:
    """The ledger, after it has taken in how the requests have ended."""
    from v6.scheduler.ledger import Ledger

    ledger = Ledger(app.lake, app.clock, history_types=app.history_types)
    waiting = ledger.waiting()
    if waiting:
        queue = app.queue(source="cli")
        try:
            ledger.settle(waiting, (await queue.open_requests()).keys())
        finally:
            await queue.close()
    return ledger


def _days(app: App, first: datetime | None, last: datetime | None) -> tuple[date, date]:
    today = app.clock.now().date()
    begin = first.date() if first is not None else today - timedelta(days=DAYS - 1)
    end = last.date() if last is not None else max(today, begin)
    if begin > end:
        raise RequestError(f"--first {begin} is after --last {end}")
    return begin, end


def _frame(app: App, days: tuple[date, date], symbol: str | None, request_type: str | None) -> pl.DataFrame:
    import polars as pl

    from v6.data.coverage import CoverageTable
    from v6.scheduler.heat_map import frame_of, undecided_rows

    table = CoverageTable(app.lake, clock=app.clock)
    shown = ("request_type", "symbol", "series", "date", "state")
    stored = (
        table.current(symbol=symbol, request_type=request_type, first=days[0], last=days[1]).select(shown).collect()
    )
    nobody: Sequence[CoverageRow] = undecided_rows(app.schedules, table.last_slots(), app.clock.now())
    new = frame_of(nobody).filter(pl.col("date").is_between(*days))
    for name, value in (("symbol", symbol), ("request_type", request_type)):
        new = new if value is None else new.filter(pl.col(name) == value)
    return pl.concat([stored, new])


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


def _report(call: Call, fills: Sequence[Fill], *, asked: bool) -> None:
    seconds = sum(fill.seconds for fill in fills)
    holes = sum(len(fill.holes) for fill in fills)
    if call.out.as_json:
        call.out.json({"asked": asked, "requests": [_as_row(f) for f in fills], "holes": holes, "seconds": seconds})
        return
    if not fills:
        call.out.line("there are no holes that can be filled")
        return
    rows = [tuple(_as_row(fill).values()) for fill in fills]
    call.out.table(("request type", "symbol", "what", "from", "to", "holes", "seconds"), rows)
    verb = "asked" if asked else "would be asked"
    call.out.line(
        f"{len(fills)} requests for {holes} holes {verb}; about {timedelta(seconds=round(seconds))} of the gateway"
    )


def _as_row(fill: Fill) -> dict[str, Any]:
    first, last = fill.holes[0].interval, fill.holes[-1].interval
    return {
        "request_type": first.request_type,
        "symbol": first.symbol,
        "series": first.series,
        "from": first.timestamp,
        "to": last.interval_end,
        "holes": len(fill.holes),
        "seconds": fill.seconds,
    }
