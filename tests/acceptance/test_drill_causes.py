"""Causes made for real: named by the event, the alerts and the doctor, each told once and its end once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TROUBLES = ("another session", "no entitlement")  # `make drill-causes` has all of them


@pytest.mark.xdist_group("drills")
def test_what_stops_collecting_is_named_everywhere_and_told_once(tmp_path: Path) -> None:
    only = [word for trouble in TROUBLES for word in ("--only", trouble)]
    command = [sys.executable, "-m", "bench.drill_causes", *only, "--folder", str(tmp_path / "drill")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["wrong"] == []
    assert result["troubles"] == len(TROUBLES) + 1  # and a closed market
