"""Backups of a lake that is being used, and lakes restored from them."""

import asyncio
import json
import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from tests.integration.test_lake_repair import FUTURES, ROWS, commits, counts, data_files, fill, finish, halved, rows

from v6.clock import ManualClock
from v6.data.backup import MANIFEST, back_up, restore
from v6.data.futures_snapshots import FUTURES_SNAPSHOTS
from v6.data.ib_request import REQUESTS, NewRequest
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.lake import Lake
from v6.data.lake_account import LakeAccount
from v6.data.outcome import Done
from v6.data.queue_log import current
from v6.data.table_writer import TableWriter
from v6.errors import LakeError, UsageError

NOON = datetime(2026, 11, 23, 17, 0, tzinfo=UTC)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def lake(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    return tmp_path / "lake", asyncio.run(fill(tmp_path / "lake"))


async def keep_working(lake: Path, stop: threading.Event) -> None:
    """What a worker does, as fast as it can."""
    q = IBRequestQueue(lake, clock=ManualClock(NOON), worker_id="worker", check=NewRequest.checked)
    writer = TableWriter(Lake(lake), FUTURES_SNAPSHOTS, app_id="worker", epoch=9)
    while not stop.is_set():
        await q.insert(request_type="futures", symbol="ES", result_table=FUTURES)
        for request in await q.claim(5):
            writer.append(rows(request.request_id))
            await q.settle({request.request_id: Done(result={"rows": ROWS})})
    await q.close()


def test_a_success_has_its_rows_in_a_backup_that_was_made_while_a_worker_works(
    lake: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    folder, _ = lake
    stop = threading.Event()
    work = threading.Thread(target=lambda: asyncio.run(keep_working(folder, stop)))
    work.start()
    try:
        made = [back_up(Lake(folder), tmp_path / "backups", now=now()) for _ in range(5)]
        Lake(folder).open(REQUESTS.name).create_checkpoint()
        made.append(back_up(Lake(folder), tmp_path / "backups", now=now()))
    finally:
        stop.set()
        work.join()
    assert made[-1].linked > 0
    for backup in made:
        restored = tmp_path / f"restored-{backup.folder.name}"
        restore(backup.folder, Lake(restored))
        states = current(Lake(restored).scan(REQUESTS)).filter(pl.col("status") == "SUCCESS").collect()
        there = counts(restored)
        assert states.height
        assert {request_id: there.get(request_id) for request_id in states["request_id"]} == dict.fromkeys(
            states["request_id"], ROWS
        )


async def test_a_restored_lake_opens_and_goes_on(lake: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    folder, ids = lake
    for table in (REQUESTS.name, FUTURES):
        Lake(folder).open(table).create_checkpoint()
        for path in commits(folder, table)[:-1]:
            path.unlink()
    backup = back_up(Lake(folder), tmp_path / "backups", now=now())
    shutil.rmtree(folder)
    manifest = restore(backup.folder, Lake(folder))
    assert (manifest["account"], LakeAccount(folder).account()) == ("SIM1", "SIM1")
    assert manifest["tables"][FUTURES]["rows"] == 2 * ROWS
    await finish(folder, ids)


def test_a_second_backup_costs_only_what_is_new(lake: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    first = back_up(Lake(lake[0]), tmp_path / "backups", now=now())
    second = back_up(Lake(lake[0]), tmp_path / "backups", now=now())
    assert (second.copied, second.linked) == (0, first.linked + sum(len(table.files) for table in first.tables))


def test_a_damaged_lake_is_not_backed_up_and_a_damaged_backup_not_restored(
    lake: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    backup = back_up(Lake(lake[0]), tmp_path / "backups", now=now())
    data_files(lake[0], FUTURES)[0].unlink()
    with pytest.raises(LakeError, match=FUTURES):
        back_up(Lake(lake[0]), tmp_path / "backups", now=now())
    halved(data_files(backup.folder, FUTURES)[0])
    with pytest.raises(LakeError, match=f"{FUTURES} .* is damaged"):
        restore(backup.folder, Lake(tmp_path / "restored"))
    assert [path.name for path in (tmp_path / "backups").iterdir()] == [backup.folder.name]
    assert not (tmp_path / "restored").exists()


def test_a_lake_is_never_overwritten_and_a_backup_lies_outside(
    lake: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    backup = back_up(Lake(lake[0]), tmp_path / "backups", now=now())
    with pytest.raises(UsageError, match="no empty folder"):
        restore(backup.folder, Lake(lake[0]))
    with pytest.raises(UsageError, match="the newest of it is"):
        restore(tmp_path / "backups", Lake(tmp_path / "other"))
    with pytest.raises(UsageError, match="within the lake"):
        back_up(Lake(lake[0]), lake[0] / "backups", now=now())


def test_the_commands(lake: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    def v6(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "v6", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)

    made = json.loads(v6("backup", str(tmp_path / "backups"), "--lake", str(lake[0]), "--json").stdout)
    assert Path(made["backup"], MANIFEST).is_file()
    restored = v6("restore", made["backup"], "--lake", str(tmp_path / "restored"))
    assert "4 tables as of" in restored.stdout
    assert v6("restore", made["backup"], "--lake", str(tmp_path / "restored")).returncode == 2
