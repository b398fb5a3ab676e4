"""Short forms of the drills that mostly wait for their clocks, beside each other.

``make drill-day``, ``make drill-weeks`` and ``make drill-causes`` are the whole ones.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.drills.day import SHORT

ROOT = Path(__file__).parents[2]
SECONDS = 900.0
COMMANDS = {
    "day": ("tests.drills.day", "--short"),
    "weeks": ("bench.drill_weeks", "--short"),
    "causes": ("bench.drill_causes", "--only", "no entitlement"),
}


@dataclass(frozen=True, kw_only=True)
class Running:
    """A drill that runs, and the files that it writes to."""

    process: subprocess.Popen[bytes]
    output: Path
    log: Path

    def results(self) -> list[dict[str, Any]]:
        """Its lines of JSON once it has ended, the last one the result."""
        assert self.process.wait(SECONDS) == 0, self.output.read_text() + self.log.read_text()
        return [json.loads(line) for line in self.output.read_text().splitlines() if line.startswith("{")]


def start(folder: Path, name: str) -> Running:
    output, log = folder / f"{name}.out", folder / f"{name}.log"
    command = [sys.executable, "-m", *COMMANDS[name], "--folder", str(folder / name)]
    with output.open("wb") as out, log.open("wb") as err:
        return Running(process=subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=err), output=output, log=log)


@pytest.fixture(scope="module")
def drills(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Running]]:
    folder = tmp_path_factory.mktemp("drills")
    running = {name: start(folder, name) for name in COMMANDS}
    try:
        yield running
    finally:
        for drill in running.values():
            drill.process.terminate()
            drill.process.wait()


def test_what_stops_collecting_is_named_everywhere_and_told_once(drills: dict[str, Running]) -> None:
    result = drills["causes"].results()[-1]
    assert result["wrong"] == []
    assert result["troubles"] == 2  # one of them is a closed market


def test_every_due_slot_has_exactly_one_request(drills: dict[str, Running]) -> None:
    span, result = drills["weeks"].results()[-2:]
    assert result["wrong"] == []
    assert span["slots"] > 150
    assert span["holes"] > 0
    assert span["kills"] >= 3


def test_every_request_of_a_day_ends_and_every_row_is_what_the_gateway_sent(drills: dict[str, Running]) -> None:
    figures = drills["day"].results()[-1]
    assert figures["wrong"] == []
    assert {"ready", "degraded", "held", "disconnected"} <= set(figures["states"])
    assert figures["outages"] >= len(SHORT.faults)
    assert figures["statuses"]["SUCCESS"] > 80
    assert figures["rows"]["option_snapshots"] > 300
