"""Makes everything happen that stops tables from growing, and looks whether it is named: real processes, real alerts.

    python -m bench.drill_causes                          every cause
    python -m bench.drill_causes --only "worker killed"   some of them; may be repeated
    python -m bench.drill_causes --small-disk FOLDER      the lake there, and a full disk too: the folder's file system,
                                                          a small one of its own, is filled up

A simulated gateway, a worker, a scheduler and a second watcher run at speed. Each cause is made, must be named by the
event, by ``v6 freshness``, by ``v6 doctor`` and by one message each to a webhook, a command and a mail server, is taken
away, and must be followed by one message of recovery. The last line is one JSON object; the exit code is 1 when
something was wrong.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl
from bench.message_servers import MailServer, WebhookServer

from v6.data.lake import Lake

NOW = "2026-11-24T14:40:00Z"  # ten minutes into New York's session
SATURDAY = "2026-11-28T15:00:00Z"
SPEED = 20
FILLER_BYTES = 4096
CONFIG = """
[[schedules]]
id = "futures"
request_type = "futures_snapshot"
symbols = ["ES"]
every_minutes = 1
deadline_minutes = 2

[[schedules]]
id = "positions"
request_type = "position_update"
every_minutes = 30

[[freshness]]
table = "futures_snapshots"
symbol = "ES"
minutes = 4

[alerts]
webhook = "{webhook}"
command = ["{python}", "-c", "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + chr(10))", "{told}"]
mail_to = ["desk@example.org"]
smtp_host = "127.0.0.1"
smtp_port = {smtp_port}
"""
TOLD_SECONDS = 90.0  # machine seconds within which a person must have been told


class DrillError(Exception):
    """Something was not as it has to be."""


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """One thing that goes wrong: how it is made and ended, what it is called, and what ``v6 doctor`` calls it."""

    name: str
    cause: str
    doctor: str  # the check that has to be a problem; empty where it ends by itself
    make: Callable[[Drill], object]
    end: Callable[[Drill], object]


@dataclass
class Drill:
    """The processes, the messages that arrived, and what was wrong."""

    folder: Path
    lake: Path
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    kept: dict[Path, bytes] = field(default_factory=dict)
    control: str = ""

    def set_out(self, webhook: WebhookServer, mail: MailServer) -> None:
        """Write the settings and start everything."""
        self.webhook, self.mail = webhook, mail
        self.told = self.folder / "told.jsonl"
        self.told.touch()
        text = CONFIG.format(webhook=webhook.url, python=sys.executable, told=self.told, smtp_port=mail.port)
        (self.folder / "v6.toml").write_text(text)
        bare = {name: value for name, value in os.environ.items() if not name.startswith("V6_")}
        self.environment = {
            **bare,
            "V6_CONFIG": str(self.folder / "v6.toml"),
            "V6_LAKE": str(self.lake),
            "V6_TICK_SECONDS": "0.2",
            "V6_FRESHNESS_SECONDS": "2",
            "V6_LOG_FORMAT": "json",
            "V6_CLOCK": f"{NOW}*{SPEED}",
        }
        self.start_gateway("0")
        address = json.loads(self.first_line)
        self.environment |= {"V6_CLOCK": address["clock"], "V6_GATEWAY_PORT": str(address["port"])}
        self.control = str(address["control_port"])
        self.start("worker", "worker")
        self.start("scheduler", "scheduler")
        self.start("watch", "freshness", "--watch")
        self.until("ES is fresh", lambda: self.freshness()["state"] == "fresh")

    # Processes

    def start(self, name: str, *arguments: str) -> None:
        """Start a command of v6, its log behind what it wrote before."""
        with (self.folder / f"{name}.log").open("a") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "v6", *arguments], env=self.environment, text=True, stderr=log, stdout=log
            )

    def start_gateway(self, control: str) -> None:
        """Start the gateway, and wait until it listens."""
        port = self.environment.get("V6_GATEWAY_PORT", "0")
        command = [sys.executable, "-m", "v6", "gateway", "--json", "--port", port, "--control-port", control]
        process = subprocess.Popen(command, env=self.environment, text=True, stdout=subprocess.PIPE)
        self.processes["gateway"] = process
        if process.stdout is None:
            raise DrillError("the gateway has no output")
        self.first_line = process.stdout.readline()

    def kill(self, name: str) -> None:
        """As a power cut does."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def signal(self, name: str, number: int) -> None:
        """Send a signal."""
        self.processes[name].send_signal(number)

    def end(self) -> None:
        """End all of them, the gateway last."""
        for name in reversed(list(self.processes)):
            process = self.processes[name]
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                code = process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
            if code:
                self.wrong.append(f"{name} ended with exit code {code}")

    def v6(self, *arguments: str) -> str:
        """The output of a command."""
        command = [sys.executable, "-m", "v6", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode not in (0, 7):
            raise DrillError(f"v6 {' '.join(arguments)} ended with {done.returncode}: {done.stderr or done.stdout}")
        return done.stdout

    def fault(self, *order: str) -> None:
        """Make the gateway fail, or clear its faults."""
        self.v6("gateway", "fault", *order, "--control-port", self.control)

    # Looking

    def freshness(self) -> dict[str, Any]:
        """How ES stands."""
        rows: list[dict[str, Any]] = json.loads(self.v6("freshness", "--json"))
        return next(row for row in rows if row["symbol"] == "ES")

    def until(self, what: str, holds: Callable[[], object], seconds: float = TOLD_SECONDS) -> None:
        """Wait for a condition. Raises DrillError when it does not come."""
        limit = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > limit:
                raise DrillError(f"{what} did not come within {seconds:g} s")
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise DrillError(f"{name} ended by itself with exit code {process.returncode}")
            time.sleep(0.2)

    def messages(self) -> dict[str, list[tuple[str, str]]]:
        """What each way has brought: kind and cause."""
        by_command = [json.loads(line) for line in self.told.read_text().splitlines()]
        return {
            "webhook": [(m["kind"], m["cause"]) for m in self.webhook.received],
            "command": [(m["kind"], m["cause"]) for m in by_command],
            "mail": [_of_subject(subject) for subject in self.mail.subjects],
        }

    def causes(self) -> list[str]:
        """What the events of the second watcher have said so far."""
        lines = (self.folder / "watch.log").read_text().splitlines()
        events = [json.loads(line) for line in lines if "freshness.violated" in line]
        return [event["cause"] for event in events]

    # Troubles

    def go_through(self, trouble: Trouble) -> None:
        """Make it, see it named everywhere, end it, see the recovery, and count the messages."""
        before = {way: len(messages) for way, messages in self.messages().items()}
        logged = len(self.causes())
        began = time.monotonic()
        trouble.make(self)

        def arrived(kind: str) -> bool:
            return all(kind in dict(new[before[way] :]) for way, new in self.messages().items())

        self.until("the alert", lambda: arrived("opened"))
        told = time.monotonic() - began
        self.until("the event", lambda: len(self.causes()) > logged)
        self._see_it_named(trouble, logged)
        trouble.end(self)
        ended = time.monotonic()
        self.until("the recovery", lambda: arrived("recovered"))
        recovered = time.monotonic() - ended
        for way, new in self.messages().items():
            if new[before[way] :] != [("opened", trouble.cause), ("recovered", trouble.cause)]:
                self.wrong.append(f"{trouble.name}: by {way} came {new[before[way] :]}, not one {trouble.cause}")
        self.until("ES is fresh again", lambda: self.freshness()["state"] == "fresh")
        self.results.append(
            {"trouble": trouble.name, "cause": trouble.cause, "told": round(told, 1), "recovered": round(recovered, 1)}
        )
        print(json.dumps(self.results[-1]), flush=True)

    def _see_it_named(self, trouble: Trouble, logged: int) -> None:
        if not trouble.doctor:
            return
        seen = self.freshness()["cause"]
        if seen != trouble.cause:
            self.wrong.append(f"{trouble.name}: v6 freshness says {seen}, not {trouble.cause}")
        if set(self.causes()[logged:]) != {trouble.cause}:
            self.wrong.append(f"{trouble.name}: the event says {self.causes()[logged:]}, not {trouble.cause}")
        findings = json.loads(self.v6("doctor", "--json", "--symbol", "ES"))["findings"]
        problems = {finding["check"]: finding["seen"] for finding in findings if finding["verdict"] == "problem"}
        if not any(check.startswith(trouble.doctor) for check in problems):
            self.wrong.append(f"{trouble.name}: v6 doctor names {sorted(problems)}, not {trouble.doctor}")
        named = problems.get("freshness futures_snapshots of ES", "")
        if not named.startswith(trouble.cause):
            self.wrong.append(f"{trouble.name}: v6 doctor says of ES {named!r}, not {trouble.cause}")

    # Damage

    def cut(self, table: str, length: int = 100) -> None:
        """Cut a file of a table short, keeping what it was."""
        files = Lake(self.lake).open(table).get_add_actions(flatten=True)
        path = self.lake / table / unquote(pl.DataFrame(files)["path"][0])
        self.kept[path] = path.read_bytes()
        path.write_bytes(self.kept[path][:length])

    def empty_commit(self, table: str) -> None:
        """Empty the newest commit of a table's log."""
        path = max((self.lake / table / "_delta_log").glob("*.json"))
        self.kept[path] = path.read_bytes()
        path.write_bytes(b"")

    def fill_disk(self) -> None:
        """Write until nothing fits any more."""
        with (self.lake / "filler").open("wb", buffering=0) as filler:
            try:
                while filler.write(b"\0" * FILLER_BYTES):
                    continue
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def make_room(self) -> None:
        """Take away what filled the disk."""
        (self.lake / "filler").unlink()

    def put_back(self) -> None:
        """Bring back what was cut."""
        for path, content in self.kept.items():
            path.write_bytes(content)
        self.kept.clear()

    def closed_market(self) -> None:
        """On a Saturday with nothing running: no incident, and it is said that the market is closed."""
        before = self.messages()
        environment = {**self.environment, "V6_CLOCK": SATURDAY, "V6_LAKE": str(self.folder / "saturday")}
        command = [sys.executable, "-m", "v6", "freshness", "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        states = {row["state"] for row in json.loads(done.stdout)}
        if done.returncode or states - {"market closed", "not begun"} or "market closed" not in states:
            self.wrong.append(f"on a Saturday v6 freshness says {states} with exit code {done.returncode}")
        if self.messages() != before:
            self.wrong.append("on a Saturday somebody was told")
        self.results.append({"trouble": "closed market", "cause": "market closed"})


def _of_subject(subject: str) -> tuple[str, str]:
    """``v6 not collecting: worker down (1 affected)`` → opened, worker down."""
    words = subject.rpartition(" (")[0]
    for kind, start in (("opened", "v6 not collecting: "), ("recovered", "v6 recovered from ")):
        if words.startswith(start):
            return kind, words.removeprefix(start)
    return "unknown", subject


def _restart(name: str) -> Callable[[Drill], object]:
    return lambda drill: drill.start(name, name)


def _resume(*arguments: str) -> Callable[[Drill], object]:
    return lambda drill: drill.v6(*arguments)


def _fault(*order: str) -> Callable[[Drill], object]:
    return lambda drill: drill.fault(*order)


def _clear(drill: Drill) -> None:
    drill.fault("clear")


def _put_back(drill: Drill) -> None:
    drill.put_back()


TROUBLES = [
    Trouble(
        name="scheduler killed",
        cause="scheduler down",
        doctor="scheduler",
        make=lambda drill: drill.kill("scheduler"),
        end=_restart("scheduler"),
    ),
    Trouble(
        name="queue paused",
        cause="queue paused",
        doctor="paused",
        make=lambda drill: drill.v6("queue", "pause"),
        end=_resume("queue", "resume"),
    ),
    Trouble(
        name="schedules paused",
        cause="schedule paused",
        doctor="paused",
        make=lambda drill: drill.v6("schedule", "pause"),
        end=_resume("schedule", "resume"),
    ),
    Trouble(
        name="worker killed",
        cause="worker down",
        doctor="worker",
        make=lambda drill: drill.kill("worker"),
        end=_restart("worker"),
    ),
    Trouble(
        name="worker stopped",
        cause="worker down",
        doctor="worker",
        make=lambda drill: drill.signal("worker", signal.SIGSTOP),
        end=lambda drill: drill.signal("worker", signal.SIGCONT),
    ),
    Trouble(
        name="gateway killed",
        cause="gateway down",
        doctor="gateway",
        make=lambda drill: drill.kill("gateway"),
        end=lambda drill: drill.start_gateway(drill.control),
    ),
    Trouble(
        name="another session",
        cause="gateway held",
        doctor="worker",
        make=_fault("competing_session", "seconds=100000"),
        end=_clear,
    ),
    Trouble(
        name="farm down",
        cause="gateway degraded",
        doctor="worker",
        make=_fault("farm_down", "farm=market_data", "seconds=100000"),
        end=_clear,
    ),
    Trouble(
        name="connectivity lost",
        cause="gateway degraded",
        doctor="worker",
        make=_fault("connectivity_lost", "seconds=100000"),
        end=_clear,
    ),
    Trouble(
        name="nightly reset",
        cause="gateway degraded",
        doctor="",
        make=_fault("nightly_reset", "seconds=400", "closed_seconds=200"),
        end=lambda drill: None,
    ),
    Trouble(
        name="no entitlement",
        cause="no entitlement",
        doctor="market data ES",
        make=_fault("error", "code=354", "request=market_data", "symbol=ES"),
        end=_clear,
    ),
    Trouble(
        name="file cut short",
        cause="table damaged",
        doctor="freshness futures_snapshots",
        make=lambda drill: drill.cut("futures_snapshots"),
        end=_put_back,
    ),
    Trouble(
        name="queue's file cut short",
        cause="table damaged",
        doctor="freshness futures_snapshots",
        make=lambda drill: drill.cut("ib_requests"),
        end=_put_back,
    ),
    Trouble(
        name="commit emptied",
        cause="table damaged",
        doctor="freshness futures_snapshots",
        make=lambda drill: drill.empty_commit("schedule_log"),
        end=_put_back,
    ),
]
FULL = Trouble(
    name="disk full",
    cause="disk full",
    doctor="disk",
    make=lambda drill: drill.fill_disk(),
    end=lambda drill: drill.make_room(),
)


@contextmanager
def drilling(folder: Path, lake: Path) -> Iterator[Drill]:
    """Everything running; ended afterwards."""
    drill = Drill(folder, lake)
    with WebhookServer() as webhook, MailServer() as mail:
        try:
            drill.set_out(webhook, mail)
            yield drill
        finally:
            drill.end()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the drill; 0 when nothing was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    names = [trouble.name for trouble in (*TROUBLES, FULL)]
    parser.add_argument("--only", action="append", choices=names, help="only this one; may be repeated")
    parser.add_argument(
        "--small-disk", type=Path, help="a folder on a small file system of its own, which is filled up"
    )
    parser.add_argument("--folder", type=Path, help="where lake and logs go; without it a temporary one")
    options = parser.parse_args(arguments)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="drill-causes-"))
    folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that its processes are ended too
    began = time.monotonic()
    troubles = TROUBLES if options.small_disk is None else [*TROUBLES, FULL]
    lake = folder / "lake" if options.small_disk is None else options.small_disk / "lake"
    with drilling(folder, lake) as drill:
        for trouble in troubles:
            if options.only and trouble.name not in options.only:
                continue
            try:
                drill.go_through(trouble)
            except DrillError as error:  # what comes after it would only be a consequence
                drill.wrong.append(f"{trouble.name}: {error}".strip())
                print(drill.wrong[-1], flush=True)
                break
        drill.closed_market()
    seconds = round(time.monotonic() - began, 1)
    result = {"troubles": len(drill.results), "seconds": seconds, "wrong": drill.wrong, "folder": str(folder)}
    print(json.dumps(result))
    return 1 if drill.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
