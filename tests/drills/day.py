"""A trading day compressed: a nightly reset, farms and servers lost, a competing session, a restart, and late greeks.

    python -m tests.drills.day            from 00:05 to 16:35 New York at 20 times the speed: about 50 minutes
    python -m tests.drills.day --short    24 minutes of it with every fault, in a little over a minute

Requests of all types come all day, chains of at most 20 contracts. At the end each is SUCCESS, or FAILED as the gateway
said; the rows are what the gateway's journal says that it sent; no limit was broken, memory and CPU stayed flat. The
last line is one JSON object; the exit code is 1 when anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from tests.drills.invariants import Findings, check
from tests.drills.plan import Planned, planned
from tests.drills.processes import SECONDS, environment, wait_until

from v6.clock import Clock
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.worker_state import WORKER_STATE

SPEED = 20.0
LINES = 100
# A busy machine stands still for twenty times as long here: what came too late is tried more often than at home.
ATTEMPTS = "".join(
    f"[request_types.{name}]\nattempts = 20\nbackoff_cap_seconds = 60\n"
    for name in ("option_chain", "futures_snapshot", "market_bars", "position_update")
)
END_SECONDS = 3600  # clock time in which all that is left has to end
# At most: memory of the last quarter over the second one; CPU of later hours over earlier ones that are like them.
GROWTH = {"memory_growth": 1.2, "cpu_growth": 1.3}
PACING = {100, 101}
READY = '"state": "ready"'
BLOCKED = 3  # times over 50 ms, at most: the first chain loads code
PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


Span = tuple[float, float]  # minutes after the start


@dataclass(frozen=True, kw_only=True)
class Day:
    """What is lived: since when (UTC), for how long, how often how much is asked for, what fails when."""

    start: datetime
    minutes: float
    every_minutes: float
    at_once: int
    faults: Mapping[str, float]  # which, after so many minutes
    reset_seconds: float
    closed_seconds: float
    farm_seconds: float
    competing_seconds: float
    lost_seconds: float
    restart_seconds: float
    alike: Sequence[tuple[Span, Span]]  # hours that ask for as much, before and after; none where it is too short


MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
FULL = Day(
    start=MONDAY + timedelta(hours=5, minutes=5),
    minutes=16.5 * 60,
    every_minutes=10,
    at_once=6,
    faults={
        "nightly_reset": 12, "market_data": 600, "history": 660, "competing": 719, "lost": 780, "restart": 840,
    },
    reset_seconds=900, closed_seconds=120, farm_seconds=600, competing_seconds=420, lost_seconds=240,
    restart_seconds=60, alike=[((60, 300), (300, 540)), ((570, 715), (845, 955))],  # the night, the session
)  # fmt: skip
SHORT = Day(
    start=MONDAY + timedelta(hours=19),
    minutes=24,
    every_minutes=1,
    at_once=4,
    faults={"nightly_reset": 1.5, "market_data": 5, "history": 7.5, "competing": 10, "lost": 17, "restart": 20},
    reset_seconds=30, closed_seconds=5, farm_seconds=60, competing_seconds=150, lost_seconds=40, restart_seconds=15,
    alike=[],
)  # fmt: skip


def orders_of(day: Day) -> list[dict[str, Any]]:
    """The faults as the gateway takes them; their time begins when they are ordered."""
    return [
        {"do": "late_greeks", "sec_type": "OPT", "delay": [5, 9], "probability": 0.1},
        {
            "do": "nightly_reset", "after_seconds": 60 * day.faults["nightly_reset"], "seconds": day.reset_seconds,
            "closed_seconds": day.closed_seconds,
        },
        {
            "do": "farm_down", "farm": "market_data", "after_seconds": 60 * day.faults["market_data"],
            "seconds": day.farm_seconds,
        },
        {
            "do": "farm_down", "farm": "history", "after_seconds": 60 * day.faults["history"],
            "seconds": day.farm_seconds, "answers": "error",
        },
        {
            "do": "competing_session", "after_seconds": 60 * day.faults["competing"],
            "seconds": day.competing_seconds,
        },
        {
            "do": "connectivity_lost", "after_seconds": 60 * day.faults["lost"], "seconds": day.lost_seconds,
            "then": "1101",
        },
        {"do": "restart", "after_seconds": 60 * day.faults["restart"], "seconds": day.restart_seconds},
    ]  # fmt: skip


def order(port: int, orders: Sequence[Mapping[str, Any]]) -> None:
    """Have the gateway take orders at its control port."""
    with socket.create_connection(("127.0.0.1", port)) as control, control.makefile("rw") as lines:
        for one in orders:
            lines.write(json.dumps(one) + "\n")
            lines.flush()
            answer = json.loads(lines.readline())
            assert answer["ok"], answer


@dataclass
class Measured:
    """Memory and CPU of a process, as it went by."""

    pid: int
    memory: list[int] = field(default_factory=list)  # bytes
    cpu: list[float] = field(default_factory=list)  # seconds used since the last look

    _used: float = 0.0

    def look(self) -> None:
        """Take one measure."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        times = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        used = (int(times[11]) + int(times[12])) / TICKS
        self.memory.append(pages * PAGE)
        self.cpu.append(used - self._used)
        self._used = used


@dataclass
class DayDrill:
    """One day with its processes."""

    day: Day
    folder: Path
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lake, self.journal = self.folder / "lake", self.folder / "journal.jsonl"
        self.log, self.config = self.folder / "worker.log", self.folder / "v6.toml"
        self.config.write_text(ATTEMPTS)
        self.requests: list[Planned] = planned(
            int(self.day.minutes / self.day.every_minutes) * self.day.at_once, self.day.start
        )

    def run(self) -> dict[str, Any]:
        """Live it, then compare; the figures."""
        self.clock = Clock(f"{self.day.start.isoformat()}@{datetime.now(UTC).isoformat()}*{SPEED:g}")
        with self._gateway() as (port, control), self._worker(port) as worker:
            wait_until(lambda: READY in self.log.read_text(), "a session")
            self._began = self.clock.now()
            order(control, orders_of(self.day))
            measured = Measured(worker.pid)
            self._live(measured)
            self._await_end()
        findings = check(self.lake, [self.journal], str(self.clock.setting), plan=self.requests)
        return self._figures(findings, measured)

    def _live(self, measured: Measured) -> None:
        """Insert what the moment has due; look at the worker each time."""
        import asyncio

        async def insert(batch: Sequence[Planned]) -> None:
            queue = IBRequestQueue(str(self.lake), clock=self.clock, source="drill")
            await queue.insert_many([one.new() for one in batch])
            await queue.close()

        for first in range(0, len(self.requests), self.day.at_once):
            due = self._began + timedelta(minutes=self.day.every_minutes * first / self.day.at_once)
            while (left := (due - self.clock.now()).total_seconds()) > 0:
                time.sleep(min(left / SPEED, 1.0))
            asyncio.run(insert(self.requests[first : first + self.day.at_once]))
            measured.look()

    def _await_end(self) -> None:
        limit = time.monotonic() + END_SECONDS / SPEED + SECONDS
        while self._open() and time.monotonic() < limit:
            time.sleep(0.5)
        if left := self._open():
            self.wrong.append(f"{left} requests did not come to an end")

    def _open(self) -> int:
        queue = IBRequestQueue(str(self.lake), clock=self.clock, source="drill")
        states = queue.requests().collect()["status"]
        return int(states.is_in(["PENDING", "PROCESSING"]).sum())

    # Comparing

    def _figures(self, findings: Findings, measured: Measured) -> dict[str, Any]:
        events = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        outages = [event for event in events if event["event"] == "outage.ended"]
        codes = Counter(event["code"] for event in events if event["event"] == "gateway.notified")
        pacing = sum(count for code, count in codes.items() if code in PACING)
        own = [event["own"] for event in events if event["event"] == "loop.blocked"]
        states = pl.read_delta(str(self.lake / WORKER_STATE.name))
        changes = {event["state"] for event in events if event["event"] == "session.changed"}
        seen = changes | set(states["state"])  # the table is written twice a second: it may miss a short one
        self.wrong += findings.problems()
        self.wrong += [f"the worker was never {state}" for state in ("ready", "degraded", "held") if state not in seen]
        if pacing:
            self.wrong.append(f"{pacing} pacing errors")
        if len(outages) < len(self.day.faults):
            self.wrong.append(f"only {len(outages)} outages were reported")
        flat = self._flatness(measured, [ms for ms in own if ms > 50])
        return {
            "drill": "day", **findings.figures(), "outages": len(outages),
            "outage_seconds": [round(event["seconds"]) for event in outages],
            "issued_again": sum(event["issued_again"] for event in outages), "states": sorted(seen),
            "pacing_errors": pacing,
            "loop_blocked_by_own_work_ms": max(own, default=0.0), "loop_blocked_over_50_ms": sum(ms > 50 for ms in own),
            **flat, "wrong": self.wrong[:20],
        }  # fmt: skip

    def _flatness(self, measured: Measured, own: Sequence[float]) -> dict[str, Any]:
        quarter = max(1, len(measured.memory) // 4)
        memory = [statistics.median(measured.memory[n * quarter : (n + 1) * quarter]) for n in (1, 3)]
        cpu = [round(self._cpu(measured, later) / self._cpu(measured, earlier), 3) for earlier, later in self.day.alike]
        growth: dict[str, float | None] = {
            "memory_growth": round(memory[1] / memory[0], 3),
            "cpu_growth": max(cpu, default=None),
        }
        if self.day.alike:
            self.wrong += [f"{name} is {value}" for name, value in growth.items() if value and value > GROWTH[name]]
            if len(own) > BLOCKED:
                self.wrong.append(f"the event loop was blocked {len(own)} times by its own work")
        return {"memory_mb": round(memory[1] / 1e6), **growth}

    def _cpu(self, measured: Measured, span: Span) -> float:
        """Seconds that the worker used between two looks, as a rule."""
        first, last = (int(minute / self.day.every_minutes) for minute in span)
        return statistics.median(measured.cpu[first:last])

    # Processes

    @contextmanager
    def _gateway(self) -> Iterator[tuple[int, int]]:
        where = ["--port", "0", "--control-port", "0", "--journal", str(self.journal)]
        process = self._start("--json", "gateway", "--lines", str(LINES), *where)
        try:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline())
            yield address["port"], address["control_port"]
            process.terminate()
            process.communicate(timeout=SECONDS)
        finally:
            process.kill()

    @contextmanager
    def _worker(self, port: int) -> Iterator[subprocess.Popen[str]]:
        with self.log.open("w") as log:
            settings = ["--lake", str(self.lake), "--gateway-port", str(port), "--log-format", "json"]
            process = self._start("worker", *settings, "--log-level", "debug", "--poll-seconds", "0.1", stderr=log)
        try:
            yield process
            if process.poll() is not None:
                self.wrong.append(f"the worker ended with exit code {process.returncode}")
            process.terminate()
            process.wait(SECONDS)
        finally:
            process.kill()

    def _start(self, *arguments: str, stderr: Any = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "v6", *arguments],
            env=environment(V6_CLOCK=str(self.clock.setting), V6_CONFIG=str(self.config)),
            stdout=subprocess.PIPE if stderr is None else subprocess.DEVNULL,
            stderr=stderr,
            text=True,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Live a day and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--folder", type=Path, help="keep everything here; it must not exist")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that its processes are ended too
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary) / "day"
        folder.mkdir(parents=True)
        figures = DayDrill(SHORT if options.short else FULL, folder).run()
    print(json.dumps(figures, default=str))
    return 1 if figures["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
