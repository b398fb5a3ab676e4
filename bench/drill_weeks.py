"""Lives weeks at speed: real schedulers and a real worker, killed and restarted at random; every due slot once.

    python -m bench.drill_weeks                      three weeks: each clock change, and Thanksgiving with its half day
    python -m bench.drill_weeks --short              a night and a half day in seconds

The last line is one JSON object with the figures; the exit code is 1 when anything was skipped, doubled, outside the
session or left without a state.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from v6.clock import Clock
from v6.data.coverage import CoverageTable
from v6.data.ib_request import REQUESTS
from v6.data.lake import Lake
from v6.data.queue_log import current
from v6.request_types.catalogue import Catalogue
from v6.scheduler.config_file import ConfigFile
from v6.scheduler.schedule import Schedule
from v6.scheduler.schedule_file import DEFAULTS, load_schedules
from v6.scheduler.trading_calendar import load_calendar
from v6.scheduler.triggers import WhileOpen

STUCK_SECONDS = 120.0
NEW_YORK = ZoneInfo("America/New_York")
SHORT = """
[[schedules]]
id = "chains"
request_type = "option_chain"
symbols = ["SPY", "QQQ"]
every_minutes = 15

[[schedules]]
id = "futures"
request_type = "futures_snapshot"
symbols = ["ES"]
every_minutes = 10

[[schedules]]
id = "bars"
request_type = "market_bars"
symbols = ["SPY", "QQQ", "IWM", "DIA", "AAPL", "MSFT", "NVDA", "AMZN", "META", "TSLA"]
minutes_after_close = 20
parameters = { bar_size = "5 mins" }
"""


@dataclass(frozen=True, kw_only=True)
class Span:
    """What is lived: from a moment to another (UTC), at a speed."""

    name: str
    start: datetime
    end: datetime
    speed: float
    kills: int
    failures: int = 3  # of a hundred requests, for good; as many fail once


def at(text: str) -> datetime:
    """New York's time as UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).astimezone(UTC)


WEEKS = [
    Span(name="summer time begins", start=at("2026-03-05 09:00"), end=at("2026-03-12 09:00"), speed=2400, kills=14),
    Span(name="winter time begins", start=at("2026-10-29 09:00"), end=at("2026-11-05 09:00"), speed=2400, kills=13),
    Span(name="Thanksgiving", start=at("2026-11-23 09:00"), end=at("2026-11-30 09:00"), speed=2400, kills=13),
]
SHORT_SPAN = Span(
    name="half day", start=at("2026-11-26 17:00"), end=at("2026-11-27 14:00"), speed=5400, kills=3, failures=10
)


@dataclass
class Drill:
    """One span with its processes."""

    span: Span
    folder: Path
    schedules_text: str
    rng: random.Random
    killed: int = 0
    wrong: list[str] = field(default_factory=list)
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        (self.folder / "v6.toml").write_text(self.schedules_text)
        self.lake = Lake(self.folder / "lake")
        self.schedules: list[Schedule] = load_schedules(
            ConfigFile.parse(self.schedules_text, "v6.toml"), Catalogue.load()
        )

    def run(self) -> dict[str, Any]:
        """Live it, then compare; the figures."""
        self._set_out()
        clock_text = f"{self.span.start.isoformat()}@{datetime.now(UTC).isoformat()}*{self.span.speed:g}"
        self.clock = Clock(clock_text)
        self.environment |= {"V6_CLOCK": clock_text}
        worker = self._start("-m", "bench.instant_worker", "--failures", str(self.span.failures), log="worker")
        try:
            self._live()
        finally:
            self._end(worker)
            self._kill_what_is_left()
        self.ended_at = self.clock.now()
        figures = self._compare() | self._fill()
        return {"span": self.span.name, **figures, "kills": self.killed, "wrong": self.wrong}

    def _set_out(self) -> None:
        """Let the schedules begin before time runs fast: whatever comes then is due, however slow the machine is."""
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("V6_")},
            "V6_CONFIG": str(self.folder / "v6.toml"),
            "V6_LAKE": str(self.folder / "lake"),
            "V6_CLOCK": f"{self.span.start.isoformat()}@{datetime.now(UTC).isoformat()}*0.001",
            "V6_TICK_SECONDS": "0.2",
            "V6_BACKFILL_CRON": "0 0 1 1 *",
            "V6_LOG_LEVEL": "warning",
        }
        first = self._scheduler("first")
        limit = time.monotonic() + 120
        while not self.lake.exists("scheduler_state") and time.monotonic() < limit:
            time.sleep(0.1)
        self._end(first)

    def _live(self) -> None:
        """Schedulers come and go: one at a time, two for the middle part."""
        length = (self.span.end - self.span.start).total_seconds()
        kill_at = sorted(self.rng.uniform(0.03, 0.97) for _ in range(self.span.kills))
        first, second = self._scheduler("one"), None
        while (share := (self.clock.now() - self.span.start).total_seconds() / length) < 1.0 or kill_at:
            if kill_at and share >= kill_at[0]:
                kill_at.pop(0)
                self._kill(first)
                first = self._scheduler("one")
            if second is None and 0.4 <= share < 0.6:
                second = self._scheduler("two")
            if second is not None and share >= 0.6:
                self._kill(second)
                second = None
            time.sleep(0.02)
        self._await_slots()
        self._end(first)
        self._await_worker()

    def _await_slots(self) -> None:
        """The scheduler has decided everything up to the end."""
        limit = time.monotonic() + STUCK_SECONDS
        while time.monotonic() < limit:
            last = CoverageTable(self.lake).last_slots()
            due = {s.id: s.slots(self.span.end - timedelta(days=5), self.span.end) for s in self.schedules}
            if all(not slots or last.get(i, self.span.start) >= slots[-1].at for i, slots in due.items()):
                return
            time.sleep(0.2)
        self.wrong.append("the scheduler did not come to the end")

    def _await_worker(self) -> None:
        """Until nothing is open; a worker that ends nothing for two minutes is stuck."""
        least, limit = None, time.monotonic() + STUCK_SECONDS
        while time.monotonic() < limit:
            states = Counter(current(self.lake.scan(REQUESTS)).select("status").collect()["status"])
            left = states["PENDING"] + states["PROCESSING"]
            if not left:
                return
            if least is None or left < least:
                least, limit = left, time.monotonic() + STUCK_SECONDS
            time.sleep(0.5)
        self.wrong.append(f"the worker did not come to the end: {least} requests are left")

    # Processes

    def _scheduler(self, name: str) -> subprocess.Popen[bytes]:
        return self._start("-m", "v6", "scheduler", "--scheduler-name", name, log=f"scheduler-{name}")

    def _start(self, *arguments: str, log: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{log}.log").open("ab") as file:
            command = [sys.executable, *arguments]
            self.started.append(subprocess.Popen(command, env=self.environment, stdout=file, stderr=file))
        return self.started[-1]

    def _kill_what_is_left(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is not None:
            self.wrong.append(f"a scheduler ended by itself with exit code {process.returncode}")
        process.kill()
        process.wait()
        self.killed += 1

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if code not in (0, -signal.SIGTERM):  # the latter when it had not yet got as far as to listen
            self.wrong.append(f"a process did not end in order: exit code {code}")

    # Comparing

    def _began(self) -> datetime:
        log = pl.read_delta(str(self.folder / "lake" / "schedule_log"))
        found = log["timestamp"].min()
        if not isinstance(found, datetime):
            raise TypeError("no scheduler wrote schedule_log")
        return found

    def _compare(self) -> dict[str, Any]:
        began = self._began()
        requests = current(self.lake.scan(REQUESTS)).collect()
        found = Counter(requests["idempotency_key"].to_list())
        last = self.span.end
        slots = [slot for s in self.schedules for slot in s.slots(began, self.ended_at)]
        expected = {slot.key for slot in slots if slot.at <= last}
        allowed = {slot.key for slot in slots}
        missing = expected - found.keys()
        doubled = {key for key, count in found.items() if count > 1}
        outside = [key for key in found if key not in allowed] + self._outside(requests)
        for name, keys in (("skipped", missing), ("doubled", doubled), ("outside the session", outside)):
            if keys:
                self.wrong.append(f"{len(keys)} slots {name}: {sorted(keys)[:3]}")
        return {
            "slots": len(expected),
            "requests": requests.height,
            "statuses": dict(Counter(requests["status"].to_list())),
        }

    def _outside(self, requests: pl.DataFrame) -> list[str]:
        """Slots of snapshots at which the market did not trade, by the calendar alone."""
        live = [s for s in self.schedules if isinstance(s.trigger, WhileOpen) and not s.is_history]
        calendars = {s.id: load_calendar(s.calendar_name) for s in live}
        found = []
        for key in requests["idempotency_key"].to_list():
            _, schedule_id, *_, instant = key.split("/")
            if schedule_id in calendars and not calendars[schedule_id].is_open(datetime.fromisoformat(instant)):
                found.append(key)
        return found

    def _fill(self) -> dict[str, Any]:
        """Settle the ledger, fill the holes with a worker that does not fail, and look at what is left."""
        states = self._states()
        dry = json.loads(self._v6("backfill", "--dry-run", "--json", *self._range()))
        asked = json.loads(self._v6("backfill", "--json", *self._range()))
        if (dry["holes"], len(dry["requests"])) != (asked["holes"], len(asked["requests"])):
            self.wrong.append("the dry run does not say what the backfill asks")
        worker = self._start("-m", "bench.instant_worker", log="worker")
        try:
            self._await_worker()
        finally:
            self._end(worker)
        after = self._states()
        left = {state: after[state] for state in ("expected", "failed", "never_asked") if after[state]}
        if left:
            self.wrong.append(f"after the backfill intervals are left without an end: {left}")
        return {
            "ledger": dict(states),
            "holes": asked["holes"],
            "fills": len(asked["requests"]),
            "ledger_after": dict(after),
        }

    def _states(self) -> Counter[str]:
        """What the ledger holds, once it has taken in how the requests ended."""
        self._v6("coverage", "--json", *self._range())
        return Counter(CoverageTable(self.lake).current().collect()["state"].to_list())

    def _range(self) -> list[str]:
        days = self.span.start.date() - timedelta(days=7), self.ended_at.date() + timedelta(days=1)
        return ["--first", str(days[0]), "--last", str(days[1])]

    def _v6(self, *arguments: str) -> str:
        """A command when it is over, and time runs as usual."""
        clock = f"{self.ended_at.isoformat()}@{datetime.now(UTC).isoformat()}*1"
        command = [sys.executable, "-m", "v6", *arguments, "--clock", clock]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout


def default_schedules() -> str:
    """The default set without deadlines, where nothing that was missed is given up."""
    text = files("v6.scheduler").joinpath(DEFAULTS).read_text()
    text = re.sub(r"^(deadline_minutes|catch_up) = .*\n", "", text, flags=re.MULTILINE)
    return _given_up_nothing(text)


def _given_up_nothing(text: str) -> str:
    return text.replace("request_type =", 'catch_up = "all"\noverlap = "queue"\nrequest_type =')


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the drill; 0 when nothing is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--seed", type=int, default=1, help="of the kills")
    parser.add_argument("--folder", type=Path, help="where lakes and logs go; without it a temporary one")
    options = parser.parse_args(arguments)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="drill-weeks-"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that its processes are ended too
    rng = random.Random(options.seed)
    spans = [SHORT_SPAN] if options.short else WEEKS
    text = _given_up_nothing(SHORT) if options.short else default_schedules()
    began = time.monotonic()
    results = []
    for number, span in enumerate(spans):
        print(f"{span.name}: {span.start} to {span.end} at {span.speed:g}", flush=True)
        results.append(Drill(span, folder / str(number), text, rng).run())
        print(json.dumps(results[-1], default=str), flush=True)
    wrong = [text for result in results for text in result["wrong"]]
    print(
        json.dumps(
            {
                "slots": sum(result["slots"] for result in results),
                "kills": sum(result["kills"] for result in results),
                "seconds": round(time.monotonic() - began, 1),
                "wrong": wrong,
                "folder": str(folder),
            }
        )
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
