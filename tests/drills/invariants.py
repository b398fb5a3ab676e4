"""Checks a lake against the journals of the gateways that fed it: nothing lost, nothing twice, nothing fetched again.

    python -m tests.drills.invariants LAKE --journal FILE --clock "$V6_CLOCK"

The last line is one JSON object: how many of each finding, and examples. The exit code is 1 when there is any. It
knows nothing of the drills: any lake will do whose gateways kept a journal.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import DeltaTable
from tests.drills import fetch_checks, queue_checks, value_checks
from tests.drills.lake_state import RESULTS, Finding, LakeState
from tests.drills.plan import Planned, read
from tests.drills.producer import acknowledged_ids
from tests.drills.served import read_journals

from v6.clock import ClockSetting

KINDS = (
    "unreadable", "unfinished", "lost", "doubled", "refetched", "wrong_values", "bad_histories", "wrongly_failed",
)  # fmt: skip
CHECKS = (
    queue_checks.histories, queue_checks.ends, queue_checks.rows,
    value_checks.chains, value_checks.quotes, value_checks.bars, value_checks.positions,
    fetch_checks.claims, fetch_checks.fetches,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was looked at, and what is wrong by kind."""

    found: Mapping[str, Sequence[str]]
    requests: int = 0
    statuses: Mapping[str, int] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    fetches: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not any(self.found.values())

    def counts(self) -> dict[str, int]:
        """How many of each kind."""
        return {kind: len(self.found.get(kind, ())) for kind in KINDS}

    def problems(self) -> list[str]:
        """All findings as texts."""
        return [f"{kind}: {text}" for kind, texts in self.found.items() for text in texts]

    def figures(self) -> dict[str, Any]:
        """As a JSON object."""
        counts = {"requests": self.requests, **self.counts(), "fetches": self.fetches}
        more = {"statuses": dict(self.statuses), "rows": dict(self.rows)}
        return {**counts, **more, "examples": {kind: list(texts[:5]) for kind, texts in self.found.items()}}


def check(
    lake: Path,
    journals: Sequence[Path],
    clock: str,
    *,
    clients: Collection[int] | None = None,
    plan: Sequence[Planned] = (),
    acknowledged: Path | None = None,
) -> Findings:
    """Check one lake. ``clients`` are those that fed it, where its gateway had others too."""
    unreadable = list(_unreadable(lake))
    if unreadable:
        return Findings(found={"unreadable": unreadable})
    state = LakeState(lake=lake, served=read_journals(journals, clients), clock=ClockSetting.parse(clock))
    given = {} if acknowledged is None else acknowledged_ids(acknowledged)
    found: dict[str, list[str]] = defaultdict(list)
    for kind, text in _all_findings(state, plan, given):
        found[kind].append(text)
    return Findings(
        found=found,
        requests=len(state.last),
        statuses=Counter(str(request.status) for request in state.last.values()),
        rows={spec.name: state.rows(spec).height for spec in RESULTS},
        fetches=len(state.served.fetches),
    )


def _all_findings(
    state: LakeState, plan: Sequence[Planned], acknowledged: Mapping[str, Collection[str]]
) -> Iterator[Finding]:
    for look in CHECKS:
        yield from look(state)
    yield from queue_checks.planned(state, plan, acknowledged)


def _unreadable(lake: Path) -> Iterator[str]:
    for log in sorted(lake.glob("*/_delta_log")):
        try:
            DeltaTable(log.parent)
            pl.read_delta(str(log.parent))
        except BaseException as error:  # noqa: BLE001 - whatever keeps a reader from a table, polars's panics too
            yield f"{log.parent.name}: {error}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Check and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("lake", type=Path)
    parser.add_argument("--journal", type=Path, action="append", required=True, help="may be repeated, in order")
    parser.add_argument("--clock", required=True, help="the V6_CLOCK of gateway and worker, with its anchor")
    parser.add_argument("--client", type=int, action="append", help="only what was served to this client id")
    parser.add_argument("--plan", type=Path, help="a drill's plan")
    parser.add_argument("--acknowledged", type=Path, help="what a drill's producer wrote down")
    options = parser.parse_args(arguments)
    findings = check(
        options.lake,
        options.journal,
        options.clock,
        clients=options.client,
        plan=read(options.plan) if options.plan else (),
        acknowledged=options.acknowledged,
    )
    print(json.dumps(findings.figures(), default=str))
    return 0 if findings.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
