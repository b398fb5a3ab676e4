"""Kills at random moments: workers, producers, both, now and then with the gateway, and while a worker still starts.

One lake, one gateway, one clock. A worker and a producer of a plan run side by side; each is killed 0.2 to 10 seconds
after it was ready and started again. When all kills are done the producer finishes its plan and a last worker drains
the queue; then the lake is checked against the gateway's journal.
"""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
from tests.drills import plan
from tests.drills.invariants import Findings, check
from tests.drills.plan import Planned
from tests.drills.processes import (
    SECONDS,
    STARTED,
    Child,
    Gateway,
    Site,
    killed_at_the_end,
    start_gateway_at,
    wait_until,
)
from tests.drills.producer import READY

from v6.data.ib_request import REQUESTS
from v6.data.lake import Lake

RECOVERED = '"event": "worker.recovered"'
DELAY = (0.2, 10.0)  # seconds after a process was ready
BOTH = 0.3  # of the worker's kills take the producer along
WITH_GATEWAY = 0.04  # and so many the gateway
MAINTAINING = 0.3  # so often a round of maintenance is killed, on top as well
STARTING = 0.15  # so often a worker that starts is killed before it is ready; these come on top
MORE = {"V6_MAINTENANCE_SECONDS": "5"}  # the worker's own maintenance, beside the rounds by command
CRASH_LIMIT = 3  # the default of the setting


@dataclass(kw_only=True)
class KillDrill:
    """One lake under fire."""

    folder: Path
    gateway: Gateway
    lines: int
    requests: list[Planned]
    kills: int
    rng: random.Random
    delay: tuple[float, float] = DELAY
    killed: Counter[str] = field(default_factory=Counter)
    killed_starting: int = 0
    killed_maintaining: int = 0
    rounds: int = 0
    gateways_ended: int = 0
    problems: list[str] = field(default_factory=list)
    _children: list[Child] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _producer: Child | None = None

    def __post_init__(self) -> None:
        self.site = Site(folder=self.folder, gateway=self.gateway, lines=self.lines, more=MORE)
        plan.write(self.site.plan, self.requests)
        self._killed_at = time.monotonic()
        self._allowance = self.folder / "allowance"
        self._allowance.write_text("0")

    def run(self) -> Findings:
        """Kill, finish, check."""
        try:
            with killed_at_the_end(self._children):
                with self._beside():
                    while sum(self.killed.values()) < self.kills:
                        self._one_life_of_a_worker()
                self._finish()
        finally:
            self.site.gateway.end()  # it may be another than the first
        return check(
            self.site.lake,
            [self.site.gateway.journal],
            self.site.gateway.clock,
            plan=self.requests,
            acknowledged=self.site.acknowledged,
        )

    def figures(self) -> dict[str, Any]:
        """How often who was killed."""
        return {
            "kills": sum(self.killed.values()),
            "killed": dict(self.killed),
            "killed_starting": self.killed_starting,
            "killed_maintaining": self.killed_maintaining,
            "maintenance_rounds": self.rounds,
            "gateways_ended": self.gateways_ended,
            **self._recoveries(),
        }

    def _recoveries(self) -> dict[str, int]:
        """How many workers found claims of a dead one, and what they did with them."""
        log = (self.folder / "worker.log").read_text()
        events = [json.loads(line) for line in log.splitlines() if RECOVERED in line and line.endswith("}")]
        landed, put_back = (sum(event[name] for event in events) for name in ("landed", "put_back"))
        return {"recoveries": len(events), "settled_by_recovery": landed, "put_back_by_recovery": put_back}

    # The worker

    def _one_life_of_a_worker(self) -> None:
        while self.rng.random() < STARTING and not self._is_poison_near():
            worker = self._worker()
            time.sleep(self.rng.uniform(0, 1.5))
            self._end(worker, "worker")
            self.killed_starting += 1
        worker = self._worker()
        if not worker.wait_for(STARTED):
            self._note(f"a worker ended with exit code {worker.process.poll()} before it was ready: {worker.log}")
            return
        time.sleep(self.rng.uniform(*self.delay))
        wait_until(
            lambda: not self._is_poison_near() or worker.process.poll() is not None, "the end of what crashed often"
        )
        kind = self._kind()
        with self._lock:
            if kind == "both" and self._producer is not None:
                self._producer.kill()
            self._end(worker, "worker")
            self.killed[kind] += 1
            self._killed_at = time.monotonic()
        if self.rng.random() < WITH_GATEWAY:
            self._restart_gateway()

    def _is_poison_near(self) -> bool:
        """Whether a request has died so often that once more would be poison, which has tests of its own."""
        is_open = pl.col("status").is_in(["PENDING", "PROCESSING"])
        rows = Lake(self.site.lake).scan(REQUESTS)
        ends = rows.group_by("request_id").agg(pl.col("status", "crashes").sort_by("revision").last())
        return bool(ends.filter(is_open, pl.col("crashes") >= CRASH_LIMIT).select(pl.len()).collect().item())

    def _kind(self) -> str:
        return "both" if self.rng.random() < BOTH else "worker"

    def _worker(self) -> Child:
        worker = self.site.start("worker", "--wait-for-gateway")
        self._children.append(worker)
        return worker

    def _restart_gateway(self) -> None:
        """It goes with the worker, in order, so that its journal is whole; the next worker is there before it is."""
        old = self.site.gateway
        old.end()
        new = start_gateway_at(self.folder, clock=old.clock, lines=self.lines, port=old.port)
        self.site = replace(self.site, gateway=new)
        self.gateways_ended += 1

    # What goes on beside the workers

    @contextmanager
    def _beside(self) -> Iterator[None]:
        """Producers come and go, and rounds of maintenance follow one another."""
        self._stop = threading.Event()
        lives = {"producers": self._produce, "maintenance": self._maintain, "allowance": self._allow}
        threads = [
            threading.Thread(target=live, args=(random.Random(self.rng.random()),), name=name)
            for name, live in lives.items()
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(SECONDS)

    def _maintain(self, rng: random.Random) -> None:
        while not self._stop.wait(rng.uniform(0, self.delay[1])):
            maintenance = self.site.start("maintain")
            self._children.append(maintenance)
            if rng.random() < MAINTAINING:
                self._stop.wait(rng.uniform(0.5, 3.0))
                if maintenance.process.poll() is None:
                    maintenance.kill()
                    self.killed_maintaining += 1
            elif maintenance.wait() != 0:
                self._note(f"maintenance failed: {maintenance.said()[-500:]}")
            else:
                self.rounds += 1

    def _produce(self, rng: random.Random) -> None:
        while not self._stop.is_set():
            self._producer = producer = self.site.producer(allowance=self._allowance)
            self._children.append(producer)
            if producer.wait_for(READY):
                self._stop.wait(rng.uniform(*self.delay))
            with self._lock:
                if producer.process.poll() is None:
                    self._end(producer, "producer")
                    self.killed["producer"] += 1
                    self._killed_at = time.monotonic()
                elif producer.process.poll() not in (0, -signal.SIGKILL):
                    self._note(f"a producer ended with exit code {producer.process.poll()}: {producer.log}")
            self._stop.wait(rng.uniform(0, self.delay[1]))

    def _allow(self, rng: random.Random) -> None:
        """Let the plan last as long as the kills: each brings its share of requests, within some seconds."""
        del rng
        while not self._stop.wait(0.2):
            done = sum(self.killed.values())
            share = min(1.0, (time.monotonic() - self._killed_at) / self.delay[1])
            count = int(len(self.requests) * (done + share) / self.kills)
            staged = self._allowance.with_suffix(".new")
            staged.write_text(str(count))
            staged.replace(self._allowance)

    # The end

    def _finish(self) -> None:
        producer, worker = self.site.producer(), self.site.start("worker", "--wait-for-gateway")
        self._children += [producer, worker]
        if producer.wait(seconds=20 * SECONDS) != 0:
            self._note(f"the last producer failed: {producer.said()[-500:]}")
        if worker.stop() != 0:
            self._note(f"the worker did not stop in order: {worker.said()[-500:]}")
        last = self.site.start("worker", "--drain", "--wait-for-gateway")
        self._children.append(last)
        if last.wait(seconds=10 * SECONDS) != 0:
            self._note(f"the last worker failed: {last.said()[-500:]}")

    def _end(self, child: Child, what: str) -> None:
        code = child.process.poll()
        if code is not None and code != -signal.SIGKILL:
            self._note(f"a {what} ended by itself with exit code {code}: {child.log}")
        child.kill()

    def _note(self, problem: str) -> None:
        self.problems.append(problem)
