"""``v6 gateway record`` and ``v6 gateway replay`` by hand: the same work twice, the second time from file."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from tests.acceptance.test_worker_processes import SECONDS, ended, start
from tests.integration.test_recordings import differences, without_moments

from v6.clock import Clock
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.table import tables

REQUESTS: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    ("option_chain", "SPY", {"dte": 30, "max_contracts": 20}, "option_snapshots"),
    ("futures_snapshot", "ES", {}, "futures_snapshots"),
    ("market_bars", "QQQ", {"bar_size": "1 hour", "duration": "5 D"}, "market_bars"),
)


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A process that serves, and the line it announces itself with."""
    with ended(start("--json", *arguments)) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield process, json.loads(line)


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (0, "")


async def ask(lake: Path, clock: str, order: int) -> None:
    queue = IBRequestQueue(str(lake), clock=Clock(clock), source="test")
    for request_type, symbol, parameters, _ in REQUESTS[::order]:
        await queue.insert(request_type=request_type, symbol=symbol, parameters=parameters)
    await queue.close()


def collect(lake: Path, port: int, clock: str, order: int) -> dict[str, pl.DataFrame]:
    """Ask for everything in an order, run a worker until all is done; the rows by table."""
    asyncio.run(ask(lake, clock, order))
    common = ["--lake", str(lake), "--clock", clock]
    with ended(start("worker", "--drain", "--gateway-port", str(port), *common)) as worker:
        _, errors = worker.communicate(timeout=SECONDS * 2)
        assert worker.returncode == 0, errors
    found = {}
    for *_, table in REQUESTS:
        rows = tables()[table].spec.conform(pl.read_delta(str(lake / table)))
        found[table] = without_moments(rows)
    return found


def test_what_was_recorded_is_collected_again_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "session.jsonl"
    with running("gateway", "--port", "0", "--now", "last-session", "--account", "SIM555777") as (gateway, served):
        with running("gateway", "record", "127.0.0.1", str(served["port"]), "--port", "0", "--to", str(file)) as (
            recorder,
            proxy,
        ):
            before = collect(tmp_path / "first", proxy["port"], served["clock"], 1)
            stop(recorder)
        stop(gateway)
    assert "SIM555777" not in file.read_text()
    with running("gateway", "replay", str(file), "--port", "0") as (replay, again):
        after = collect(tmp_path / "second", again["port"], again["clock"], -1)
        stop(replay)
    assert {table: rows.height > 0 for table, rows in before.items()} == dict.fromkeys(before, True)
    assert {table: differences(before[table], after[table]) for table in before} == {table: {} for table in before}


def test_nobody_to_record_and_a_file_that_is_there_are_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "session.jsonl"
    file.write_text("precious\n")
    for arguments, code, complaint in (
        (["record", "127.0.0.1", "1", "--to", str(tmp_path / "new.jsonl")], 4, "no gateway can be reached"),
        (["record", "127.0.0.1", "1", "--to", str(file)], 2, "exists"),
        (["replay", str(file)], 2, "no line of a recording"),
        (["replay", str(tmp_path / "absent")], 2, "cannot be read"),
    ):
        with ended(start("gateway", *arguments)) as refused:
            _, errors = refused.communicate(timeout=SECONDS)
        assert (refused.returncode, errors.count("\n")) == (code, 1), errors
        assert complaint in errors
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("session.jsonl", "precious\n")]
