"""``v6 schedule``: what it lists, explains, pauses, resumes and asks at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from v6.cli import run
from v6.data.ib_request import REQUESTS
from v6.data.lake import Lake

CLOCK = "2026-11-27T17:45:00Z"  # a quarter of an hour before the half day's close
CONFIG = """
[[schedules]]
id = "chains"
request_type = "option_chain"
symbols = ["SPY", "QQQ"]
every_minutes = 5

[[schedules]]
id = "bars"
request_type = "market_bars"
symbols = ["SPY"]
minutes_after_close = 15
"""


@pytest.fixture
def v6(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs ``v6 schedule …``; its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    Path("v6.toml").write_text(CONFIG)

    def command(*arguments: str) -> tuple[int, str, str]:
        code = run(["schedule", *arguments, "--clock", CLOCK])
        return code, *capsys.readouterr()

    return command


def states(v6: Any) -> dict[str, str]:
    return {row["id"]: row["state"] for row in json.loads(v6("list", "--json")[1])["schedules"]}


def test_it_lists_and_explains_the_next_slots_in_both_times(v6: Any) -> None:
    listed = json.loads(v6("list", "--json")[1])
    assert listed["fits"] is True
    assert [(row["id"], row["next_slot"][:16]) for row in listed["schedules"]] == [
        ("chains", "2026-11-27T17:50"),
        ("bars", "2026-11-27T18:15"),
    ]
    slots = json.loads(v6("explain", "chains", "--json")[1])["slots"]
    assert len(slots) == 10
    assert [slot["local"] for slot in slots[:3]] == [
        "2026-11-27T12:50:00-05:00",
        "2026-11-27T12:55:00-05:00",
        "2026-11-30T09:30:00-05:00",
    ]
    code, _, error = v6("explain", "nosuch")
    assert (code, "there are chains, bars" in error) == (2, True)


def test_a_pause_of_one_and_of_all_are_two_things(v6: Any) -> None:
    assert v6("pause", "chains")[:2] == (0, "paused chains\n")
    assert states(v6) == {"chains": "paused", "bars": "active"}
    v6("pause")
    assert states(v6) == {"chains": "paused", "bars": "paused"}
    assert "every schedule is paused: `v6 schedule resume` without an ID" in v6("resume", "chains")[1]
    assert v6("resume")[1] == "resumed every schedule\n"
    assert states(v6) == {"chains": "active", "bars": "active"}


def test_what_is_run_now_is_asked_at_once_and_bars_for_the_last_session(v6: Any, tmp_path: Path) -> None:
    assert len(json.loads(v6("run", "chains", "--symbol", "SPY", "--json")[1])["request_ids"]) == 1
    v6("run", "bars")
    rows = Lake(tmp_path / "data" / "lake").scan(REQUESTS).sort("request_type").collect()
    assert rows["request_type"].to_list() == ["market_bars", "option_chain"]
    assert json.loads(rows["parameters"][0])["start"] == "2026-11-25T14:30:00+00:00"
    code, _, error = v6("run", "chains", "--symbol", "IWM")
    assert (code, "it has SPY, QQQ" in error) == (2, True)
