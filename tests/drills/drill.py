"""Drills the store with real processes and real SIGKILLs: ``make drills``, or

    python -m tests.drills.drill --kills 300 --requests 3000

1. a crash before, within and after every single commit of a cycle, of inserting, of recoveries and of maintenance, each
   in a lake of its own;
2. two workers of different names: one is killed, the other takes over from it;
3. kills at random moments of worker, producer, both, while they work, start and recover and while maintenance
   runs, over requests of all types.

After each the lake is checked against the gateway's journal. The last line is one JSON object; the exit code is 1 when
anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.drills import plan
from tests.drills.crash_drill import Crashed, crash_drill
from tests.drills.invariants import KINDS, Findings
from tests.drills.kill_drill import KillDrill
from tests.drills.maintenance_drill import MaintenanceDrill
from tests.drills.pair_drill import PairDrill
from tests.drills.processes import Gateway, start_gateway

NOW = datetime(2026, 11, 23, 14, 40, tzinfo=UTC)  # ten minutes after the open of a Monday
# Time-outs come so much sooner too, and a busy machine must keep within them; a session lasts over two hours.
SPEED = 3.0
LINES = 1_000  # ten times the usual limits: what counts here is how many requests a worker has under way


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the drills; 0 when nothing is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=300, help="at random moments")
    parser.add_argument("--requests", type=int, help="inserted meanwhile; without it ten a kill")
    parser.add_argument("--seed", type=int, default=1, help="of the random moments")
    parser.add_argument("--folder", type=Path, help="where lakes, journals and logs go; without it a temporary one")
    parser.add_argument("--only", choices=("commits", "pairs", "kills"), help="one drill alone")
    options = parser.parse_args(arguments)
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="drills-"))).resolve()
    began, total = time.monotonic(), Total()
    if options.only in (None, "commits"):
        drill_commits(folder / "commits", total)
    if options.only in (None, "pairs"):
        drill_pairs(folder / "pairs", total, max(2, options.kills // 15), options.seed)
    if options.only in (None, "kills"):
        drill_kills(folder / "kills", total, options.kills, options.requests or 10 * options.kills, options.seed)
    print(json.dumps(total.figures() | {"seconds": round(time.monotonic() - began, 1), "folder": str(folder)}))
    return 1 if total.problems else 0


class Total:
    """What all drills together found."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter(dict.fromkeys(("kills", "requests", *KINDS), 0))
        self.more: dict[str, Any] = {}
        self.problems: list[str] = []

    def take(self, findings: Findings, figures: Mapping[str, Any], problems: Sequence[str]) -> None:
        """What one drill found, what it did, and what else went wrong."""
        _say(json.dumps(findings.figures(), default=str))
        self.counts.update(findings.counts())
        self.more |= figures
        self.problems += [*problems, *findings.problems()]

    def figures(self) -> dict[str, Any]:
        """As a JSON object."""
        return {**self.counts, **self.more, "problems": self.problems[:20]}


@contextmanager
def gateway(folder: Path, *, lines: int = LINES, speed: float = SPEED) -> Iterator[Gateway]:
    """A gateway for one drill."""
    folder.mkdir(parents=True)
    started = start_gateway(folder, origin=NOW, speed=speed, lines=lines)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.end()


def drill_commits(folder: Path, total: Total) -> None:
    """A crash at every commit."""
    with gateway(folder, lines=4 * LINES) as served:
        drill = crash_drill(folder, served, lines=4 * LINES, now=NOW, long_chain=True)
        points, inserts = drill.points(), drill.insert_points()
        staged, recoveries = drill.staged(points), drill.recoveries(points)
        _say(f"crashes: {len(points)} around a worker's commits, {len(staged)} within, {len(inserts)} of a producer")
        _say(f"and {len(recoveries)} recoveries that die three times")
        alone = [[point] for point in (*points, *staged)]
        crashed = drill.run_all([*alone, *recoveries], inserts=[[point] for point in inserts])
        maintenance = MaintenanceDrill(site=drill.reference)
        rounds = maintenance.points()
        _say(f"and {len(rounds)} around the commits of maintenance")
        crashed += maintenance.run_all(rounds)
    for result in crashed:
        _note(result, total)
    total.more["crash_points"] = sum(len(result.points) for result in crashed)
    total.more["crash_points_reached"] = sum(sum(result.reached) for result in crashed)


def drill_kills(folder: Path, total: Total, kills: int, requests: int, seed: int) -> None:
    """Kills at random moments."""
    with gateway(folder) as served:
        drill = KillDrill(
            folder=folder,
            gateway=served,
            lines=LINES,
            requests=plan.planned(requests, NOW, seed=seed),
            kills=kills,
            rng=random.Random(seed),
        )
        findings = drill.run()
    figures = drill.figures()
    total.counts.update(requests=findings.requests, kills=figures.pop("kills"))
    total.take(findings, figures, drill.problems)


def drill_pairs(folder: Path, total: Total, kills: int, seed: int) -> None:
    """Two workers of different names."""
    with gateway(folder) as served:
        drill = PairDrill(
            folder=folder,
            gateway=served,
            lines=LINES,
            requests=plan.planned(12 * kills, NOW, seed=seed),
            kills=kills,
            rng=random.Random(seed),
        )
        findings = drill.run()
    total.take(findings, drill.figures(), drill.problems)


def _note(result: Crashed, total: Total) -> None:
    total.counts.update(result.findings.counts())
    if result.problem is not None:
        total.problems.append(result.problem)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
