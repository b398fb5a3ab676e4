"""One daemon under supervision: a child process, started again with growing pauses when it falls."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping, Sequence

from v6.clock import Clock
from v6.errors import ExitCode, V6Error
from v6.events import EventBus
from v6.supervisor.supervisor_events import DaemonEnded, DaemonFell, DaemonStarted
from v6.tied import tied

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
STEADY_SECONDS = 60.0  # who ran so long has not fallen at once: the pauses begin anew
STOP_SECONDS = 60.0  # longer than any grace by default; then it is killed
LINE_BYTES = 2**20
# What no restart mends: a person has to correct a setting, the lake or a second worker of the name.
HOPELESS = frozenset({ExitCode.USAGE, ExitCode.LAKE, ExitCode.BUSY})


class DaemonFailed(V6Error):
    """A daemon cannot run; text and exit code are its own."""

    def __init__(self, text: str, exit_code: ExitCode) -> None:
        super().__init__(text)
        self.exit_code = exit_code  # type: ignore[misc] # its own instead of its class's


class Daemon:
    """A program as a child. Seconds here are the machine's."""

    def __init__(
        self,
        *,
        name: str,
        program: Sequence[str],
        environment: Mapping[str, str],
        clock: Clock,
        events: EventBus,
        say: Callable[[str], None],
        announces: bool = False,
    ) -> None:
        """``say`` gets each line of its log; one that ``announces`` is ready when it writes a line to stdout."""
        self.name = name
        self._program = program
        self._environment = environment
        self._clock = clock
        self._events = events
        self._say = say
        self._announces = announces
        self.ready = asyncio.Event()
        self._process: Process | None = None
        self._stopping = asyncio.Event()
        self._last_line = ""

    async def run(self) -> None:
        """Keep it running until ``stop``. Raises DaemonFailed where starting it again cannot help."""
        falls = 0
        while not self._stopping.is_set():
            began = self._clock.machine_monotonic()
            code = await self._run_once()
            if self._stopping.is_set():
                self._events.emit(DaemonEnded(daemon=self.name, exit_code=code))
                return
            if code in HOPELESS:
                raise DaemonFailed(
                    f"the {self.name} cannot run: {self._last_line.removeprefix('error: ')}", ExitCode(code)
                )
            if self._clock.machine_monotonic() - began > STEADY_SECONDS:
                falls = 0
            pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(falls, 10))
            falls += 1
            fell = DaemonFell(
                daemon=self.name,
                exit_code=code,
                falls=falls,
                retry_seconds=pause,
                last_line=self._last_line or None,
            )
            self._events.emit(fell)
            await self._wait(pause)

    async def stop(self) -> None:
        """Ask it to end, and kill it when it does not."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with self._clock.timeout(STOP_SECONDS * self._clock.speed):
                await process.wait()
        except TimeoutError:
            process.kill()

    async def _run_once(self) -> int:
        process = self._process = await asyncio.create_subprocess_exec(
            *tied(self._program),
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=PIPE if self._announces else asyncio.subprocess.DEVNULL,
            stderr=PIPE,
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, which ends them in order
            limit=LINE_BYTES,
        )
        self._events.emit(DaemonStarted(daemon=self.name, pid=process.pid))
        await asyncio.gather(self._note_ready(process), self._pass_on(process))
        return await process.wait()

    async def _note_ready(self, process: Process) -> None:
        if process.stdout is not None and not await process.stdout.readline():
            return
        self.ready.set()
        while process.stdout is not None and await process.stdout.readline():
            continue

    async def _pass_on(self, process: Process) -> None:
        stderr = process.stderr
        while stderr is not None and (line := await stderr.readline()):
            self._last_line = line.decode(errors="replace").rstrip()
            self._say(self._last_line)

    async def _wait(self, machine_seconds: float) -> None:
        try:
            async with self._clock.timeout(machine_seconds * self._clock.speed):
                await self._stopping.wait()
        except TimeoutError:
            return
