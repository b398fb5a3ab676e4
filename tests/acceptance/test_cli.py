"""Every command as a real process: settings wherever they stand, and JSON wherever a program may read."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LAKE = ("--lake", "here")


def v6(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "v6", *arguments],
        cwd=folder,
        env={name: text for name, text in os.environ.items() if not name.startswith("V6_")},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def json_of(folder: Path, *arguments: str) -> Any:
    done = v6(folder, *arguments)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose lake ``here`` has one request that waits."""
    path = tmp_path_factory.mktemp("cli")
    assert v6(path, "submit", "option_chain", "SPY", "--parameters", '{"dte": 45}', *LAKE).returncode == 0
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        ["--json", *LAKE, "requests", "list"],
        ["--json", "requests", *LAKE, "list"],
        ["requests", "--json", "list", *LAKE],
        [*LAKE, "requests", "list", "--json"],
    ],
    ids=" ".join,
)
def test_settings_stand_before_the_command_after_it_or_between(folder: Path, arguments: list[str]) -> None:
    assert [request["symbol"] for request in json_of(folder, *arguments)] == ["SPY"]


def test_the_last_of_two_flags_counts(folder: Path) -> None:
    done = json_of(folder, "--lake", "elsewhere", "settings", "--json", *LAKE)
    assert done["lake"] == {"value": "here", "source": "flag"}


def test_a_request_is_the_same_object_wherever_it_is_shown(folder: Path) -> None:
    made = json_of(folder, "submit", "position_update", "--key", "once", *LAKE, "--json")
    again = json_of(folder, "submit", "position_update", "--key", "once", *LAKE, "--json")
    assert again == made
    shown = json_of(folder, "requests", "show", made["request_id"], *LAKE, "--json")
    assert shown["idempotency_key"] == "once"
    assert [row["status"] for row in shown["history"]] == ["PENDING"]
    cancelled = json_of(folder, "requests", "cancel", made["request_id"], "--reason", "not needed", *LAKE, "--json")
    assert (cancelled["status"], cancelled["error_message"]) == ("CANCELLED", "not needed")
    listed = json_of(folder, "requests", "list", "--status", "cancelled", *LAKE, "--json")
    assert [request["request_id"] for request in listed] == [made["request_id"]]


def test_a_request_can_be_told_when_to_begin_and_when_it_is_too_late(tmp_path: Path) -> None:
    clock = ["--clock", "2026-11-25T18:00:00Z*0.001"]
    when = ["--not-before", "+15m", "--deadline", "2026-11-25T20:00:00+01:00"]
    made = json_of(tmp_path, "submit", "position_update", *when, *clock, *LAKE, "--json")
    request = json_of(tmp_path, "requests", "show", made["request_id"], *LAKE, "--json")
    assert (request["not_before"][:16], request["deadline"][:19]) == ("2026-11-25T18:15", "2026-11-25T19:00:00")
    for text in ("tomorrow", "+99999999999d", "+5M"):
        refused = v6(tmp_path, "submit", "position_update", "--deadline", text, *LAKE)
        assert (refused.returncode, "--deadline" in refused.stderr, "+15m" in refused.stderr) == (2, True, True)


def test_the_status_answers_the_three_questions(folder: Path) -> None:
    status = json_of(folder, "status", *LAKE, "--json")
    assert status["collecting"] is False
    assert status["not_collecting_because"] == ["no worker has worked on this lake: start `v6 worker`"]
    assert status["complete"] is False
    assert "due" in status["incomplete_because"][0]
    words = v6(folder, "status", *LAKE).stdout
    assert words.startswith("collecting  no: no worker")


def test_tables_are_listed_with_their_numbers(folder: Path) -> None:
    [table] = [table for table in json_of(folder, "tables", *LAKE, "--json") if table["name"] == "ib_requests"]
    assert table["rows"] >= 1
    assert table["bytes"] > 0
    assert table["updated_at"]


def test_without_a_command_the_help_is_shown(tmp_path: Path) -> None:
    done = v6(tmp_path)
    assert done.returncode == 0
    assert "submit" in done.stdout


def test_help_shows_brackets_as_they_are_written(tmp_path: Path) -> None:
    shown = " ".join(v6(tmp_path, "settings", "--help").stdout.replace("│", " ").split())
    assert "ORIGIN[@ANCHOR][*SPEED]" in shown


def test_the_version_is_shown(tmp_path: Path) -> None:
    assert v6(tmp_path, "--version").stdout.startswith("v6 ")


def test_a_reader_that_goes_away_is_no_error(folder: Path) -> None:
    command = f"{sys.executable} -m v6 requests list --lake here --json | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
