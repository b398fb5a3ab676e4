"""The loading scripts with a real gateway and a real worker: killed half way and run again, and asked for nonsense."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from v6.data.continuous_futures import ContinuousFutures, RollRule
from v6.data.coverage import CoverageTable
from v6.data.lake import Lake
from v6.data.market_bars import KEY, MarketBarsTable

ROOT = Path(__file__).parents[2]
SYMBOLS = ("SPY", "QQQ", "IWM")
RANGE = ("--bar-size", "5 mins", "--start", "2026-05-15", "--end", "2026-10-20")  # six months each
CONTENT = ["symbol", *KEY, "open", "high", "low", "close", "volume", "is_final", "date"]


@contextmanager
def process(*command: str, env: dict[str, str], **more: Any) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen([sys.executable, *command], env=env, text=True, cwd=ROOT, **more)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


@contextmanager
def gateway_settings() -> Iterator[dict[str, str]]:
    """The settings of clients of a gateway whose now is 2026-11-23."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("V6_")}
    serve = ("-m", "v6", "gateway", "--json", "--port", "0", "--now", "2026-11-23T17:45:00Z")
    with process(*serve, env=bare, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        address = json.loads(child.stdout.readline())
        yield {**bare, "V6_GATEWAY_PORT": str(address["port"]), "V6_CLOCK": address["clock"]}


@pytest.fixture(scope="module")
def gateway() -> Iterator[dict[str, str]]:
    with gateway_settings() as found:
        yield found


def run(env: dict[str, str], script: str, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, f"scripts/{script}.py", *arguments],
        env=env, capture_output=True, text=True, timeout=600, cwd=ROOT, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def content(lake: Path) -> pl.DataFrame:
    return MarketBarsTable(Lake(lake)).current().select(CONTENT).sort(CONTENT).collect()


def ledger_states(lake: Path) -> dict[str, int]:
    return dict(Counter(CoverageTable(lake).current(request_type="market_bars").collect()["state"]))


def test_a_load_that_was_killed_goes_on_and_ends_with_the_same_bars(gateway: dict[str, str], tmp_path: Path) -> None:
    unbroken = {**gateway, "V6_LAKE": str(tmp_path / "unbroken"), "V6_CLIENT_ID": "11"}
    with process("-m", "v6", "worker", env=unbroken, stderr=subprocess.DEVNULL):
        code, out, _ = run(unbroken, "load_historical_data", *SYMBOLS, *RANGE, "--json")
    assert code == 0
    whole = json.loads(out)
    assert (whole["requests"], whole["loaded_before"], whole["failed"]) == (18, 0, [])

    broken = {**gateway, "V6_LAKE": str(tmp_path / "broken"), "V6_CLIENT_ID": "12"}
    half = tmp_path / "half.toml"  # so that some are left to do, however long this process looks away
    half.write_text("[request_types.market_bars]\nlimit = 9\nlimit_seconds = 3600\n", encoding="utf-8")
    until_killed = {**broken, "V6_CONFIG": str(half)}
    script = ("scripts/load_historical_data.py", *SYMBOLS, *RANGE)
    with (
        process(*script, env=until_killed, stderr=subprocess.PIPE) as loader,
        process("-m", "v6", "worker", env=until_killed, stderr=subprocess.PIPE) as worker,
    ):
        assert worker.stderr is not None
        finished = (line for line in worker.stderr if "request.finished" in line)
        for _ in range(5):
            next(finished)
        for child in (worker, loader):
            child.send_signal(signal.SIGKILL)
            child.wait()
    with process("-m", "v6", "worker", env=broken, stderr=subprocess.DEVNULL):
        code, out, _ = run(broken, "load_historical_data", *SYMBOLS, *RANGE, "--json")
    again = json.loads(out)
    assert code == 0
    assert again["failed"] == []
    assert 4 <= again["loaded_before"] <= 9  # at most one batch was finished and not settled
    stored = MarketBarsTable(Lake(tmp_path / "broken")).scan().select(KEY).collect()
    assert stored.is_duplicated().sum() == 0
    assert content(tmp_path / "broken").equals(content(tmp_path / "unbroken"))
    assert content(tmp_path / "broken").height == whole["rows"]
    for name in ("broken", "unbroken"):  # every session from 1 May to 20 October, in three symbols
        assert ledger_states(tmp_path / name) == {"fetched": 3 * 119}


def test_every_month_of_a_future_is_kept_and_makes_a_series(gateway: dict[str, str], tmp_path: Path) -> None:
    env = {**gateway, "V6_LAKE": str(tmp_path / "lake"), "V6_CLIENT_ID": "13"}
    with process("-m", "v6", "worker", env=env, stderr=subprocess.DEVNULL):
        code, out, error = run(env, "load_futures_data", "ES", "--days", "500")
    assert code == 0, error
    assert "SUCCESS" in out
    lake = Lake(tmp_path / "lake")
    months = MarketBarsTable(lake).current(symbol="ES").select("expiry").unique().sort("expiry").collect()
    texts = [f"{day:%Y%m}" for day in months["expiry"]]
    assert texts == ["202509", "202512", "202603", "202606", "202609", "202612", "202703"]
    rolls = ContinuousFutures(lake).rolls("ES", RollRule.parse("volume/ratio"))
    assert [(f"{roll.from_expiry:%Y%m}", f"{roll.to_expiry:%Y%m}") for roll in rolls] == list(pairwise(texts[:-1]))
    assert all(0 < (roll.from_expiry - roll.rolled_on).days < 7 for roll in rolls)


def test_a_request_that_fails_is_named_and_gives_its_exit_code(gateway: dict[str, str], tmp_path: Path) -> None:
    env = {**gateway, "V6_LAKE": str(tmp_path / "lake"), "V6_CLIENT_ID": "14"}
    with process("-m", "v6", "worker", env=env, stderr=subprocess.DEVNULL):
        code, out, _ = run(env, "load_historical_data", "SPY", "NOSUCH", "--days", "20")
    assert code == 5
    assert "failed: NOSUCH" in out
    assert "200" in out
    assert ledger_states(tmp_path / "lake").keys() == {"fetched", "failed"}


@pytest.mark.parametrize(
    ("script", "arguments", "text"),
    [
        ("load_historical_data", [], "Missing argument"),
        ("load_historical_data", ["SPY", "--bar-size", "7 mins"], "bar size '7 mins' is not one of"),
        ("load_historical_data", ["S/P"], "symbol 'S/P' is not one IB knows"),
        ("load_historical_data", ["SPY", "--start", "yesterday"], "--start yesterday is no date"),
        ("load_historical_data", ["SPY", "--start", "2026-02-01", "--end", "2026-01-01"], "is not before --end"),
        ("load_historical_data", ["SPY", "--what-to-show", "TEA"], "what_to_show"),
        ("load_futures_data", ["QQ"], "the listing cycle of QQ is not known"),
        ("load_futures_data", ["ES", "--month", "2026-12"], "--month 2026-12 is no month"),
        ("load_futures_data", ["ES", "--month", "202012"], "does not trade between"),
        ("load_futures_data", ["ES", "--cycle", "HA"], "'A', which is no month's letter"),
    ],
)  # fmt: skip
def test_nonsense_is_one_clear_line_and_inserts_nothing(
    script: str, arguments: list[str], text: str, tmp_path: Path
) -> None:
    env = {**os.environ, "V6_LAKE": str(tmp_path / "lake")}
    code, out, error = run(env, script, *arguments)
    assert (code, out) == (2, "")
    assert text in error
    assert error.count("\n") == 1
    assert not (tmp_path / "lake").exists()


def test_a_dry_run_lists_the_requests_and_inserts_nothing(tmp_path: Path) -> None:
    env = {**os.environ, "V6_LAKE": str(tmp_path / "lake"), "V6_CLOCK": "2026-11-23T17:45:00Z"}
    code, out, _ = run(env, "load_historical_data", "SPY", "--bar-size", "1 min", "--days", "40", "--dry-run", "--json")
    assert code == 0
    edges = [(row["parameters"]["start"][:10], row["parameters"]["end"][:10]) for row in json.loads(out)]
    assert edges == [("2026-10-01", "2026-11-01"), ("2026-11-01", "2026-12-01")]
    assert not (tmp_path / "lake").exists()
