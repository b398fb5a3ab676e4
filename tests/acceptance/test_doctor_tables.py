"""`v6 doctor --tables` as a person meets it: what it says of a damaged lake, that it asks, and what it repairs."""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.acceptance.test_worker_processes import SECONDS, environment
from tests.integration.test_lake_repair import FUTURES, commits, counts, data_files, emptied, fill, halved

from v6.core.worker_lock import WorkerLock, lock_folder
from v6.data.lake import Lake


def doctor(lake: Path, *options: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "v6", "doctor", "--tables", "--lake", str(lake), *options]
    return subprocess.run(
        command, input=answer, capture_output=True, text=True, env=environment(), timeout=SECONDS, check=False
    )


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = tmp_path_factory.mktemp("filled") / "lake"
    asyncio.run(fill(lake))
    return lake


@pytest.fixture
def lake(filled: Path, tmp_path: Path) -> Path:
    """A lake whose queue and futures were torn."""
    lake = tmp_path / "lake"
    shutil.copytree(filled, lake)
    emptied(commits(lake, "ib_requests")[-1])
    halved(commits(lake, FUTURES)[-1])
    return lake


def test_it_names_table_and_file_and_changes_nothing_unless_told(lake: Path) -> None:
    before = sorted(path for path in lake.rglob("*") if path.is_file())
    looked = doctor(lake)
    assert looked.returncode == 7
    assert f"{commits(lake, 'ib_requests')[-1]} is empty" in looked.stdout
    assert f"{commits(lake, FUTURES)[-1]} is cut off" in looked.stdout
    assert "v6 doctor --tables --yes" in looked.stdout
    assert doctor(lake, answer="n\n").returncode == 7
    assert sorted(path for path in lake.rglob("*") if path.is_file()) == before


def test_it_repairs_when_a_person_agrees(lake: Path) -> None:
    repaired = doctor(lake, answer="y\n")
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert "Repair?" in repaired.stderr
    assert "every table is whole" in repaired.stdout
    assert doctor(lake).returncode == 0
    assert [*lake.glob(".damaged/*/ib_requests/_delta_log/*.json")]


def test_programs_get_one_json_object_and_name_what_was_lost(lake: Path) -> None:
    data_files(lake, FUTURES)[0].unlink()
    answer = json.loads(doctor(lake, "--json").stdout)
    assert answer["damaged"] == ["ib_requests", FUTURES]
    repaired = doctor(lake, "--json", "--yes")
    answer = json.loads(repaired.stdout)
    assert (repaired.returncode, answer["damaged"]) == (0, [])
    (lost,) = answer["repairs"][1]["lost"]
    assert (lost["request_type"], lost["rows_lacking"]) == ("futures", 3)
    assert lost["request_id"] not in counts(lake)


def test_a_single_table_can_be_named_and_a_wrong_name_is_refused(lake: Path) -> None:
    assert json.loads(doctor(lake, "--json", "--table", FUTURES).stdout)["damaged"] == [FUTURES]
    wrong = doctor(lake, "--table", "bars")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (3, 1)
    assert "has no table bars" in wrong.stderr


def test_the_queue_is_not_repaired_while_a_worker_runs(lake: Path) -> None:
    with WorkerLock(lock_folder(Lake(lake)), "night"):
        refused = doctor(lake, "--yes")
        assert refused.returncode == 6
        assert "night is running" in refused.stderr
        assert doctor(lake, "--yes", "--table", FUTURES).returncode == 0
