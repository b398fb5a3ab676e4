"""Short form of the crashes around commits: real processes, real SIGKILLs. ``make drills`` has every commit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.drills.crash_drill import CrashDrill, crash_drill
from tests.drills.crash_points import CrashPoint
from tests.drills.drill import LINES, NOW, gateway

# Each series is one lake: the worker dies at each point, one after the other; then one finishes.
SERIES = (
    ("lake_account:1:after", "lake_account:1:before", "ib_requests:1:after"),
    ("contracts:2:after", "option_snapshots:2:after"),
    ("option_snapshots:3:after", "ib_requests:1:before", "ib_requests:1:after"),
)


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashDrill]:
    folder = tmp_path_factory.mktemp("crashes") / "drill"
    with gateway(folder) as served:
        yield crash_drill(folder, served, lines=LINES, now=NOW, long_chain=False)


@pytest.mark.parametrize("series", SERIES, ids=" ".join)
def test_a_worker_that_dies_around_a_commit_loses_and_doubles_nothing(
    drill: CrashDrill, series: tuple[str, ...]
) -> None:
    crashed = drill.run([CrashPoint.parse(text) for text in series])
    assert crashed.problem is None
    assert all(crashed.reached)


def test_a_producer_that_dies_around_a_commit_repeats_it_without_harm(drill: CrashDrill) -> None:
    points = [CrashPoint(table="ib_requests", number=n, side=side) for n, side in ((1, "after"), (1, "before"))]
    crashed = drill.run((), inserts=points)
    assert crashed.problem is None
