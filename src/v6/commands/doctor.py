"""``v6 doctor``: walks the chain from settings to rows, each link with a verdict and what to do."""

from __future__ import annotations

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
) -> int:
    """Look at settings, lake, disk, tables, queue, worker, scheduler, gateway, client id, account, clock, farms, market
    data of each symbol, and the calendars. Exit code 7 when something is a problem.

    It changes nothing and opens a short session of its own.
    """
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
