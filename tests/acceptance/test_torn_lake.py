"""A lake after a power cut, from outside: last commits torn, repaired by the command, worked on again."""

import asyncio
import subprocess
from collections.abc import Sequence

import pytest
from tests.acceptance.test_doctor_tables import doctor
from tests.acceptance.test_worker_processes import SECONDS, Place, place, start_worker  # noqa: F401
from tests.integration.test_lake_repair import Damage, commits, emptied, first_line_only, halved

TABLES = ("ib_requests", "futures_snapshots", "worker_state", "lake_account", "contracts")
PAST = 2  # how many commits of each table


async def insert(place: Place, symbols: Sequence[str]) -> list[str]:  # noqa: F811
    queue = place.queue()
    ids = [await queue.insert(request_type="futures_snapshot", symbol=symbol) for symbol in symbols]
    await queue.close()
    return ids


def drain(place: Place) -> None:  # noqa: F811
    worker = start_worker(place, "--drain")
    _, errors = worker.communicate(timeout=SECONDS)
    assert worker.returncode == 0, errors


@pytest.mark.parametrize("damage", [emptied, halved, first_line_only], ids=lambda damage: damage.__name__)
def test_after_torn_commits_in_every_table_all_that_was_acknowledged_is_there(place: Place, damage: Damage) -> None:  # noqa: F811
    ids = asyncio.run(insert(place, ["ES", "NQ"]))
    drain(place)
    before = place.rows("futures_snapshots")
    ids += asyncio.run(insert(place, ["RTY"]))
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
