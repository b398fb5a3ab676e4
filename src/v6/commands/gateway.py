"""``v6 gateway``: the simulated gateway in the foreground, and faults for one that runs."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable, Coroutine
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v6.app import App
from v6.clock import Clock, parse_utc
from v6.commands.command import Call, command
from v6.commands.recording import record, replay
from v6.errors import ExitCode, GatewayUnavailable, SettingsError, UsageError

if TYPE_CHECKING:
    from v6.simulator.fault_script import FaultScript
    from v6.simulator.instruments import MarketSource
    from v6.simulator.server import SimulatedGateway

LAST_SESSION = "last-session"
CONTROL_SECONDS = 10.0


class OverLimit(StrEnum):
    """What becomes of a message above the limit."""

    REJECT = "reject"
    QUEUE = "queue"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(invoke_without_command=True, no_args_is_help=False)
    group.callback(help=gateway.__doc__)(unless_followed(command(gateway, stops_in_order=True)))
    group.command(name="fault")(command(fault))
    group.command(name="record")(command(record))
    group.command(name="replay")(command(replay))
    app.add_typer(group, name="gateway")


def unless_followed(run: Callable[..., int]) -> Callable[..., int]:
    """A group's own command, which does nothing when a command of the group follows."""

    @functools.wraps(run)
    def own(context: typer.Context, **values: Any) -> int:
        code = ExitCode.OK if context.invoked_subcommand else run(context, **values)
        if code:
            raise typer.Exit(code)
        return code

    return own


async def gateway(
    call: Call,
    *,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="listen here; 0 takes a free one; --gateway-port when left out")
    ] = None,
    host: Annotated[str | None, typer.Option(help="listen here; --gateway-host when left out")] = None,
    seed: Annotated[int, typer.Option(min=0, help="the same seed gives the same market")] = 0,
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
    faults: Annotated[Path | None, typer.Option(help="a fault script: what fails, and when")] = None,
    control_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="take orders for faults here, on 127.0.0.1; 0 takes a free one")
    ] = None,
    over_limit: Annotated[
        OverLimit, typer.Option(help="a message above the limit: reject it (error 100), or queue it")
    ] = OverLimit.REJECT,
) -> None:
    """Run the simulated gateway until it is stopped. Prints one line when it listens."""
    app = App(call.settings)
    market = app.market(seed)
    clock = Clock(simulated_now(now, market, app.clock).isoformat()) if now else app.clock
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
        faults=_script(faults),
        control_port=control_port,
        over_limit=over_limit.value,
    )
    await _serve(call, served, clock)


async def _serve(call: Call, served: SimulatedGateway, clock: Clock) -> None:
    from v6.signals import stop_on_signals

    stopped = asyncio.Event()
    with stop_on_signals(stopped.set):
        await start(served)
        _announce(call, served, clock)
        try:
            await first_of(stopped.wait(), served.journal_broken())
        finally:
            seen = served.status()
            await served.stop()
        _check_journal(served)
        if not call.out.as_json:
            call.out.line(
                f"served {seen['messages']:,} messages; the largest window was {seen['largest_window']} in a second"
                f" of at most {seen['messages_per_second']}; errors sent: {seen['errors'] or 'none'}"
            )


async def first_of(*waits: Coroutine[Any, Any, object]) -> None:
    """Wait until one of them has ended; the others are cancelled."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _check_journal(served: SimulatedGateway) -> None:
    """Raises SettingsError when something that was served does not stand in it."""
    error = served.journal_failure
    if error is not None:
        raise SettingsError(
            f"the journal {served.options.journal} cannot be written any more: {error.strerror or error}: "
            "make room, or choose another --journal"
        ) from error


def _announce(call: Call, served: SimulatedGateway, clock: Clock) -> None:
    where = {"host": served.host, "port": served.port, "clock": str(clock.setting), "account": served.options.account}
    control = {} if served.control_port is None else {"control_port": served.control_port}
    if call.out.as_json:
        call.out.json({**where, **control})
        return
    text = f"listening on {served.host}:{served.port} with V6_CLOCK={clock.setting}"
    call.out.line(f"{text}, faults on port {served.control_port}" if control else text)


def _script(path: Path | None) -> FaultScript:
    from v6.simulator.fault_script import FaultScript, FaultScriptError, load_fault_script

    if path is None:
        return FaultScript()
    try:
        return load_fault_script(path)
    except FaultScriptError as error:
        raise SettingsError(str(error)) from error


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


def simulated_now(text: str, market: MarketSource, clock: Clock) -> datetime:
    """The instant that --now names. Raises SettingsError when it is none, or none of the simulated market's."""
    from v6.market_sessions import FIRST_DAY, LAST_DAY

    if text == LAST_SESSION:
        return middle_of_last_session(market, clock.now())
    try:
        instant = parse_utc(text)
    except ValueError as error:
        wrong = f"--now is wrong ({text!r}): write an instant such as 2026-11-23T17:30:00Z, or {LAST_SESSION}"
        raise SettingsError(wrong) from error
    if not FIRST_DAY <= instant.date() <= LAST_DAY:
        raise SettingsError(f"--now is wrong ({text!r}): the simulated market lives from {FIRST_DAY} to {LAST_DAY}")
    return instant


async def fault(
    call: Call,
    *,
    order: Annotated[
        list[str],
        typer.Argument(metavar="FAULT [NAME=VALUE]...", help="such as restart seconds=5; or status, or clear"),
    ],
    control_port: Annotated[int, typer.Option(min=1, max=65535, help="where the gateway takes orders")],
) -> None:
    """Make a running simulated gateway fail, ask for its status, or clear its faults."""
    answer = await _ordered(control_port, _as_order(order))
    if not answer.pop("ok"):
        raise UsageError(f"the gateway refused {order[0]}: {answer['error']}")
    call.out.json(answer)


def _as_order(words: list[str]) -> dict[str, str]:
    if words in (["status"], ["clear"]):
        return {"command": words[0]}
    pairs = [word.partition("=") for word in words[1:]]
    wrong = next((word for word, (_, equals, _) in zip(words[1:], pairs, strict=True) if not equals), None)
    if wrong is not None:
        raise UsageError(f"{wrong!r} is no NAME=VALUE: write such as seconds=5")
    return {"do": words[0], **{name: value for name, _, value in pairs}}


async def _ordered(port: int, order: dict[str, str]) -> dict[str, Any]:
    try:
        async with asyncio.timeout(CONTROL_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(json.dumps(order).encode() + b"\n")
                answer: dict[str, Any] = json.loads(await reader.readline())
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError) as error:
        text = f"no simulated gateway takes orders on 127.0.0.1:{port}: start one with --control-port {port}"
        raise GatewayUnavailable(text) from error
    return answer
