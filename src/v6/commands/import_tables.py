"""``v6 import``: older Delta tables into the lake."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from v6.app import App
from v6.commands.command import Call, command
from v6.commands.output import error_line
from v6.errors import ExitCode, TableDamaged, TableIncompatible, UsageError, V6Error

if TYPE_CHECKING:
    from v6.imports.fitting import Options
    from v6.imports.importer import Importer, Tally
    from v6.imports.rejects import Rejects

Pairs = list[str] | None


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="import")(command(import_tables))


async def import_tables(
    call: Call,
    source: Annotated[str, typer.Argument(help="a Delta table, or a folder with some")],
    *,
    table: Annotated[str | None, typer.Option(help="the table of the lake; guessed from name and columns")] = None,
    account: Annotated[str | None, typer.Option(help="the account that the rows came from")] = None,
    time_zone: Annotated[str, typer.Option(help="zone of times that name none")] = "UTC",
    columns: Annotated[Pairs, typer.Option("--map", metavar="OURS=THEIRS", help="take a column; repeatable")] = None,
    constants: Annotated[Pairs, typer.Option("--set", metavar="OURS=VALUE", help="one value for all rows")] = None,
    rejects: Annotated[Path, typer.Option(help="file for the rows that do not fit")] = Path("import-rejects.jsonl"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what would be done, and write nothing")] = False,
) -> int:
    """Import Delta tables of older programs. What is there already is not imported again: just repeat a run cut short.

    With --dry-run it shows by column what is taken from where, what would be null and why, and what does not fit. Of a
    folder, a table that cannot be imported is named, and the others are.
    """
    from v6.imports.rejects import Rejects, RejectsRefused
    from v6.imports.source import source_tables

    app = App(call.settings)
    options = _options(time_zone, columns or [], constants or [])
    urls = list(source_tables(source))
    listed = None if dry_run else Rejects(rejects)
    done: list[dict[str, Any]] = []
    failures: list[V6Error] = []
    for url in urls:
        try:
            done.append(await asyncio.to_thread(_one, call, app, url, table, account, options, listed))
        except (UsageError, TableDamaged, TableIncompatible) as error:  # of that table: the others are imported
            if url == source or isinstance(error, RejectsRefused):
                raise
            error_line(str(error))
            failures.append(error)
            done.append({"source": url, "error": str(error)})
    if call.out.as_json:
        call.out.json(done)
    return failures[0].exit_code if failures else ExitCode.OK


def _one(  # noqa: PLR0917 - each is one of the command's options
    call: Call,
    app: App,
    url: str,
    table: str | None,
    account: str | None,
    options: Options,
    rejects: Rejects | None,
) -> dict[str, Any]:
    """Import one table; without ``rejects`` only look at it."""
    from v6.imports.importer import Importer

    importer = Importer(app.lake, url, table=table, options=options, clock=app.clock)
    owner = _account(app, url, account)
    if rejects is None:
        tally = importer.look()
        if not call.out.as_json:
            _show(call, importer, tally)
    else:
        from v6.data.lake_account import LakeAccount

        app.lake.check_usable()
        LakeAccount(app.lake, clock=app.clock).check(owner)
        tally = importer.run(rejects)
    if not call.out.as_json:
        _sum_up(call, importer, tally, rejects)
    return _as_json(importer, tally, owner, dry_run=rejects is None)


def _account(app: App, url: str, given: str | None) -> str:
    """Whose rows they are: simulated and real ones never mix. Raises UsageError, AccountMismatch."""
    from v6.data.lake import Lake
    from v6.data.lake_account import LakeAccount
    from v6.errors import AccountMismatch

    theirs = LakeAccount(Lake(url.rstrip("/").rpartition("/")[0] or ".")).account()
    ours = LakeAccount(app.lake).account()
    account = given or theirs
    if account is None:
        raise UsageError(
            f"{url} does not say which account its rows came from: say --account NAME"
            + (f" (the lake's is {ours})" if ours else "")
        )
    if (theirs and account != theirs) or (ours and account != ours):
        raise AccountMismatch(
            f"the rows of {url} are of account {theirs or account}, and the lake {app.lake.url} is of "
            f"{ours or account}: import them into a lake of their own"
        )
    return account


def _options(time_zone: str, columns: Sequence[str], constants: Sequence[str]) -> Options:
    from v6.imports.fitting import Options

    try:
        ZoneInfo(time_zone)
    except (KeyError, ValueError, OSError) as error:  # one of the folders of zones is no zone
        raise UsageError(f"--time-zone {time_zone} is not known: say UTC, America/New_York, …") from error
    return Options(zone=time_zone, chosen=_pairs("--map", columns), constants=_pairs("--set", constants))


def _pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{option} {text}: say {option} OURS=THEIRS")
        pairs[name.strip()] = value.strip()
    return pairs


def _show(call: Call, importer: Importer, tally: Tally) -> None:
    fits = tally.read - tally.rejected
    rows = [(m.column, m.source or None, m.how, tally.nulls[m.column]) for m in importer.fitting.mapping()]
    call.out.table(
        ["column", "from", "how", f"null of {fits:,}"], rows, title=f"{importer.source.url} → {importer.table}"
    )
    if importer.fitting.unused:
        call.out.line(f"not taken: {', '.join(importer.fitting.unused)}")


def _sum_up(call: Call, importer: Importer, tally: Tally, rejects: Rejects | None) -> None:
    there = "" if rejects is None else f", {tally.there:,} there already"
    verb = "would be imported at most" if rejects is None else "imported"
    call.out.line(
        f"{importer.source.name} → {importer.table}: {tally.read:,} rows in {tally.files:,} files: "
        f"{tally.imported:,} {verb}{there}, {tally.rejected:,} do not fit"
    )
    for reason, count in tally.reasons.most_common(10):
        call.out.line(f"  {count:,} rows: {reason}")
    if tally.rejected and rejects is not None:
        call.out.line(f"  they are in {rejects.path}")
    for name, count in tally.unreadable.most_common():
        call.out.line(f"  {count:,} values of {name} cannot be read, such as {tally.example[name]!r}: taken as null")


def _as_json(importer: Importer, tally: Tally, account: str, *, dry_run: bool) -> dict[str, Any]:
    return {
        "source": importer.source.url,
        "version": importer.source.version,
        "table": importer.table,
        "account": account,
        "dry_run": dry_run,
        "read": tally.read,
        "imported": tally.imported,
        "there": tally.there,
        "rejected": tally.rejected,
        "reasons": dict(tally.reasons),
        "unreadable": dict(tally.unreadable),
        "columns": [
            {"column": m.column, "from": m.source or None, "how": m.how, "nulls": tally.nulls[m.column]}
            for m in importer.fitting.mapping()
        ],
        "unused": importer.fitting.unused,
    }
