"""Crashes before and after every commit of maintenance: files joined, a closed day folded, checkpoints.

The lake of a whole cycle is maintained on the day after, each time a copy of it; then it is maintained again by one
that lives, and must still hold what the gateway sent.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta

from tests.drills import plan
from tests.drills.crash_drill import AT_ONCE, SIDES, Crashed, commits_of, ended
from tests.drills.crash_points import CrashPoint
from tests.drills.invariants import check
from tests.drills.processes import Child, Site, killed_at_the_end

from v6.clock import ClockSetting

COMMAND = "maintain"


@dataclass(frozen=True, kw_only=True)
class MaintenanceDrill:
    """A lake that lies still, and whoever fed it."""

    site: Site

    def points(self) -> list[CrashPoint]:
        """Before and after each commit of a round of maintenance."""
        copy = self._copy("reference")
        with killed_at_the_end([]) as children:
            self._maintain(copy, children)
        return [CrashPoint(table=t, number=n, side=side) for t, n in commits_of(copy.commits) for side in SIDES]

    def run(self, point: CrashPoint) -> Crashed:
        """A round that dies there, and one that does not."""
        copy = self._copy(str(point).replace(":", "."))
        with killed_at_the_end([]) as children:
            reached = self._maintain(copy, children, point)
            self._maintain(copy, children)
        findings = check(
            copy.lake, [self.site.gateway.journal], self.site.gateway.clock, plan=plan.read(self.site.plan)
        )
        return Crashed(points=[point], reached=[reached], findings=findings)

    def run_all(self, points: Sequence[CrashPoint]) -> Iterator[Crashed]:
        """Each point on a copy of its own."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            yield from pool.map(self.run, points)

    def _copy(self, name: str) -> Site:
        copy = replace(self.site, folder=self.site.folder.with_name(f"{COMMAND}-{name}"))
        shutil.copytree(self.site.lake, copy.lake)
        return copy

    def _maintain(self, site: Site, children: list[Child], crash: CrashPoint | None = None) -> bool:
        children.append(site.start(COMMAND, crash=crash, V6_CLOCK=self._tomorrow()))
        return ended(children[-1], dies=crash is not None)

    def _tomorrow(self) -> str:
        """The gateway's clock, a day and a half later: the day of the cycle is closed."""
        clock = ClockSetting.parse(self.site.gateway.clock)
        return str(replace(clock, origin=clock.origin + timedelta(days=1, hours=12)))
