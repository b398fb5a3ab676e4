"""The flushes of a whole cycle as the operating system saw them: the real worker under strace."""

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.acceptance.test_worker_processes import LINES, SECONDS, Place, environment, place  # noqa: F401

STRACE = shutil.which("strace")
BEGUN = re.compile(r"^(\d+) +(.*?) <unfinished \.\.\.>$")
RESUMED = re.compile(r"^(\d+) +<\.\.\. \w+ resumed>(.*)$")
CALL = re.compile(r"^\d+ +(?P<name>fsync|linkat|rename\w*)\((?P<arguments>.*)\) += 0$")
COMMIT = re.compile(r"(\w+)/_delta_log/(\d{20})\.json$")


class Call(NamedTuple):
    """One system call: what became durable, or what name appeared."""

    flushes: bool
    path: str


def whole_lines(trace: Path) -> list[str]:
    """One line a call, where it ended; strace splits those during which another thread did something."""
    begun: dict[str, str] = {}
    lines = []
    for line in trace.read_text().splitlines():
        if match := BEGUN.match(line):
            begun[match[1]] = match[2]
        elif match := RESUMED.match(line):
            lines.append(f"{match[1]} {begun.pop(match[1])}{match[2]}")
        else:
            lines.append(line)
    return lines


def calls(trace: Path, lake: Path) -> list[Call]:
    found = []
    for line in whole_lines(trace):
        match = CALL.match(line)
        if match is None:
            continue
        if match["name"] == "fsync":
            found.append(Call(True, match["arguments"].split("<", 1)[1].removesuffix(">")))
        else:
            found.append(Call(False, match["arguments"].split('"')[3]))
    return [Call(c.flushes, str(Path(c.path).relative_to(lake))) for c in found if c.path.startswith(f"{lake}/")]


def positions(trace: list[Call], *, flushes: bool) -> dict[str, int]:
    """Where each path first appears in the trace."""
    first: dict[str, int] = {}
    for position, call in enumerate(trace):
        if call.flushes is flushes:
            first.setdefault(call.path, position)
    return first


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
def test_every_flush_of_a_cycle_comes_before_what_relies_on_it(place: Place, tmp_path: Path) -> None:  # noqa: F811
    request_id = asyncio.run(place.queue().insert(request_type="futures_snapshot", symbol="ES"))
    trace_file = tmp_path / "trace"
    settings = ["--lake", str(place.lake), "--gateway-port", str(place.port), "--clock", place.clock]
    settings += ["--market-data-lines", str(LINES)]
    traced = [str(STRACE), "-f", "-y", "-qq", "-s", "512", "-e", "trace=fsync,linkat,rename,renameat,renameat2"]
    command = [*traced, "-o", str(trace_file), sys.executable, "-m", "v6", "worker", "--drain", *settings]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=3 * SECONDS, check=False)
    assert ended.returncode == 0, ended.stderr
    assert place.requests()["status"].to_list() == ["SUCCESS"]
    assert place.rows("futures_snapshots")["request_id"].unique().to_list() == [request_id]

    trace = calls(trace_file, place.lake)
    appeared, flushed = positions(trace, flushes=False), positions(trace, flushes=True)
    commits = [path for path in appeared if COMMIT.search(path)]
    for path in commits:  # data, then commit, then folders, each after it appeared
        table, log = path.split("/")[0], str(Path(path).parent)
        after = [c.path for c in trace[flushed[path] :] if c.flushes]
        assert flushed[path] > appeared[path]
        assert {table, log} <= set(after)
    for path in (p for p in appeared if p.endswith(".parquet")):
        own = next(c for c in commits if c.startswith(path.split("/")[0] + "/") and appeared[c] > appeared[path])
        assert appeared[path] < flushed[path] < flushed[own]
        assert str(Path(path).parent) in [c.path for c in trace[flushed[own] :] if c.flushes]
    rows = next(p for p in appeared if p.startswith("futures_snapshots/") and p.endswith(".parquet"))
    landing = next(c for c in commits if c.startswith("futures_snapshots/") and appeared[c] > appeared[rows])
    claim, settlement = sorted(c for c in commits if c.startswith("ib_requests/"))[-2:]
    results_log = next(
        i for i, c in enumerate(trace) if c.flushes and c.path.endswith("snapshots/_delta_log") and i > flushed[landing]
    )
    assert flushed[claim] < appeared[rows], "the claim is on the disk before anything is fetched for it"
    assert results_log < appeared[settlement], "rows are on the disk before the request is called a success"
