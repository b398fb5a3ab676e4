"""Installed without extras: worker and queue work; what needs an extra says which."""

import subprocess
import sys
from pathlib import Path

import pytest

from v6.errors import ExitCode

EXTRAS = ("exchange_calendars", "pandas_market_calendars", "pandas", "altair", "vl_convert", "apscheduler", "duckdb")
WITHOUT_EXTRAS = f"""
import sys

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hide())
from v6.cli import run
sys.exit(run(sys.argv[1:]))
"""


def v6(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_EXTRAS, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)


def test_a_request_is_inserted_listed_and_looked_for_by_a_worker(tmp_path: Path) -> None:
    request_id = v6(tmp_path, "submit", "position_update").stdout.strip()
    assert request_id in v6(tmp_path, "requests", "list").stdout
    worker = v6(tmp_path, "worker", "--drain", "--gateway-port", "1")
    assert worker.returncode == ExitCode.GATEWAY
    assert "collecting  no" in v6(tmp_path, "status").stdout


@pytest.mark.parametrize(
    ("command", "extra"),
    [(["gateway", "--port", "0"], "v6[simulator]"), (["demo"], "v6[demo]")],
    ids=["gateway", "demo"],
)
def test_what_needs_an_extra_says_which(tmp_path: Path, command: list[str], extra: str) -> None:
    done = v6(tmp_path, *command)
    assert done.returncode == ExitCode.USAGE
    assert f"pip install '{extra}'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "data").exists()
