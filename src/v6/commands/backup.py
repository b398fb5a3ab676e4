"""``v6 backup`` and ``v6 restore``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from v6.app import App
from v6.commands.command import Call, command


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(name="backup")(command(backup))
    app.command(name="restore")(command(restore))


async def backup(
    call: Call, target: Annotated[Path, typer.Argument(help="folder of the backups, better on another disk")]
) -> None:
    """Copy the lake, while it is used, to a new folder below TARGET. What the copy calls a success has its rows in it.

    Files that an earlier backup below TARGET has are linked to it and cost no room.
    """
    from v6.data.backup import back_up

    app = App(call.settings)
    made = await asyncio.to_thread(back_up, app.lake, target, now=app.clock.machine_now())
    if call.out.as_json:
        tables = {table.name: {"version": table.version, "rows": table.rows} for table in made.tables}
        call.out.json({"backup": str(made.folder), "tables": tables, "bytes": made.copied, "linked": made.linked})
        return
    rows = sum(table.rows for table in made.tables)
    call.out.line(
        f"{made.folder}: {len(made.tables)} tables, {rows:,} rows, {made.copied / 1e6:,.1f} MB copied, "
        f"{made.linked:,} files linked to the backup before"
    )


async def restore(
    call: Call, source: Annotated[Path, typer.Argument(help="one backup: a folder with backup.json")]
) -> None:
    """Copy a backup to where the lake shall be (--lake, V6_LAKE), which must be an empty folder or none."""
    from v6.data.restore import restore as copy_back

    app = App(call.settings)
    manifest = await asyncio.to_thread(copy_back, source, app.lake)
    if call.out.as_json:
        call.out.json({"lake": app.lake.url, **{name: manifest[name] for name in ("account", "created_at", "tables")}})
        return
    call.out.line(f"{app.lake.url}: {len(manifest['tables'])} tables as of {manifest['created_at']}")
