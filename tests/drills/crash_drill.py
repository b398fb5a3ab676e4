"""Crashes before and after every single commit of a cycle: each in a lake of its own, then the next worker finishes.

A cycle is one request of each type, a chain of more than 500 contracts, and one that the gateway refuses. A first run
without a crash tells which commits there are.
"""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from itertools import count
from pathlib import Path

from tests.drills import plan
from tests.drills.crash_points import STAGED, CrashPoint
from tests.drills.invariants import Findings, check
from tests.drills.plan import Planned
from tests.drills.processes import Child, Gateway, Site, killed_at_the_end

from v6.data.ib_request import REQUESTS
from v6.data.worker_state import WORKER_STATE

SIDES = ("before", "after")
# What a worker commits first when it finds claims of a predecessor.
RECOVERY = tuple(map(CrashPoint.parse, ("ib_requests:1:before", "ib_requests:1:after", "worker_state:1:before")))
AT_ONCE = 2
CLIENT_IDS = 4  # a worker whose client id is still in use takes one of the next three


@dataclass(frozen=True, kw_only=True)
class Crashed:
    """What came of a series of crashes in one lake."""

    points: Sequence[CrashPoint]
    reached: Sequence[bool]
    findings: Findings

    @property
    def problem(self) -> str | None:
        """What is wrong; None where nothing is."""
        return (
            None if self.findings.is_clean else f"{list(map(str, self.points))}: {self.findings.figures()['examples']}"
        )


@dataclass(frozen=True, kw_only=True)
class CrashDrill:
    """Lakes below one folder, fed by one gateway: each has a client id of its own, so that the journal can be told."""

    folder: Path
    gateway: Gateway
    lines: int
    requests: Sequence[Planned]
    client_ids: Iterator[int]

    @cached_property
    def reference(self) -> Site:
        """The lake of a cycle without a crash."""
        return self._site("reference")

    def points(self) -> list[CrashPoint]:
        """Before and after each commit that a worker makes from its start to the end of a cycle."""
        site = self.reference
        with killed_at_the_end([]) as children:
            self._insert(site, children)
            site.commits.unlink()
            self._drain(site, children)
        return [CrashPoint(table=t, number=n, side=side) for t, n in commits_of(site.commits) for side in SIDES]

    def staged(self, points: Sequence[CrashPoint]) -> list[CrashPoint]:
        """Between before and after, for the tables that a worker makes; none where nothing can trace system calls."""
        if shutil.which("strace") is None:
            return []
        made = [point for point in points if point.side == SIDES[0] and point.table != REQUESTS.name]
        return [replace(point, side=STAGED) for point in made]

    def recoveries(self, points: Sequence[CrashPoint]) -> list[list[CrashPoint]]:
        """After rows of any table landed and nothing was settled: three more deaths while the next workers recover."""
        landed = [point for point in points if point.side == SIDES[1] and point.number > 2]
        return [[first, *RECOVERY] for first in landed if first.table not in (REQUESTS.name, WORKER_STATE.name)]

    def insert_points(self) -> list[CrashPoint]:
        """The same of a producer that makes the queue and inserts."""
        site = self._site("reference-inserts")
        with killed_at_the_end([]) as children:
            self._insert(site, children)
        return [CrashPoint(table=t, number=n, side=side) for t, n in commits_of(site.commits) for side in SIDES]

    def run(self, points: Sequence[CrashPoint], *, inserts: Sequence[CrashPoint] = ()) -> Crashed:
        """A producer that dies at each of ``inserts``, a worker that dies at each of ``points``, one that finishes."""
        site = self._site("-".join(str(point) for point in (*inserts, *points)).replace(":", "."))
        with killed_at_the_end([]) as children:
            reached = [self._insert(site, children, crash) for crash in inserts]
            self._insert(site, children)
            reached += [self._dies(site, children, crash) for crash in points]
            self._drain(site, children)
        findings = check(
            site.lake,
            [self.gateway.journal],
            self.gateway.clock,
            clients=range(site.client_id, site.client_id + CLIENT_IDS),
            plan=self.requests,
            acknowledged=site.acknowledged,
        )
        return Crashed(points=(*inserts, *points), reached=reached, findings=findings)

    def run_all(
        self, series: Sequence[Sequence[CrashPoint]], *, inserts: Sequence[Sequence[CrashPoint]] = ()
    ) -> list[Crashed]:
        """Each series in a lake of its own, two at once."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            inserted = [pool.submit(self.run, (), inserts=points) for points in inserts]
            return [*pool.map(self.run, series), *(job.result() for job in inserted)]

    def _site(self, name: str) -> Site:
        client_id = next(self.client_ids)
        folder = self.folder / f"{client_id}-{name}"
        folder.mkdir(parents=True)
        site = Site(folder=folder, gateway=self.gateway, lines=self.lines, client_id=client_id)
        plan.write(site.plan, self.requests)
        return site

    def _insert(self, site: Site, children: list[Child], crash: CrashPoint | None = None) -> bool:
        children.append(site.producer(crash=crash))
        return ended(children[-1], dies=crash is not None)

    def _dies(self, site: Site, children: list[Child], crash: CrashPoint) -> bool:
        children.append(site.worker("--drain", crash=crash))
        return ended(children[-1], dies=True)

    def _drain(self, site: Site, children: list[Child]) -> None:
        children.append(site.worker("--drain"))
        ended(children[-1], dies=False)


def ended(child: Child, *, dies: bool) -> bool:
    """Whether it died at its point; one that never came to it ended in order. Raises when it ended otherwise."""
    code = child.wait()
    if code not in ((0, -signal.SIGKILL) if dies else (0,)):
        raise RuntimeError(f"a process ended with exit code {code}: {child.said()[-2000:]}")
    return code == -signal.SIGKILL


def commits_of(log: Path) -> Iterator[tuple[str, int]]:
    """The commits that a process under watch wrote down: the table, and which of its commits to it."""
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        yield entry["table"], entry["number"]


def crash_drill(folder: Path, gateway: Gateway, *, lines: int, now: datetime, long_chain: bool) -> CrashDrill:
    """A drill on a gateway that runs."""
    requests = plan.one_of_each(now, "cycle", long_chain=long_chain)
    return CrashDrill(folder=folder, gateway=gateway, lines=lines, requests=requests, client_ids=count(100, CLIENT_IDS))
