"""``v6 sql``: one SELECT over the tables of the lake."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from v6.app import App
from v6.commands.command import Call, command

SHOWN_ROWS = 50


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="sql")(command(sql))


def sql(
    call: Call,
    text: Annotated[str, typer.Argument(help="a SELECT; every table has its own name", show_default=False)],
    *,
    to: Annotated[
        Path | None, typer.Option("--to", help="write to a file: .parquet, .csv or .arrow", show_default=False)
    ] = None,
) -> None:
    """Ask the tables in SQL: shows the first 50 rows, gives all with --json or --to."""
    from v6.readers import sql as reader
    from v6.readers.export import export

    found = reader.sql(text, lake=App(call.settings).lake).collect()
    if to is not None:
        call.out.line(f"{found.height:,} rows in {export(found, to)}")
    elif call.out.as_json:
        call.out.json(found.to_dicts())
    else:
        call.out.table(found.columns, found.head(SHOWN_ROWS).rows())
        if found.height > SHOWN_ROWS:
            call.out.line(f"… {found.height - SHOWN_ROWS:,} more rows: --json or --to FILE gives all")
