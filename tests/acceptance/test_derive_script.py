"""scripts/derive_statistics.py with a real worker and gateway: killed half way and run again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from tests.acceptance.test_loaders import gateway_settings, process, run

from v6.clock import Clock
from v6.data.derived_statistics import KEY, DerivedStatisticsTable
from v6.data.lake import Lake

RANGE = ("--start", "2026-08-03", "--end", "2026-10-30")
CONTENT = [*KEY, "value", "n_observations", "quality"]
PATIENCE = 240.0


@pytest.fixture(scope="module")
def gateway() -> Iterator[dict[str, str]]:
    with gateway_settings() as found:
        yield found


def content(lake: Path) -> pl.DataFrame:
    return DerivedStatisticsTable(Lake(lake)).current().select(CONTENT).sort(KEY).collect()


def load_bars(env: dict[str, str]) -> None:
    """Bars of a stock and of the VIX."""
    day = ("--bar-size", "1 day", "--start", "2025-06-01", "--end", "2026-11-20")
    for arguments in (("SPY",), ("VIX", "--sec-type", "IND")):
        code, _, error = run(env, "load_historical_data", *arguments, *day)
        assert code == 0, error


def test_a_derivation_that_was_killed_goes_on_and_ends_with_the_same_values(
    gateway: dict[str, str], tmp_path: Path
) -> None:
    unbroken = {**gateway, "V6_LAKE": str(tmp_path / "unbroken"), "V6_CLIENT_ID": "21"}
    with process("-m", "v6", "worker", env=unbroken, stderr=subprocess.DEVNULL):
        load_bars(unbroken)
        code, out, error = run(unbroken, "derive_statistics", "SPY", "VIX", *RANGE, "--json")
    assert code == 0, error
    whole = json.loads(out)
    assert (whole["requests"], whole["loaded_before"], whole["failed"]) == (6, 0, [])

    broken = {**gateway, "V6_LAKE": str(tmp_path / "broken"), "V6_CLIENT_ID": "22"}
    script = ("scripts/derive_statistics.py", "SPY", "VIX", *RANGE)
    with process("-m", "v6", "worker", env=broken, stderr=subprocess.PIPE) as worker:
        load_bars(broken)
        with process(*script, env=broken, stderr=subprocess.DEVNULL) as deriving:
            assert worker.stderr is not None
            derived = (line for line in worker.stderr if "derive_statistics" in line and "request.finished" in line)
            for _ in range(2):
                next(derived)
            children = children_of(worker.pid)
            for child in (worker, deriving):
                child.send_signal(signal.SIGKILL)
                child.wait()
    assert children
    wait_until_gone(children)
    with process("-m", "v6", "worker", env=broken, stderr=subprocess.DEVNULL):
        code, out, error = run(broken, "derive_statistics", "SPY", "VIX", *RANGE, "--json")
        assert code == 0, error
        assert content(tmp_path / "broken").equals(content(tmp_path / "unbroken"))
        assert json.loads(out)["loaded_before"] >= 1
        again = run(broken, "derive_statistics", "VIX", *RANGE, "--again", "--json")
    assert json.loads(again[1])["loaded_before"] == 0
    assert content(tmp_path / "broken").equals(content(tmp_path / "unbroken"))


def stat_of(pid: int) -> list[str]:
    """What the kernel says of a process from its state on; nothing of one that is gone, or dead and not waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return []
    return [] if fields[0] == "Z" else fields


def children_of(pid: int) -> list[int]:
    """The processes that a process started and that still run (Linux)."""
    pids = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    return [child for child in pids if (fields := stat_of(child)) and int(fields[1]) == pid]


def wait_until_gone(pids: list[int]) -> None:
    """Until the processes have ended; what derives for a killed worker ends by itself."""
    clock = Clock()
    limit = clock.machine_monotonic() + PATIENCE
    while any(stat_of(pid) for pid in pids):
        assert clock.machine_monotonic() < limit, pids
        clock.pause(0.1)


def test_a_dry_run_lists_a_request_a_month(tmp_path: Path) -> None:
    env = {**os.environ, "V6_LAKE": str(tmp_path / "lake"), "V6_CLOCK": "2026-11-23T17:45:00Z"}
    code, out, _ = run(env, "derive_statistics", "SPY", *RANGE, "--dry-run", "--json")
    assert code == 0
    edges = [(row["parameters"]["start"][:10], row["parameters"]["end"][:10]) for row in json.loads(out)]
    assert edges == [("2026-08-01", "2026-09-01"), ("2026-09-01", "2026-10-01"), ("2026-10-01", "2026-11-01")]
    assert not (tmp_path / "lake").exists()
