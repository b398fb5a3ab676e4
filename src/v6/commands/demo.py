"""``v6 demo``: the whole main job on the simulated gateway."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v6.commands.command import Call, command

if TYPE_CHECKING:
    from v6.demo.runner import DemoFolder, DemoResult

FOLDER = Path("data/demo")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="demo")(command(demo, stops_in_order=True))


async def demo(
    call: Call,
    *,
    seed: Annotated[int, typer.Option(min=0, help="the same seed gives the same market")] = 0,
    urgent: Annotated[bool, typer.Option(help="insert an urgent request in mid-demo and time it")] = True,
    folder: Annotated[Path, typer.Option(help="for the page, the journal and the logs")] = FOLDER,
    journal: Annotated[Path | None, typer.Option(help="the gateway's journal; journal.jsonl in the folder")] = None,
) -> None:
    """Collect chains, futures, bars and positions on the simulated gateway, and show them."""
    from v6.demo.runner import DemoFolder
    from v6.signals import cancel_on_signals

    places = DemoFolder(path=folder, journal=journal or folder / "journal.jsonl")
    with cancel_on_signals():
        result = await _run(call, places, seed=seed, urgent=urgent)
    if call.out.as_json:
        from v6.demo.report import figures

        call.out.json(figures(result, places))
    else:
        _print(call, result, places)


async def _run(call: Call, places: DemoFolder, *, seed: int, urgent: bool) -> DemoResult:
    import asyncio

    from v6.app import App
    from v6.demo.page import check_charts, write_page
    from v6.demo.runner import run_demo
    from v6.demo.view import live_view

    check_charts()
    with live_view() as show:
        result = await run_demo(call.settings, places, seed=seed, urgent=urgent, show=show)
    done = App(result.settings)
    await asyncio.to_thread(write_page, done.lake, places.page, as_of=done.clock.now())
    return result


def _print(call: Call, result: DemoResult, folder: DemoFolder) -> None:
    from v6.app import App
    from v6.demo.plan import STOCKS
    from v6.demo.report import CHAIN_COLUMNS, LIMIT_PER_SECOND, around_the_money, table_sizes

    out, lake = call.out, App(result.settings).lake
    out.table(["table", "rows", "MB"], [(s.name, s.rows, s.bytes / 1e6) for s in table_sizes(lake)])
    out.line("")
    chain = around_the_money(lake, STOCKS[0])
    out.table(CHAIN_COLUMNS, chain.rows(), title=f"{STOCKS[0]} around the money")
    out.line("")
    limit = LIMIT_PER_SECOND * result.settings.market_data_lines / 100
    out.fields(
        {
            "requests": f"{len(result.requests)}, all SUCCESS",
            "seconds": round(result.seconds, 1),
            "option rows": result.option_rows,
            "contracts a second": f"{result.contracts_per_second:.1f} of at most {limit:g}",
            "urgent request": "–" if result.urgent_seconds is None else f"{result.urgent_seconds:.2f} s",
            "lake": lake.url,
            "journal": str(folder.journal),
            "page": str(folder.page),
        }
    )
