"""The benchmarks' short forms: each runs to its end and closes with one JSON object."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def last_line(script: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", f"bench.{script.removesuffix('.py')}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def first_that_shows(what: Callable[[dict[str, Any]], bool], script: str, *runs: Sequence[str]) -> dict[str, Any]:
    """The figures of the first run that shows it: a busy machine may keep a process from its turn once."""
    for arguments in runs:
        figures = last_line(script, *arguments)
        if what(figures):
            break
    return figures


def test_the_queue_between_two_workers_and_a_producer() -> None:
    short = ("--finished", "3000", "--requests", "1500", "--batches", "5")
    figures = first_that_shows(lambda seen: seen["rivals"]["smaller_share"] > 0, "bench_queue.py", short, short, short)
    assert figures["enqueue_100000_seconds"] < 300
    assert figures["empty"]["idle_poll_cpu"] < 5
    assert figures["finished_3000"]["idle_poll_cpu"] < 5
    rivals = figures["rivals"]
    assert rivals["claimed"] >= 1500
    assert rivals["claimed_twice"] == 0
    assert rivals["smaller_share"] > 0  # the benchmark says how much, alone on its machine
    assert rivals["produced_meanwhile"] > 0


def test_the_queue_over_years() -> None:
    figures = last_line("bench_years.py", "--batches", "130", "--finished", "3000", "--history-batches", "5")
    batches = figures["batches"]
    assert batches["live_files_most"] <= 200
    assert batches["live_files_at_the_end"] == batches["days_at_the_end"]  # one, unless the machine is very busy
    assert batches["finished"] >= 130 * 50
    assert batches["live_bytes_a_request_folded"] < 150
    assert figures["finished_3000"]["live_files"] >= 90


def test_a_cycle_has_every_contract_once_and_breaks_no_limit_while_urgent_requests_come() -> None:
    figures = last_line("bench_session.py", "--lines", "100", "--symbols", "IWM", "--days", "8", "--plain", "0")
    for cycle in (figures["cold"], figures):
        assert cycle["succeeded"]
        assert cycle["contracts"] == cycle["rows"] > 200
    assert figures["urgent_succeeded"] == figures["urgent"] > 0
    assert figures["pacing_errors"] == figures["errors_100"] == 0
    assert 0 < figures["largest_second"] <= 50


def test_no_message_is_too_many_while_gateway_and_worker_are_stopped_and_go_on() -> None:
    figures = last_line("drill_stalls.py", "--stalls", "4", "--lines", "20")
    assert figures["stalls"] == 4
    assert figures["errors_100"] == 0
    assert 0 < figures["largest_second"] <= 10


def test_the_queue_beside_its_rivals() -> None:
    runs = [("--seconds", seconds, "--pending", "1000") for seconds in ("2", "10", "20")]
    figures = first_that_shows(they_get_in_each_others_way, "bench_rivals.py", *runs)
    assert figures["v6"]["claims_a_second"] > 0
    assert figures["v6"]["failed_inserts"] == figures["v6"]["failed_claims"] == figures["v6"]["claimed_twice"] == 0
    assert they_get_in_each_others_way(figures)


def they_get_in_each_others_way(figures: dict[str, Any]) -> bool:
    merging, updating = figures["MERGE"], figures["UPDATE"]
    return bool(merging["failed_claims"] and updating["failed_claims"] + updating["failed_inserts"])


def test_aggregations_answer_as_duckdb_does_and_both_reads_bring_their_rows() -> None:
    short = (
        "--sessions",
        "3",
        "--rows-a-day",
        "7000",
        "--rounds",
        "1",
        "--cold-reads",
        "1",
        "--memory",
        "1",
        "--derived",
        "1",
    )
    figures = last_line("bench_derive.py", *short)
    assert figures["rows"] > 3 * 6000
    assert set(figures["aggregations"]) == {"cycles", "put_call", "spreads", "days_of_contracts"}
    assert figures["latest_chain"]["rows"] > 2000
    assert figures["history"]["rows"] == 3
    assert figures["derivation"]["values"] > 500
    assert figures["derivation"]["fits"] > 30
    assert figures["memory_mb_by_days"]["1"] > 0


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("bench_append.py", ["--batches", "2"]),
        ("bench_flush.py", ["--rounds", "3"]),
        ("bench_table_object.py", ["--commits", "20"]),
        ("bench_partitions.py", ["--rows", "5400", "--days", "1", "--only", "date"]),
    ],
)
def test_a_short_form_ends_with_one_json_object(script: str, arguments: list[str]) -> None:
    assert last_line(script, *arguments)["benchmark"]


def test_every_benchmark_has_a_make_target_and_figures_in_the_docs() -> None:
    scripts = {path.name for path in (ROOT / "bench").glob("bench_*.py")}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    page = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    assert {name for name in scripts if f"bench/{name}" in makefile or f"bench.{name[:-3]}\n" in makefile} == scripts
    assert {name for name in scripts if name in page} == scripts
