"""``v6 gateway record`` and ``v6 gateway replay``: a session with any gateway on file, and a gateway from that file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v6.app import App
from v6.clock import Clock
from v6.commands.command import Call
from v6.errors import SettingsError

if TYPE_CHECKING:
    from v6.recordings.proxy import RecordingProxy
    from v6.recordings.recording import RecordingWriter
    from v6.recordings.replay import Replay

FLUSH_SECONDS = 0.25  # machine seconds


async def record(
    call: Call,
    *,
    recorded_host: Annotated[str, typer.Argument(metavar="HOST", help="where the gateway to be recorded is")],
    recorded_port: Annotated[int, typer.Argument(metavar="PORT", min=1, max=65535, help="its port")],
    to: Annotated[
        Path | None, typer.Option(help="the file; without it gateway-DAY-TIME.jsonl here. It must not exist")
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="listen here for clients, on 127.0.0.1; 0 takes a free one")
    ] = 4003,
    keep_holdings: Annotated[
        bool, typer.Option("--keep-holdings", help="leave quantities and average costs of positions in the file")
    ] = False,
) -> None:
    """Stand before a gateway, pass everything on, and write it to a file, without accounts, names and balances."""
    from v6.recordings.proxy import RecordingProxy
    from v6.recordings.recording import RecordingWriter
    from v6.recordings.redaction import Redactor

    clock = App(call.settings).clock
    began_at, began = clock.now(), clock.monotonic()
    path = to or Path(f"gateway-{began_at:%Y%m%d-%H%M%S}.jsonl")
    redactor = Redactor(keeps_holdings=keep_holdings)
    with RecordingWriter(path, began_at=began_at, elapsed=lambda: clock.monotonic() - began) as writer:
        proxy = RecordingProxy((recorded_host, recorded_port), writer, redactor)
        await _record(call, clock, proxy, writer, port=port)


async def replay(
    call: Call,
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a file that `v6 gateway record` wrote")],
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="listen here; 0 takes a free one; --gateway-port when left out")
    ] = None,
    host: Annotated[str | None, typer.Option(help="listen here; --gateway-host when left out")] = None,
    at_once: Annotated[bool, typer.Option("--at-once", help="answer without the recorded delays")] = False,
) -> None:
    """Serve a recorded session to any client, whatever ids it uses and in whatever order it asks."""
    from v6.recordings.recording import read_recording
    from v6.recordings.replay import Replay

    recording = read_recording(file)
    speed = App(call.settings).clock.speed
    clock = Clock(f"{recording.began_at.isoformat()}*{speed:g}")
    served = Replay(recording, clock=clock, at_once=at_once)
    await _replay(
        call, served, host=host or call.settings.gateway_host, port=call.settings.gateway_port if port is None else port
    )


async def _record(call: Call, clock: Clock, proxy: RecordingProxy, writer: RecordingWriter, *, port: int) -> None:
    from v6.signals import stop_on_signals

    stopped = asyncio.Event()
    with stop_on_signals(stopped.set):
        listening = await _listening(proxy.start("127.0.0.1", port), port)
        where = {"host": "127.0.0.1", "port": listening, "file": str(writer.path)}
        _announce(call, where, f"recording to {writer.path}")
        flushing = asyncio.create_task(_flush(writer, clock), name="recording flush")
        stopping = asyncio.create_task(stopped.wait(), name="stop")
        try:
            ends: set[asyncio.Future[Any]] = {flushing, stopping, proxy.failed}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            failure = _failure(flushing) or _failure(proxy.failed)
            for task in (flushing, stopping):
                task.cancel()
            await asyncio.gather(flushing, stopping, return_exceptions=True)
            await proxy.stop()
    if failure is not None:
        raise failure
    if not call.out.as_json:
        call.out.line(
            f"{writer.path}: {writer.frames:,} messages, {writer.left_out:,} left out for what they say of a person"
        )


def _failure(ended: asyncio.Future[None]) -> BaseException | None:
    return ended.exception() if ended.done() and not ended.cancelled() else None


async def _flush(writer: RecordingWriter, clock: Clock) -> None:
    while True:
        await clock.sleep(FLUSH_SECONDS * clock.speed)
        writer.flush()


async def _replay(call: Call, served: Replay, *, host: str, port: int) -> None:
    from v6.signals import stop_on_signals

    stopped = asyncio.Event()
    with stop_on_signals(stopped.set):
        listening = await _listening(served.start(host, port), port)
        where = {"host": host, "port": listening, "clock": str(served.clock.setting)}
        _announce(call, where, f"with V6_CLOCK={served.clock.setting}")
        try:
            await stopped.wait()
        finally:
            await served.stop()
    if not call.out.as_json:
        call.out.line(f"answered {served.asked:,} requests; {served.not_recorded:,} of them were not recorded")


async def _listening(starting: Awaitable[int], port: int) -> int:
    try:
        return await starting
    except OSError as error:
        raise SettingsError(f"port {port} cannot be listened on ({error.strerror}): choose another --port") from error


def _announce(call: Call, where: dict[str, Any], text: str) -> None:
    if call.out.as_json:
        call.out.json(where)
    else:
        call.out.line(f"listening on {where['host']}:{where['port']} {text}")
