"""A lake after a power cut, from outside: last commits torn, repaired by the command, worked on again."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.acceptance.test_doctor_tables import doctor
from tests.acceptance.test_worker_processes import SECONDS, Place, served, start_worker
from tests.integration.test_lake_repair import Damage, commits, emptied, first_line_only, halved

TABLES = ("ib_requests", "futures_snapshots", "worker_state", "lake_account", "contracts")
PAST = 2  # how many commits of each table


async def insert(place: Place, symbols: Sequence[str]) -> list[str]:
    queue = place.queue()
    ids = [await queue.insert(request_type="futures_snapshot", symbol=symbol) for symbol in symbols]
    await queue.close()
    return ids


def drain(place: Place) -> None:
    worker = start_worker(place, "--drain")
    _, errors = worker.communicate(timeout=SECONDS)
    assert worker.returncode == 0, errors


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, list[str]]]:
    """A lake with two requests that have ended and one that waits, beside a gateway."""
    with served(tmp_path_factory.mktemp("collected")) as place:
        ids = asyncio.run(insert(place, ["ES", "NQ"]))
        drain(place)
        yield place, ids + asyncio.run(insert(place, ["RTY"]))


@pytest.mark.parametrize("damage", [emptied, halved, first_line_only], ids=lambda damage: damage.__name__)
def test_after_torn_commits_in_every_table_all_that_was_acknowledged_is_there(
    collected: tuple[Place, list[str]], damage: Damage, tmp_path: Path
) -> None:
    whole, ids = collected
    before = whole.rows("futures_snapshots")
    place = replace(whole, lake=tmp_path / "lake")
    shutil.copytree(whole.lake, place.lake)
    for table in TABLES:
        if (place.lake / table).exists():
            for path in commits(place.lake, table)[-PAST:]:
                damage(path)
    refused = start_worker(place, "--drain")
    _, errors = refused.communicate(timeout=SECONDS)
    assert refused.returncode == 3
    assert "v6 doctor --tables" in errors.splitlines()[-1]
    repaired: subprocess.CompletedProcess[str] = doctor(place.lake, "--yes")
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    drain(place)
    assert dict(place.requests().select("request_id", "status").iter_rows()) == dict.fromkeys(ids, "SUCCESS")
    after = place.rows("futures_snapshots")
    assert set(before.select("request_id", "con_id").rows()) <= set(after.select("request_id", "con_id").rows())
    assert after.height == after.select("request_id", "con_id").n_unique()
    assert set(after["request_id"]) == set(ids)
