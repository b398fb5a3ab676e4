"""What is on the disk when something counts: the order of flushes, the mark, and what happens when the disk refuses."""

import errno
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from v6.clock import ManualClock
from v6.data import flush
from v6.data.flush import Mark, mark_of
from v6.data.ib_request import REQUESTS, NewRequest
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.lake import Lake
from v6.data.outcome import Done
from v6.data.table_writer import TableWriter
from v6.data.worker_state import WorkerState, WorkerStateTable
from v6.errors import NotDurable, TableDamaged

NOON = datetime(2026, 11, 23, 17, 0, tzinfo=UTC)
LOG = "_delta_log"


@pytest.fixture
def flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were flushed, below the lake, in order."""
    seen: list[str] = []
    real = os.fsync

    def fsync(file: int) -> None:
        seen.append(os.path.relpath(Path(f"/proc/self/fd/{file}").readlink(), tmp_path))
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    return seen


def queue(lake: Path | Lake, worker: str = "worker") -> IBRequestQueue:
    return IBRequestQueue(lake, clock=ManualClock(NOON), worker_id=worker, check=NewRequest.checked)


async def insert(q: IBRequestQueue, key: str | None = None) -> str:
    return await q.insert(request_type="option_chain", symbol="SPY", idempotency_key=key)


def commit(table: str, version: int) -> str:
    return f"{table}/{LOG}/{version:020d}.json"


def kinds(paths: list[str], table: str = REQUESTS.name) -> list[str]:
    """Each flushed path as data, commit or folder."""
    return [
        "data" if path.endswith(".parquet") else "commit" if path.endswith(".json") else "folder"
        for path in paths
        if path.startswith(table)
    ]


async def test_an_insert_returns_when_data_commit_and_folders_are_flushed_in_that_order(
    tmp_path: Path, flushed: list[str]
) -> None:
    await insert(queue(tmp_path))
    at = flushed.index(commit(REQUESTS.name, 1))
    data, folders = flushed[at - 1], flushed[at + 1 :]
    assert Path(data).match("ib_requests/date=2026-11-23/*.parquet")
    assert folders == ["ib_requests/date=2026-11-23", "ib_requests", f"ib_requests/{LOG}"]
    assert "." in flushed, "the folder that names the new table"


async def test_a_claim_brings_rivals_commits_to_the_disk_first(tmp_path: Path, flushed: list[str]) -> None:
    careless = queue(Lake(tmp_path, flushes=False))
    for _ in range(3):
        await insert(careless)
    assert not flushed
    claimed = await queue(tmp_path).claim()
    assert len(claimed) == 3
    assert kinds(flushed) == ["data"] * 4 + ["commit"] * 5 + ["folder"] * 3
    assert mark_of(tmp_path, REQUESTS.name).read() == 4


async def test_what_was_flushed_is_not_flushed_again(tmp_path: Path, flushed: list[str]) -> None:
    await insert(queue(tmp_path))
    flushed.clear()
    await insert(queue(tmp_path))
    assert kinds(flushed) == ["data", "commit", "folder", "folder", "folder"]


async def test_a_key_that_another_process_holds_is_on_the_disk_when_its_id_is_given(
    tmp_path: Path, flushed: list[str]
) -> None:
    first = await insert(queue(Lake(tmp_path, flushes=False)), key="k")
    assert await insert(queue(tmp_path), key="k") == first
    assert commit(REQUESTS.name, 1) in flushed


async def test_a_settlement_is_committed_after_its_rows_are_on_the_disk(tmp_path: Path, flushed: list[str]) -> None:
    q = queue(tmp_path)
    request_id = await insert(q)
    await q.claim()
    flushed.clear()
    lake = Lake(tmp_path)
    TableWriter(lake, WorkerStateTable.spec, app_id="worker", epoch=1)
    assert commit("worker_state", 1) in flushed
    assert lake.open(REQUESTS.name).version() == 2
    await q.settle({request_id: Done()})
    assert flushed.index(commit("worker_state", 1)) < flushed.index(commit(REQUESTS.name, 3))


def test_a_table_made_anew_is_flushed_though_its_log_has_the_number_of_a_deleted_one(
    tmp_path: Path, flushed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Mark, "_identity", lambda _: b"8:4711")  # as file systems give them out again
    table = WorkerStateTable(tmp_path)
    for number in range(3):
        table.record(WorkerState(worker_id="w", state="ready", in_flight=number))
    shutil.rmtree(tmp_path / "worker_state")
    flushed.clear()
    WorkerStateTable(tmp_path).record(WorkerState(worker_id="w", state="ready", in_flight=0))
    assert [path for path in flushed if path.endswith(".json")] == [commit("worker_state", n) for n in (0, 1)]
    Lake(tmp_path).check_table("worker_state")


@pytest.mark.parametrize("content", [b"", b"torn", b"1:1 99 00000000", b"\xff\x00"])
async def test_a_torn_mark_only_costs_time(tmp_path: Path, flushed: list[str], content: bytes) -> None:
    await insert(queue(tmp_path))
    mark_of(tmp_path, REQUESTS.name).path.write_bytes(content)
    flushed.clear()
    await insert(queue(tmp_path))
    assert kinds(flushed) == ["data"] * 2 + ["commit"] * 3 + ["folder"] * 3


async def test_a_checkpoint_is_flushed_with_its_commit(tmp_path: Path, flushed: list[str]) -> None:
    table = WorkerStateTable(Lake(tmp_path))
    while not (tmp_path / "worker_state" / LOG / "_last_checkpoint").exists():
        table.record(WorkerState(worker_id="w", state="ready", in_flight=0))
    assert sum(path.endswith(".checkpoint.parquet") for path in flushed) == 1
    assert f"worker_state/{LOG}/_last_checkpoint" in flushed


async def test_after_the_log_was_cleaned_the_whole_file_system_is_flushed(
    tmp_path: Path, flushed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    q = queue(Lake(tmp_path, flushes=False))
    await insert(q)
    await insert(q)
    Lake(tmp_path).open(REQUESTS.name).create_checkpoint()
    for version in (0, 1):
        (tmp_path / commit(REQUESTS.name, version)).unlink()
    whole: list[Path] = []
    monkeypatch.setattr(flush, "flush_file_system", whole.append)
    await insert(queue(tmp_path))
    assert whole == [tmp_path / REQUESTS.name]
    assert mark_of(tmp_path, REQUESTS.name).read() == 3


async def test_a_disk_that_loses_a_write_is_an_error_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    q = queue(tmp_path)
    await insert(q)

    def fsync(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(NotDurable, match=r"ib_requests.*\.parquet could not be flushed to the disk"):
        await insert(q)
    assert mark_of(tmp_path, REQUESTS.name).read() == 1


async def test_an_emptied_commit_is_never_passed_over(tmp_path: Path) -> None:
    q = queue(Lake(tmp_path, flushes=False))
    await insert(q)
    (tmp_path / commit(REQUESTS.name, 1)).write_bytes(b"")
    with pytest.raises(TableDamaged, match=r"ib_requests: its commit .*00001\.json is empty"):
        await insert(queue(tmp_path))


async def test_without_the_setting_nothing_is_flushed(tmp_path: Path, flushed: list[str]) -> None:
    await insert(queue(Lake(tmp_path, flushes=False)))
    assert not flushed
    assert not Lake("s3://bucket/lake").flushes
