"""A night and a half day with real processes, schedulers killed and two for a while: every due slot exactly once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.xdist_group("drills")
def test_every_due_slot_has_exactly_one_request(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.drill_weeks", "--short", "--folder", str(tmp_path / "drill")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    *_, span, result = map(json.loads, done.stdout.splitlines()[1:])
    assert result["wrong"] == []
    assert span["slots"] > 150
    assert span["holes"] > 0
    assert span["kills"] >= 3
