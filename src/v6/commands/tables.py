"""``v6 tables``: rows, size and last update of every table in the lake."""

from __future__ import annotations

from dataclasses import asdict

import typer

from v6.app import App
from v6.commands.command import Call, command
from v6.commands.output import error_line
from v6.errors import ExitCode, LakeError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="tables")(command(tables))


def tables(call: Call) -> int:
    """Show every table of the lake: rows, last update, files, size. One that is damaged is named: exit code 3."""
    from v6.data.lake_repair import all_tables
    from v6.data.table_summary import TableSummary, summarise

    lake = App(call.settings).lake
    lake.check_no_file()
    found: list[TableSummary] = []
    damaged: dict[str, str] = {}
    for name in all_tables(lake):
        try:
            found.append(summarise(lake, name))
        except LakeError as error:
            damaged[name] = str(error)
    if call.out.as_json:
        broken = [{"name": name, "error": text} for name, text in damaged.items()]
        call.out.json([*map(asdict, found), *broken])
    else:
        columns = ["table", "rows", "last update (UTC)", "files", "MB", "version"]
        rows = [(s.name, s.rows, s.updated_at, s.files, s.bytes / 1e6, s.version) for s in found]
        call.out.table(columns, [*rows, *((name, *[None] * 5) for name in damaged)])
    for text in damaged.values():
        error_line(text)
    return ExitCode.LAKE if damaged else ExitCode.OK
