"""The demo's processes: the simulated gateway and the worker, each with its log, ended whatever happens to the demo."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from v6.errors import ExitCode, GatewayUnavailable, LakeError, SettingsError, V6Error, WorkerBusy
from v6.settings import PREFIX, Settings, as_environment
from v6.signals import SIGNALS
from v6.tied import tied

READY_SECONDS = 60.0
STOP_SECONDS = 30.0
LOOK_SECONDS = 0.5
ERRORS: Mapping[int, type[V6Error]] = {
    ExitCode.USAGE: SettingsError,
    ExitCode.LAKE: LakeError,
    ExitCode.GATEWAY: GatewayUnavailable,
    ExitCode.BUSY: WorkerBusy,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Child:
    """One running process of ``v6``; what it says on stderr is in ``log``."""

    name: str
    process: Process
    log: Path

    async def finished(self) -> None:
        """Wait until it has ended. Raises the error that it ended with, as its one line says it."""
        code = await self.process.wait()
        if code != ExitCode.OK:
            raise self.error(code)

    def error(self, code: int) -> V6Error:
        """What went wrong in it."""
        said = [line for line in self.log.read_text(encoding="utf-8").splitlines() if line.startswith("error: ")]
        text = said[-1].removeprefix("error: ") if said else f"it ended with exit code {code}: see {self.log}"
        return ERRORS.get(code, V6Error)(f"the demo's {self.name}: {text}")


@dataclass(frozen=True, kw_only=True, slots=True)
class GatewayAddress:
    """Where the demo's gateway listens, and the clock it lives by."""

    host: str
    port: int
    clock: str
    account: str


@contextlib.asynccontextmanager
async def running(name: str, arguments: list[str], settings: Settings, log: Path) -> AsyncIterator[Child]:
    """A child ``v6 ARGUMENTS`` with these settings; when the context ends it is stopped, and killed if it stays."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *tied([sys.executable, "-m", "v6", *arguments]),
            env={**environment, **as_environment(settings)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=PIPE,
            stderr=stderr,
            start_new_session=True,  # Ctrl-C reaches the demo alone, which ends them in order
        )
    try:
        yield Child(name=name, process=process, log=log)
    finally:
        await asyncio.shield(_end(process))


async def address_of(gateway: Child) -> GatewayAddress:
    """Wait for the gateway's line that it listens. Raises V6Error with what it said when it ended instead."""
    stdout = gateway.process.stdout
    if stdout is None:
        raise V6Error("the demo's gateway was started without a pipe")
    try:
        async with asyncio.timeout(READY_SECONDS):
            line = await stdout.readline()
            if not line:
                raise gateway.error(await gateway.process.wait())
    except TimeoutError as error:
        text = f"the demo's gateway does not listen after {READY_SECONDS:.0f} s: see {gateway.log}"
        raise GatewayUnavailable(text) from error
    return GatewayAddress(**json.loads(line))


async def until_over(worker: Child, gateway: Child, look: Callable[[], Awaitable[bool]]) -> None:
    """Look every half second until a look says that everything has ended.

    Raises:
        V6Error: the worker failed, or the gateway is gone: the worker would wait for it for ever.
    """
    finished = asyncio.create_task(worker.finished(), name="demo worker")
    gone = asyncio.create_task(gateway.process.wait(), name="demo gateway")
    try:
        while not await look():
            await asyncio.wait({finished, gone}, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if finished.done():
                finished.result()
                raise V6Error(f"the demo's worker was stopped before it was done: see {worker.log}")
            if gone.done():
                raise gateway.error(gone.result())
    finally:
        finished.cancel()
        gone.cancel()


async def _end(process: Process) -> None:
    if process.returncode is not None:
        return
    for number in SIGNALS:  # told twice, the worker puts back at once what runs
        process.send_signal(number)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
