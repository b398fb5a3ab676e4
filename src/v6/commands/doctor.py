"""``v6 doctor``: walks the chain from settings to rows, each link with a verdict and what to do."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from v6.app import App
from v6.commands.command import Call, command
from v6.errors import ExitCode

if TYPE_CHECKING:
    from v6.doctor.finding import Finding

SYMBOLS = ["SPY", "QQQ", "IWM", "ES", "NQ", "RTY"]
MARKS = {"ok": "ok      ", "warning": "WARNING ", "problem": "PROBLEM ", "skipped": "skipped "}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="doctor")(command(doctor))


async def doctor(
    call: Call,
    *,
    symbol: Annotated[
        list[str] | None,
        typer.Option(help=f"ask what data it gets; may be repeated; {', '.join(SYMBOLS)} when left out"),
    ] = None,
    tables: Annotated[bool, typer.Option("--tables", help="look at the files of every table instead")] = False,
    table: Annotated[list[str] | None, typer.Option(help="only this table's files; may be repeated")] = None,
    deep: Annotated[bool, typer.Option("--deep", help="with --tables: read every row as well")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="with --tables: repair what is damaged, after asking")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="repair without asking")] = False,
) -> int:
    """Look at settings, lake, disk, tables, queue, worker, scheduler, gateway, client id, account, clock, farms, market
    data of each symbol, and the calendars. Exit code 7 when something is a problem.

    It changes nothing and opens a short session of its own. With --tables it looks at the files of every table instead
    and, when some are damaged, asks whether to repair them (docs/durability.md).
    """
    if tables or table or deep or repair or yes:
        from v6.commands.doctor_tables import doctor_tables

        return await asyncio.to_thread(doctor_tables, call, table or [], deep=deep, repair=repair, yes=yes)
    from v6.doctor.examination import examine
    from v6.doctor.finding import Verdict

    found: list[Finding] = []
    symbols = [text.strip().upper() for text in symbol or SYMBOLS]
    async for finding in examine(App(call.settings), call.in_force, symbols):
        found.append(finding)
        if not call.out.as_json:
            _show(call, finding)
    problems = sum(finding.verdict is Verdict.PROBLEM for finding in found)
    if call.out.as_json:
        call.out.json({"problems": problems, "findings": [asdict(finding) for finding in found]})
    else:
        call.out.line(f"{problems} problems" if problems else "no problem found")
    return ExitCode.UNHEALTHY if problems else ExitCode.OK


def _show(call: Call, finding: Finding) -> None:
    call.out.line(f"{MARKS[finding.verdict]}{finding.check:<20} {finding.seen}")
    if finding.advice:
        call.out.line(f"{'':8}{'':<20} → {finding.advice}")
