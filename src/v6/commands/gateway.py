"""``v6 gateway``: the simulated gateway in the foreground."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v6.app import App
from v6.clock import Clock, parse_utc
from v6.commands.command import Call, command
from v6.errors import SettingsError

if TYPE_CHECKING:
    from v6.simulator.instruments import MarketSource
    from v6.simulator.server import SimulatedGateway

LAST_SESSION = "last-session"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="gateway")(command(gateway))


async def gateway(
    call: Call,
    *,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="listen here; 0 takes a free one; --gateway-port when left out")
    ] = None,
    host: Annotated[str | None, typer.Option(help="listen here; --gateway-host when left out")] = None,
    seed: Annotated[int, typer.Option(help="the same seed gives the same market")] = 0,
    now: Annotated[
        str | None, typer.Option(metavar="INSTANT", help=f"its now: an ISO 8601 instant, or {LAST_SESSION}")
    ] = None,
    lines: Annotated[
        int | None, typer.Option(min=2, help="market-data lines; --market-data-lines when left out")
    ] = None,
    clients: Annotated[int, typer.Option(min=1, help="sessions at once")] = 32,
    account: Annotated[str, typer.Option(help="name of its account; it starts with SIM")] = "SIM000001",
    not_subscribed: Annotated[
        list[str] | None, typer.Option(metavar="SYMBOL", help="symbol without live data; may be repeated")
    ] = None,
    journal: Annotated[
        Path | None, typer.Option(help="write what it serves to this file, one JSON object a line")
    ] = None,
) -> None:
    """Run the simulated gateway until it is stopped. Prints one line when it listens."""
    app = App(call.settings)
    market = app.market(seed)
    clock = Clock(_clock_text(now, market, app.clock)) if now else app.clock
    served = app.simulated_gateway(
        market,
        clock=clock,
        host=host or call.settings.gateway_host,
        port=call.settings.gateway_port if port is None else port,
        seed=seed,
        market_data_lines=lines or call.settings.market_data_lines,
        max_clients=clients,
        account=account,
        not_subscribed=frozenset(not_subscribed or ()),
        journal=journal,
    )
    await _serve(call, served, clock)


async def _serve(call: Call, served: SimulatedGateway, clock: Clock) -> None:
    from v6.core.shutdown import stop_on_signals

    stopped = asyncio.Event()
    with stop_on_signals(stopped.set):
        await start(served)
        if call.out.as_json:
            call.out.json(
                {
                    "host": served.host,
                    "port": served.port,
                    "clock": str(clock.setting),
                    "account": served.options.account,
                }
            )
        else:
            call.out.line(f"listening on {served.host}:{served.port} with V6_CLOCK={clock.setting}")
        try:
            await stopped.wait()
        finally:
            await served.stop()


async def start(served: SimulatedGateway) -> None:
    """Listen. Raises SettingsError when the port is taken or the journal cannot be written."""
    try:
        await served.start()
    except OSError as error:
        reason = error.strerror or str(error)
        text = f"the simulated gateway cannot listen on {served.host}:{served.port} or write its journal: {reason}"
        raise SettingsError(f"{text}: choose another --port, --host or --journal") from error


def middle_of_last_session(market: MarketSource, now: datetime) -> datetime:
    """Half way between open and close of the last session that has ended."""
    opened, closed = market.last_completed_session(now)
    return opened + (closed - opened) / 2


def _clock_text(now: str, market: MarketSource, clock: Clock) -> str:
    if now == LAST_SESSION:
        return middle_of_last_session(market, clock.now()).isoformat()
    try:
        return parse_utc(now).isoformat()
    except ValueError as error:
        text = f"--now is wrong ({now!r}): write an instant such as 2026-11-23T17:30:00Z, or {LAST_SESSION}"
        raise SettingsError(text) from error
