"""Two workers of different names on one lake: one is killed, the other takes over what it had claimed.

A dead worker stays dead until the other has said that it took over, or finished what was open; then it comes back under
its name and the other may be the next to die.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.drills import plan
from tests.drills.invariants import Findings, check
from tests.drills.plan import Planned
from tests.drills.processes import SECONDS, STARTED, Child, Gateway, Site, has_ended, killed_at_the_end, wait_until

from v6.clock import Clock
from v6.data.ib_request import IBRequest, RequestStatus
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.queue_log import requests_of

TOOK_OVER = '"event": "worker.took_over"'
NAMES = ("first", "second")
CLIENT_IDS = (1, 11)
LEASE_SECONDS = 3.0
LIFE = (0.0, 0.3)  # machine seconds that it works before it dies


@dataclass(kw_only=True)
class PairDrill:
    """One lake and two workers."""

    folder: Path
    gateway: Gateway
    lines: int
    requests: list[Planned]
    kills: int
    rng: random.Random
    problems: list[str] = field(default_factory=list)
    taken_over: int = 0
    killed: int = 0

    def __post_init__(self) -> None:
        more = {"V6_LEASE_SECONDS": f"{LEASE_SECONDS:g}"}
        self.site = Site(folder=self.folder, gateway=self.gateway, lines=self.lines, more=more)
        plan.write(self.site.plan, self.requests)
        self._children: list[Child] = []

    def run(self) -> Findings:
        """Kill one after the other, finish, check."""
        with killed_at_the_end(self._children):
            alive = {name: self._worker(name) for name in NAMES}
            for number in range(self.kills):
                self._insert(self.requests[number :: self.kills])
                self._one_dies(alive)
            self._finish(list(alive.values()))
        self.gateway.end()
        return check(self.site.lake, [self.gateway.journal], self.gateway.clock, plan=self.requests)

    def _insert(self, requests: list[Planned]) -> None:
        async def insert() -> None:
            queue = IBRequestQueue(str(self.site.lake), clock=Clock(self.gateway.clock), source="drill")
            await queue.insert_many([request.new() for request in requests])
            await queue.close()

        asyncio.run(insert())

    def figures(self) -> dict[str, Any]:
        """How often one died and how often the other had something to take over."""
        return {"pair_kills": self.killed, "taken_over": self.taken_over}

    def _one_dies(self, alive: dict[str, Child]) -> None:
        """The one that has more under way, a moment after it has something."""
        wait_until(lambda: any(map(self._left_by, NAMES)), "a claim")
        time.sleep(self.rng.uniform(*LIFE))
        name, heir = sorted(NAMES, key=lambda name: len(self._left_by(name)), reverse=True)
        before = alive[heir].said().count(TOOK_OVER)
        alive[name].kill()
        self.killed += 1
        if self._left_by(name):
            what = f"the end of what {name} had claimed"
            wait_until(lambda: not self._left_by(name) or has_ended(alive[heir]), what)
            wait_until(lambda: self._has_taken_over(alive[heir], before) or has_ended(alive[heir]), "its word of it")
            self.taken_over += self._has_taken_over(alive[heir], before)
        if has_ended(alive[heir]):
            self.problems.append(f"the worker that should take over ended by itself: {alive[heir].log}")
        alive[name] = self._worker(name)

    @staticmethod
    def _has_taken_over(heir: Child, before: int) -> bool:
        """Whether it has said so once more; it says so a moment after the queue does."""
        return heir.said().count(TOOK_OVER) > before

    def _left_by(self, name: str) -> list[IBRequest]:
        """What a worker has claimed and not settled."""
        rows = requests_of(IBRequestQueue(str(self.site.lake)).requests().collect())
        return [row for row in rows if row.status is RequestStatus.PROCESSING and row.worker_id == name]

    def _worker(self, name: str) -> Child:
        client_id = str(CLIENT_IDS[NAMES.index(name)])
        worker = self._started(self.site.start("worker", V6_WORKER_NAME=name, V6_CLIENT_ID=client_id))
        if not worker.wait_for(STARTED):
            self.problems.append(f"worker {name} ended with exit code {worker.process.poll()}: {worker.log}")
        return worker

    def _started(self, child: Child) -> Child:
        self._children.append(child)
        return child

    def _finish(self, workers: list[Child]) -> None:
        for worker in workers:
            if worker.stop() != 0:
                self.problems.append(f"a worker did not stop in order: {worker.said()[-500:]}")
        last = self._started(self.site.start("worker", "--drain", V6_WORKER_NAME=NAMES[0]))
        if last.wait(seconds=10 * SECONDS) != 0:
            self.problems.append(f"the last worker failed: {last.said()[-500:]}")
