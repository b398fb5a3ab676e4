"""``v6 maintain``: small files joined, the queue's finished days folded, old rows, files and log entries dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from v6.app import App
from v6.commands.command import Call, command
from v6.commands.output import error_line
from v6.errors import ExitCode

if TYPE_CHECKING:
    from v6.maintenance.report import TableReport

COLUMNS = ("table", "files", "then", "joined", "rows folded", "rows expired", "deleted", "MB", "log files", "seconds")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="maintain")(command(maintain))


def maintain(
    call: Call,
    *,
    table: Annotated[list[str] | None, typer.Option(help="only this table; may be given again")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what there is to do, and change nothing")] = False,
) -> int:
    """Maintain the lake's tables now, beside whatever works on them; the worker does so by itself."""
    app = App(call.settings)
    app.lake.check_no_file() if dry_run else app.lake.check_usable()
    rounds = app.maintainer().round(table or (), dry_run=dry_run, thorough=True)
    reports = list(rounds)
    if call.out.as_json:
        call.out.json({"dry_run": dry_run, "tables": [report.as_row() for report in reports]})
    elif reports:
        _show(call, reports, dry_run=dry_run)
    else:
        call.out.line(f"there are no tables in {app.lake.url}: a worker makes them")
    for report in reports:
        if report.error is not None:
            error_line(report.error)
    return ExitCode.LAKE if any(report.error is not None for report in reports) else ExitCode.OK


def _show(call: Call, reports: Sequence[TableReport], *, dry_run: bool) -> None:
    rows = [
        (
            r.table,
            r.files_before,
            None if dry_run or r.error else r.files_after,
            r.joined,
            r.folded_rows,
            r.expired_rows,
            r.deleted_files,
            round(r.deleted_bytes / 1e6, 1),
            r.log_files,
            r.seconds,
        )
        for r in reports
    ]
    call.out.table(COLUMNS, rows, title="to do" if dry_run else None)
