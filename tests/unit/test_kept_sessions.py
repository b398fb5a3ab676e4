"""The sessions kept in a file are what the installed libraries say, and only theirs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from v6.data.ib_request import NewRequest
from v6.data.ib_request_queue import IBRequestQueue
from v6.market_sessions import FILE, USED, XNYS, ask, market_sessions

QUIET = """
import sys
from v6.cli import run
code = run(sys.argv[1:])
sys.exit(code or "pandas" in sys.modules)
"""


@pytest.mark.parametrize("source", USED, ids=[calendar for _, calendar in USED])
def test_the_file_has_what_the_library_says(source: tuple[str, str]) -> None:
    assert market_sessions(*source) == list(ask(*source)), "run `python -m v6.market_sessions`"


def test_another_version_of_the_library_is_asked_itself(tmp_path: Path) -> None:
    kept = tmp_path / "kept.parquet"
    rows = pl.read_parquet(FILE).filter(calendar="XNYS").head(1)
    rows.write_parquet(kept)
    assert len(market_sessions(*XNYS, file=kept)) == 1
    rows.with_columns(version=pl.lit("0.0")).write_parquet(kept)
    assert len(market_sessions(*XNYS, file=kept)) > 14_000


async def insert_one(lake: Path) -> None:
    queue = IBRequestQueue(str(lake), check=NewRequest.checked)
    await queue.insert(request_type="t", symbol="SPY")
    await queue.close()


@pytest.mark.parametrize("command", ["freshness", "requests list"])
def test_a_command_that_looks_loads_no_pandas(command: str, tmp_path: Path) -> None:
    asyncio.run(insert_one(tmp_path))
    words = [*command.split(), "--lake", str(tmp_path), "--clock", "2026-11-24T15:00:00Z"]
    done = subprocess.run([sys.executable, "-c", QUIET, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
