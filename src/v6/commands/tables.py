"""``v6 tables``: rows, size and last update of every table in the lake."""

from __future__ import annotations

from dataclasses import asdict

import typer

from v6.app import App
from v6.commands.command import Call, command


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="tables")(command(tables))


def tables(call: Call) -> None:
    """Show every table of the lake: rows, last update, files, size."""
    from v6.data.table_summary import summarise

    lake = App(call.settings).lake
    lake.check_usable()
    found = [summarise(lake, name) for name in lake.table_names()]
    if call.out.as_json:
        call.out.json([asdict(summary) for summary in found])
        return
    columns = ["table", "rows", "last update (UTC)", "files", "MB", "version"]
    rows = [(s.name, s.rows, s.updated_at, s.files, s.bytes / 1e6, s.version) for s in found]
    call.out.table(columns, rows)
