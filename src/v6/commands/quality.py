"""``v6 quality``: the quality report of a trading date, as text, page and CSV."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from v6.app import App
from v6.commands.command import Call, command
from v6.errors import ExitCode, UsageError

SHOWN = ("date", "timestamp", "rows_examined", "flagged", "quarantined")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="quality")(command(quality))


def quality(
    call: Call,
    *,
    symbol: Annotated[
        str | None,
        typer.Option("--symbol", help="the report of one symbol alone; without it that of all", show_default=False),
    ] = None,
    day: Annotated[
        str | None, typer.Option("--day", help="trading date, YYYY-MM-DD; without it the last one", show_default=False)
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="folder to write the page and the CSV to", show_default=False)
    ] = None,
) -> int:
    """Show what a quality report found. `v6 submit quality_report` makes one; the scheduler does after each close."""
    from v6.readers.quality import quality_flags, quality_reports

    wanted = _date(day)
    lake = App(call.settings).lake
    report = quality_reports(symbol=symbol, first=wanted, last=wanted, lake=lake).last().collect()
    if report.is_empty():
        what = " ".join(("there is no quality report", *(f"of {part}" for part in (symbol, day) if part)))
        call.out.line(f"{what}: v6 submit quality_report{f' {symbol}' if symbol else ''}")
        return ExitCode.OK
    found: date = report["date"][0]
    flags = quality_flags(symbol=symbol, first=found, last=found, lake=lake).collect()
    groups = (
        flags.group_by("table_name", "check", "action", "symbol").len("findings").sort("table_name", "check", "symbol")
    )
    written = [] if to is None else _write(report, to)
    if call.out.as_json:
        fields = report.select(SHOWN).row(0, named=True)
        call.out.json({**fields, "findings": groups.to_dicts(), "files": [str(path) for path in written]})
        return ExitCode.OK
    call.out.fields(report.select(SHOWN).row(0, named=True))
    call.out.table(groups.columns, groups.rows())
    for path in written:
        call.out.line(f"written: {path}")
    return ExitCode.OK


def _date(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--day {text!r} is no date: write it as YYYY-MM-DD") from error


def _write(report: pl.DataFrame, folder: Path) -> list[Path]:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--to {folder} is a file: name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for kind in ("html", "csv"):
        name = "-".join(part for part in ("quality", report["scope"][0], str(report["date"][0])) if part)
        path = folder / f"{name}.{kind}"
        path.write_text(report[kind][0], encoding="utf-8")
        written.append(path)
    return written
