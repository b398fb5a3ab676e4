"""``v6 doctor`` names what is wrong, with a real gateway, a real worker and real damage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from v6.clock import Clock
from v6.data.lake import Lake
from v6.data.lake_account import LakeAccount

V6 = (sys.executable, "-m", "v6")
BARE = {name: value for name, value in os.environ.items() if not name.startswith("V6_")}


@contextmanager
def process(*arguments: str, env: dict[str, str], **more: Any) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen([*V6, *arguments], env=env, text=True, **more)
    try:
        yield child
    finally:
        child.terminate()
        child.communicate(timeout=240)


@pytest.fixture(scope="module")
def gateway() -> Iterator[dict[str, str]]:
    """A gateway in the middle of a session, without a subscription for QQQ."""
    serve = ("gateway", "--json", "--port", "0", "--now", "2026-11-23T17:45:00Z", "--not-subscribed", "QQQ")
    with process(*serve, env=BARE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        address = json.loads(child.stdout.readline())
        yield {**BARE, "V6_GATEWAY_PORT": str(address["port"]), "V6_CLOCK": address["clock"]}


@pytest.fixture
def env(gateway: dict[str, str], tmp_path: Path) -> dict[str, str]:
    return {**gateway, "V6_LAKE": str(tmp_path / "lake")}


def doctor(env: dict[str, str], *arguments: str) -> tuple[int, dict[str, dict[str, str]]]:
    done = subprocess.run(
        [*V6, "doctor", "--json", *arguments], env=env, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.stderr == "", done.stderr
    return done.returncode, {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}


def verdicts(found: dict[str, dict[str, str]]) -> dict[str, str]:
    return {check: finding["verdict"] for check, finding in found.items()}


def test_everything_in_order_is_ok_and_what_a_symbol_gets_is_told(env: dict[str, str]) -> None:
    with process("worker", env=env, stderr=subprocess.PIPE) as worker:
        assert worker.stderr is not None
        next(line for line in worker.stderr if "worker.started" in line)
        subprocess.run([*V6, "submit", "futures_snapshot", "ES", "--wait"], env=env, check=True, capture_output=True)
        code, found = doctor(env, "--symbol", "SPY", "--symbol", "qqq", "--symbol", "ES", "--symbol", "NOSUCH")
    seen = verdicts(found)
    assert code == 7  # for QQQ and NOSUCH
    assert {seen[check] for check in ("settings", "lake", "queue", "gateway", "account", "clock", "farms")} == {"ok"}
    assert (seen["worker worker"], seen["scheduler"]) == ("ok", "warning")
    assert found["client id"]["seen"] == "1 is held by worker worker"
    assert found["account"]["seen"] == "SIM000001, which is the lake's"
    assert (seen["market data SPY"], seen["market data ES"]) == ("ok", "ok")
    assert found["market data SPY"]["seen"].startswith("live, bid ")
    assert seen["market data QQQ"] == "problem"
    assert found["market data QQQ"]["seen"].startswith(("354", "10167"))
    assert "subscribe" in found["market data QQQ"]["advice"]
    assert found["market data NOSUCH"]["seen"].startswith("200")
    assert found["calendar XNYS"]["seen"] == "open until 2026-11-23 21:00 UTC"
    assert found["table futures_snapshots"]["seen"].startswith("1 rows")


def test_a_worker_that_was_killed_is_seen_at_once_and_a_paused_queue_is_a_problem(env: dict[str, str]) -> None:
    with process("worker", env=env, stderr=subprocess.PIPE) as worker:
        assert worker.stderr is not None
        next(line for line in worker.stderr if "worker.started" in line)
        subprocess.run([*V6, "submit", "position_update", "--wait"], env=env, check=True, capture_output=True)
        worker.kill()
        worker.wait()
    subprocess.run([*V6, "queue", "pause", "--reason", "repairs"], env=env, check=True, capture_output=True)
    code, found = doctor(env, "--symbol", "ES")
    assert code == 7
    assert (found["worker"]["verdict"], found["worker"]["seen"]) == ("problem", "none is running")
    assert (found["paused"]["verdict"], "repairs" in found["paused"]["seen"]) == ("problem", True)
    assert found["schedules"]["verdict"] == "ok"
    assert found["client id"]["seen"] == "1 is free"


def test_delayed_data_are_a_warning(env: dict[str, str]) -> None:
    _, found = doctor({**env, "V6_MARKET_DATA_TYPE": "3"}, "--symbol", "QQQ")
    assert found["market data QQQ"]["verdict"] == "warning"
    assert found["market data QQQ"]["seen"].startswith("delayed, bid ")


def test_schedules_that_cannot_be_read_are_a_problem(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "v6.toml").write_text('[[schedules]]\nid = "a"\nrequest_type = "option_chane"\nevery_minutes = 5\n')
    code, found = doctor({**env, "V6_CONFIG": str(tmp_path / "v6.toml")}, "--symbol", "ES")
    assert code == 7
    assert found["schedules"]["verdict"] == "problem"
    assert "v6.toml:3: request_type 'option_chane' is not known" in found["schedules"]["seen"]


def test_without_gateway_and_worker_both_are_named_and_the_rest_is_skipped(env: dict[str, str]) -> None:
    code, found = doctor({**env, "V6_GATEWAY_PORT": "1"})
    seen = verdicts(found)
    assert code == 7
    assert (seen["worker"], seen["gateway"], seen["tables"]) == ("problem", "problem", "warning")
    assert {seen[check] for check in ("account", "clock", "farms", "market data")} == {"skipped"}
    assert "V6_GATEWAY_PORT" in found["gateway"]["seen"]


def test_a_client_id_that_another_program_holds_is_named(env: dict[str, str], tmp_path: Path) -> None:
    other = {**env, "V6_LAKE": str(tmp_path / "other"), "V6_WORKER_NAME": "other"}
    with process("worker", env=other, stderr=subprocess.PIPE) as worker:
        assert worker.stderr is not None
        next(line for line in worker.stderr if "worker.started" in line)
        code, found = doctor(env, "--symbol", "SPY")
    assert code == 7
    assert found["client id"]["verdict"] == "problem"
    assert "in use" in found["client id"]["seen"]


def test_a_lake_of_another_account_names_both(env: dict[str, str]) -> None:
    LakeAccount(Lake(env["V6_LAKE"]), clock=Clock()).check("DU1234567")
    code, found = doctor(env, "--symbol", "SPY")
    assert code == 7
    assert found["account"]["seen"] == "the gateway's is SIM000001, the lake's is DU1234567"


def test_a_clock_that_is_off_is_a_warning(env: dict[str, str]) -> None:
    del env["V6_CLOCK"]
    _, found = doctor(env, "--symbol", "SPY")
    assert found["clock"]["verdict"] == "warning"
    assert "NTP" in found["clock"]["advice"]


def test_a_torn_table_is_named_and_the_others_go_on(env: dict[str, str]) -> None:
    subprocess.run([*V6, "submit", "futures_snapshot", "ES"], env=env, check=True, capture_output=True)
    LakeAccount(Lake(env["V6_LAKE"]), clock=Clock()).check("SIM000001")
    log = Path(env["V6_LAKE"]) / "lake_account" / "_delta_log"
    for commit in log.glob("*.json"):
        commit.write_text("{", encoding="utf-8")
    code, found = doctor(env, "--symbol", "SPY")
    assert code == 7
    assert found["table lake_account"]["verdict"] == "problem"
    assert "v6 doctor --tables" in found["table lake_account"]["advice"]
    assert found["table ib_requests"]["verdict"] == "ok"
    assert found["market data SPY"]["verdict"] == "ok"


@pytest.mark.parametrize("table", ["ib_requests", "lake_account"])
@pytest.mark.parametrize("damaged", ["*.parquet", "*.json"])
def test_a_file_that_was_cut_short_is_named_and_nothing_else_is_looked_at_through_it(
    env: dict[str, str], table: str, damaged: str
) -> None:
    subprocess.run([*V6, "submit", "futures_snapshot", "ES"], env=env, check=True, capture_output=True)
    LakeAccount(Lake(env["V6_LAKE"]), clock=Clock()).check("SIM000001")
    file = max((Path(env["V6_LAKE"]) / table).rglob(damaged))
    file.write_bytes(file.read_bytes()[:50] if damaged == "*.parquet" else b"")
    code, found = doctor(env, "--symbol", "SPY")
    assert code == 7
    assert found[f"table {table}"]["verdict"] == "problem"
    assert found["queue" if table == "ib_requests" else "account"]["verdict"] == "problem"
    assert found["market data SPY"]["verdict"] == "ok"


def test_a_lake_that_is_a_file_is_a_problem_and_the_gateway_is_still_looked_at(env: dict[str, str]) -> None:
    Path(env["V6_LAKE"]).write_text("", encoding="utf-8")
    code, found = doctor(env, "--symbol", "SPY")
    assert code == 7
    assert found["lake"]["verdict"] == "problem"
    assert "is a file" in found["lake"]["seen"]
    assert found["gateway"]["verdict"] == "ok"
