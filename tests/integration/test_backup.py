"""Backups of a lake that is being used, and lakes restored from them."""

import asyncio
import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from tests.integration.test_import import SIX_ROWS, option, with_feature, write
from tests.integration.test_lake_repair import FUTURES, ROWS, commits, counts, data_files, fill, finish, halved, rows

from v6.clock import ManualClock
from v6.data.backup import MANIFEST, PARTIAL, back_up
from v6.data.futures_snapshots import FUTURES_SNAPSHOTS
from v6.data.ib_request import REQUESTS, NewRequest
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.lake import Lake
from v6.data.lake_account import LakeAccount
from v6.data.outcome import Done
from v6.data.queue_log import current
from v6.data.restore import restore
from v6.data.table_writer import TableWriter
from v6.errors import LakeError, TableIncompatible, UsageError

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
    with pytest.raises(LakeError, match=f"the table {FUTURES} in {lake[0]} is damaged: {lake[0]}/"):
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


def test_what_a_killed_backup_or_restore_left_is_in_nobodys_way(
    lake: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    left = tmp_path / "backups" / f"{PARTIAL}20200101T000000000000Z"
    shutil.copytree(lake[0], left)
    (left / MANIFEST).write_text("{}")
    others = tmp_path / "backups" / f"{PARTIAL}download"
    others.mkdir()
    backup = back_up(Lake(lake[0]), tmp_path / "backups", now=now())
    assert (left.exists(), others.exists(), backup.linked) == (False, True, 0)
    shutil.copytree(lake[0] / FUTURES, tmp_path / f"{PARTIAL}restored" / FUTURES)
    assert restore(backup.folder, Lake(tmp_path / "restored"))["account"] == "SIM1"
    assert not (tmp_path / f"{PARTIAL}restored").exists()


def test_two_backups_to_one_folder_do_not_take_each_other_for_left_over(
    lake: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    (tmp_path / "backups").mkdir()
    folder = os.open(tmp_path / "backups", os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with pytest.raises(LakeError, match=r"another backup to .* is running"):
        back_up(Lake(lake[0]), tmp_path / "backups", now=now())
    os.close(folder)
    back_up(Lake(lake[0]), tmp_path / "backups", now=now())


def test_a_lake_is_restored_where_its_folder_cannot_be_replaced(
    lake: tuple[Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = back_up(Lake(lake[0]), tmp_path / "backups", now=now())
    disk, link = tmp_path / "disk", tmp_path / "link"
    (disk / "lost+found").mkdir(parents=True)
    restore(backup.folder, Lake(disk))  # as a file system of its own has it
    link.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    restore(backup.folder, Lake(link))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    restore(backup.folder, Lake("."))
    for place in (disk, link, tmp_path / "here"):
        assert counts(place) == counts(lake[0])
        assert not list(place.glob(f"{PARTIAL}*"))
    assert link.is_symlink()


def dies_at_the_queue(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    rename = Path.rename

    def renamed(self: Path, target: Path) -> Path:
        if target.name == REQUESTS.name:
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", renamed)


def test_a_restore_that_fails_or_is_killed_between_two_tables_can_be_repeated(
    lake: tuple[Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = back_up(Lake(lake[0]), tmp_path / "backups", now=now())
    disk = tmp_path / "disk"
    (disk / "lost+found").mkdir(parents=True)
    with monkeypatch.context() as patch:
        dies_at_the_queue(patch, OSError(errno.EIO, "Input/output error"))
        with pytest.raises(LakeError, match="Input/output error"):
            restore(backup.folder, Lake(disk))
    assert [path.name for path in disk.iterdir()] == ["lost+found"]
    with monkeypatch.context() as patch:
        dies_at_the_queue(patch, KeyboardInterrupt())
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        patch.setattr("v6.data.restore._move_all", killed_in_its_middle)
        with pytest.raises(KeyboardInterrupt):
            restore(backup.folder, Lake(disk))
    assert (disk / FUTURES).exists()
    restore(backup.folder, Lake(disk))
    assert counts(disk) == counts(lake[0])
    assert not list(disk.glob(f"{PARTIAL}*"))
    with pytest.raises(UsageError, match="no empty folder"):
        restore(backup.folder, Lake(disk))


def killed_in_its_middle(partial: Path, home: Path, tables: Iterable[str]) -> None:
    """What a signal leaves: nothing is taken back."""
    for name in tables:
        (partial / name).rename(home / name)


def test_what_a_killed_restore_put_in_place_and_was_changed_since_is_left_alone(
    lake: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    backup = back_up(Lake(lake[0]), tmp_path / "backups", now=now())
    disk = tmp_path / "disk"
    (disk / f"{PARTIAL}restore").mkdir(parents=True)
    shutil.copytree(backup.folder / FUTURES, disk / FUTURES)
    TableWriter(Lake(disk), FUTURES_SNAPSHOTS, app_id="worker", epoch=9).append(rows("another"))
    with pytest.raises(UsageError, match="no empty folder"):
        restore(backup.folder, Lake(disk))
    assert "another" in counts(disk)


def test_a_lake_is_restored_within_its_folder_where_the_one_above_cannot_be_written(
    lake: tuple[Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = back_up(Lake(lake[0]), tmp_path / "backups", now=now())
    home = tmp_path / "ours"
    home.mkdir()
    before = home.stat().st_ino
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path and access(path, mode))
    restore(backup.folder, Lake(home))
    assert (home.stat().st_ino, counts(home)) == (before, counts(lake[0]))


def test_a_file_system_without_links_gets_copies(
    lake: tuple[Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(target), None, str(self))

    first = back_up(Lake(lake[0]), tmp_path / "backups", now=now())
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    second = back_up(Lake(lake[0]), tmp_path / "backups", now=now())
    assert (second.copied, second.linked) == (first.copied, 0)


@pytest.mark.parametrize("said", ["{}", "[]", "null", '{"tables": [], "account": "", "created_at": ""}', "{"])
def test_a_manifest_that_says_nothing_is_no_backup(
    said: str, lake: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    backup = back_up(Lake(lake[0]), tmp_path / "backups", now=now())
    (backup.folder / MANIFEST).write_text(said)
    with pytest.raises(UsageError, match="is no backup of v6"):
        restore(backup.folder, Lake(tmp_path / "restored"))


def test_a_backup_without_one_of_its_tables_names_it_and_says_what_to_do(
    lake: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    backup = back_up(Lake(lake[0]), tmp_path / "backups", now=now())
    shutil.rmtree(backup.folder / FUTURES)
    with pytest.raises(LakeError, match=f"the table {FUTURES} in the backup .* restore another"):
        restore(backup.folder, Lake(tmp_path / "restored"))
    (tmp_path / "disk").write_text("")
    with pytest.raises(LakeError, match=r"disk/x failed: Not a directory: "):
        back_up(Lake(lake[0]), tmp_path / "disk" / "x", now=now())


def test_a_lake_with_a_lost_log_is_not_backed_up_without_that_table(
    lake: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    shutil.rmtree(lake[0] / FUTURES / "_delta_log")
    with pytest.raises(LakeError, match=f"{FUTURES} in .* is damaged: .*_delta_log has no commit any more"):
        back_up(Lake(lake[0]), tmp_path / "backups", now=now())


def test_a_table_with_deletion_vectors_is_refused(lake: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    table = write(lake[0] / "deleted", [option(strike_price=400 + n) for n in range(40)])
    with_feature(table, "deletionVectors", {"delta.enableDeletionVectors": "true"}, SIX_ROWS)
    with pytest.raises(TableIncompatible, match=r"the table deleted in .* has deletion vectors"):
        back_up(Lake(lake[0]), tmp_path / "backups", now=now())


def test_the_commands(lake: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    def v6(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "v6", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)

    made = json.loads(v6("backup", str(tmp_path / "backups"), "--lake", str(lake[0]), "--json").stdout)
    assert Path(made["backup"], MANIFEST).is_file()
    restored = v6("restore", made["backup"], "--lake", str(tmp_path / "restored"))
    assert "4 tables as of" in restored.stdout
    assert v6("restore", made["backup"], "--lake", str(tmp_path / "restored")).returncode == 2
