"""The drills' processes: a gateway, workers, producers and whoever else; started, waited for, killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.drills.crash_points import COMMITS, CRASH, STAGED, CrashPoint

SECONDS = 240.0
ALLOWANCE = "DRILL_ALLOWANCE"  # a file: how many requests of its plan a producer may insert so far; without it all
STARTED = '"event": "worker.started"'


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """A simulated gateway: where it listens, the clock it lives by, its journal."""

    process: subprocess.Popen[str]
    port: int
    clock: str
    journal: Path

    def end(self) -> None:
        """Stop it in order, so that its journal is whole."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.communicate(timeout=SECONDS)


@dataclass(frozen=True, kw_only=True)
class Child:
    """A process whose output goes to a file."""

    process: subprocess.Popen[bytes]
    log: Path
    begins_at: int  # where in the log its own output begins

    def said(self) -> str:
        """What it has said so far."""
        with self.log.open("rb") as file:
            file.seek(self.begins_at)
            return file.read().decode(errors="replace")

    def wait_for(self, text: str, *, seconds: float = SECONDS) -> bool:
        """Wait until it has said a text; False when it has ended without."""
        wait_until(lambda: text in self.said() or self.process.poll() is not None, f"{text} in {self.log}", seconds)
        return text in self.said()

    def wait(self, *, seconds: float = SECONDS) -> int:
        """Its exit code, once it has ended."""
        return self.process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL, to whatever it runs under as well."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(SECONDS)

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.process.terminate()
        return self.process.wait(SECONDS)


def wait_until(condition: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
    """Look every few milliseconds. Raises TimeoutError."""
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            raise TimeoutError(f"in {seconds:g} s it did not come to {what}")
        time.sleep(0.01)


def environment(**more: str) -> dict[str, str]:
    """This process's environment without settings of v6, and more."""
    return {name: value for name, value in os.environ.items() if not name.startswith("V6_")} | more


def start_gateway(folder: Path, *, origin: datetime, speed: float, lines: int, port: int = 0) -> Gateway:
    """A gateway whose clock begins at ``origin`` now. One that follows a killed one takes its ``port``."""
    clock = f"{origin.isoformat()}@{datetime.now(UTC).isoformat()}*{speed:g}"
    return start_gateway_at(folder, clock=clock, lines=lines, port=port)


def start_gateway_at(folder: Path, *, clock: str, lines: int, port: int = 0) -> Gateway:
    """A gateway that lives by a clock that runs already."""
    journal = folder / "journal.jsonl"
    arguments = ["--json", "--port", str(port), "--lines", str(lines), "--journal", str(journal)]
    process = subprocess.Popen(
        [sys.executable, "-m", "v6", "gateway", *arguments],
        env=environment(V6_CLOCK=clock),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"the gateway ended with exit code {process.wait(SECONDS)}")
    return Gateway(process=process, port=json.loads(line)["port"], clock=clock, journal=journal)


@dataclass(frozen=True, kw_only=True)
class Site:
    """A lake, the gateway that feeds it, and the settings of every process."""

    folder: Path
    gateway: Gateway
    lines: int
    client_id: int = 1
    more: Mapping[str, str] | None = None

    @property
    def lake(self) -> Path:
        return self.folder / "lake"

    @property
    def plan(self) -> Path:
        return self.folder / "plan.jsonl"

    @property
    def acknowledged(self) -> Path:
        return self.folder / "acknowledged.jsonl"

    @property
    def commits(self) -> Path:
        return self.folder / "commits.jsonl"

    def settings(self) -> dict[str, str]:
        """As environment variables."""
        return {
            "V6_LAKE": str(self.lake),
            "V6_GATEWAY_PORT": str(self.gateway.port),
            "V6_CLOCK": self.gateway.clock,
            "V6_MARKET_DATA_LINES": str(self.lines),
            "V6_CLIENT_ID": str(self.client_id),
            "V6_KEY_LIFETIME_SECONDS": "864000",  # a repeated insert is the same request for as long as the drill lasts
            "V6_LOG_FORMAT": "json",
            **(self.more or {}),
        }

    def worker(self, *arguments: str, crash: CrashPoint | None = None, **settings: str) -> Child:
        """A worker; with a crash point one that dies there."""
        return self.start("worker", *arguments, crash=crash, **settings)

    def producer(self, *, allowance: Path | None = None, crash: CrashPoint | None = None) -> Child:
        """A producer of the site's plan."""
        files = (str(self.plan), str(self.acknowledged))
        return self.start("producer", *files, crash=crash, **({} if allowance is None else {ALLOWANCE: str(allowance)}))

    def start(self, command: str, *arguments: str, crash: CrashPoint | None = None, **more: str) -> Child:
        """A process under watch, whose commits are written down; its output goes to a file of the command's name."""
        more |= {COMMITS: str(self.commits)} | ({} if crash is None else {CRASH: str(crash)})
        tracer = crash.tracer(self.lake) if crash is not None and crash.side == STAGED else []
        path = self.folder / f"{more.get('V6_WORKER_NAME', command)}.log"
        with path.open("ab") as file:
            begins_at = file.tell()
            process = subprocess.Popen(
                [*tracer, sys.executable, "-m", "tests.drills.crash_points", command, *arguments],
                env=environment(**self.settings() | more),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        return Child(process=process, log=path, begins_at=begins_at)


@contextmanager
def killed_at_the_end(children: list[Child]) -> Iterator[list[Child]]:
    """Leave no process behind, whatever happens."""
    try:
        yield children
    finally:
        for child in children:
            if child.process.poll() is None:
                child.kill()


def has_ended(child: Child) -> bool:
    """Whether a process is gone."""
    return child.process.poll() is not None
