"""A damaged table holds what needs it and nothing else; a disk that takes nothing more holds everything, said once."""

import asyncio
import errno
import os
import re
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pytest
from tests.integration.test_worker import Bench, Note, NoteParameters, NotesTable, Session, Types, notes

from v6.cli import run
from v6.core.worker_events import LakeWriteHeld, LakeWriteResumed, TableHeld
from v6.data.ib_request import REQUESTS, NewRequest, RequestStatus
from v6.data.lake import Lake
from v6.data.lake_account import LakeAccount
from v6.data.lake_repair import LakeRepair, examine_lake
from v6.data.queue_controls import Action, QueueControlsTable
from v6.data.table import Table
from v6.data.table_spec import TableSpec
from v6.data.table_writer import TableWriter
from v6.data.worker_state import WorkerState, WorkerStateTable
from v6.errors import DiskRefuses, LakeError, TableDamaged, TableIncompatible
from v6.request_types.base import Fetched, Job, Part

FULL = "the disk of the lake"


class BarsTable(NotesTable):
    spec: ClassVar[TableSpec] = replace(NotesTable.spec, name="bars")


class Bar(Note):
    name = "bar"
    result_table = "bars"


class TwoTables(Types):
    """A catalogue whose types write to tables of their own."""

    def check(self, new: NewRequest, /) -> NewRequest:
        return replace(super().check(new), result_table=self.get(new.request_type).result_table)


TABLES: dict[str, type[Table]] = {"notes": NotesTable, "bars": BarsTable}


def both(path: Path) -> Bench:
    return Bench(path, TwoTables(Note(), Bar()))


def write(bench: Bench, table: type[Table], request_id: str) -> None:
    writer = TableWriter(bench.lake, table.spec, app_id="worker", epoch=1)
    now = datetime.now(UTC)
    writer.append(notes([1]).with_columns(request_id=pl.lit(request_id), known_at=pl.lit(now)))


def newest_commit(bench: Bench, table: str) -> Path:
    return max((bench.path / "lake" / table / "_delta_log").glob("*.json"))


def cut_off(bench: Bench, table: str) -> Path:
    """The table's first file, shorter than it should be."""
    path = min(Path(bench.lake.uri(table)).rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-700])
    return path


def repair(bench: Bench) -> None:
    for examination in list(examine_lake(bench.lake)):
        if not examination.is_sound:
            LakeRepair(bench.lake, datetime.now(UTC)).repair(examination)


def holds(bench: Bench, kind: type[object]) -> list[Any]:
    return [event for event in bench.seen if isinstance(event, kind)]


async def ended(bench: Bench, request_id: str) -> None:
    while await bench.status(request_id) is not RequestStatus.SUCCESS:
        await bench.clock.sleep(0.02)


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("v6.core.table_health.LOOK_SECONDS", 0.05)


@pytest.mark.parametrize("content", [b"", b'{"commitInfo":'])
async def test_a_damaged_table_is_seen_at_the_start_and_others_go_on(tmp_path: Path, content: bytes) -> None:
    bench = both(tmp_path)
    landed = await bench.insert(request_type="note")
    await bench.queue.claim(1)
    write(bench, NotesTable, landed)
    newest_commit(bench, "notes").write_bytes(content)
    waiting, bar = await bench.insert(request_type="note"), await bench.insert(request_type="bar")
    async with bench.running(result_tables=TABLES):
        await ended(bench, bar)
        held = await bench.queue.get(waiting)
        assert (held.status, held.attempt) == (RequestStatus.PENDING, 0)
        assert await bench.status(landed) is RequestStatus.PROCESSING, "only its table knows whether it landed"
        (event,) = holds(bench, TableHeld)
        assert event.table == "notes"
        assert str(newest_commit(bench, "notes")) in event.reason
        assert "v6 doctor --tables" in event.reason
        await asyncio.to_thread(repair, bench)
        await ended(bench, waiting)
        await ended(bench, landed)
    assert sorted(bench.rows()["request_id"]) == sorted([landed, waiting])
    assert holds(bench, TableHeld)[-1].reason is None
    assert (await bench.queue.get(waiting)).attempt == 1


def test_rows_are_read_only_where_files_have_their_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = WorkerStateTable(tmp_path)
    for number in range(2):
        table.record(WorkerState(worker_id="w", state="ready", in_flight=number))
    cut, _ = sorted(tmp_path.glob("worker_state/*/*.parquet"))
    cut.write_bytes(cut.read_bytes()[:-1])
    monkeypatch.setattr("v6.data.table_examination.unreadable_rows", lambda path: pytest.fail(f"{path} was read"))
    with pytest.raises(TableDamaged, match=str(cut)):
        Lake(tmp_path).check_table("worker_state", deep=True)


async def test_a_table_that_is_damaged_later_holds_its_requests_and_spends_no_attempt(tmp_path: Path) -> None:
    bench = both(tmp_path)
    async with bench.running(result_tables=TABLES):
        write(bench, NotesTable, "an earlier one")
        newest_commit(bench, "notes").write_bytes(b'{"commitInfo":')
        note, bar = await bench.insert(request_type="note"), await bench.insert(request_type="bar")
        await ended(bench, bar)
        await bench.until(lambda: bool(holds(bench, TableHeld)))
        held = await bench.queue.get(note)
        assert (held.status is not RequestStatus.FAILED, held.attempt) == (True, 0)
        await asyncio.to_thread(repair, bench)
        await ended(bench, note)
    assert (await bench.queue.get(note)).attempt == 1
    assert bench.rows()["request_id"].to_list().count(note) == 1


async def test_a_table_that_cannot_be_looked_at_for_a_while_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = both(tmp_path)
    write(bench, NotesTable, "an earlier one")
    check, left = Lake.check_table, [3]

    def no_handles(lake: Lake, name: str, *, deep: bool = False) -> None:
        if name == "notes" and left[0]:
            left[0] -= 1
            raise LakeError("the table notes could not be read: Too many open files")
        check(lake, name, deep=deep)

    monkeypatch.setattr(Lake, "check_table", no_handles)
    note = await bench.insert(request_type="note")
    async with bench.running(result_tables=TABLES):
        await ended(bench, note)
    assert [event.reason and "open files" in event.reason for event in holds(bench, TableHeld)] == [True, None]


def of_another_version(spec: TableSpec) -> TableSpec:
    columns = [replace(column, dtype=pl.String) if column.name == "con_id" else column for column in spec.columns]
    return replace(spec, columns=tuple(columns))


@pytest.mark.parametrize("comes_later", [False, True])
async def test_a_table_of_another_version_holds_its_requests_and_the_difference_is_shown(
    tmp_path: Path, comes_later: bool
) -> None:
    bench, other = both(tmp_path), of_another_version(NotesTable.spec)
    if not comes_later:
        bench.lake.ensure(other)
    async with bench.running(result_tables=TABLES):
        if comes_later:
            bench.lake.ensure(other)
        note, bar = await bench.insert(request_type="note"), await bench.insert(request_type="bar")
        await ended(bench, bar)
        await bench.until(lambda: bool(holds(bench, TableHeld)))
        held = await bench.queue.get(note)
        assert (held.status is not RequestStatus.FAILED, held.attempt) == (True, 0)
        event = holds(bench, TableHeld)[0]
        assert "notes does not fit this version: con_id is String and must be Int64" in event.reason
        shutil.rmtree(bench.lake.uri("notes"))
        await ended(bench, note)
    assert (await bench.queue.get(note)).attempt == 1


async def test_a_queue_of_another_version_is_refused_at_the_start(tmp_path: Path) -> None:
    columns = [replace(c, dtype=pl.Int64) if c.name == "revision" else c for c in REQUESTS.columns]
    bench = both(tmp_path)
    bench.lake.ensure(replace(REQUESTS, columns=tuple(columns)))
    with pytest.raises(TableIncompatible, match="ib_requests does not fit this version: revision is Int64 and must be"):
        await bench.drain(TABLES)


@pytest.mark.parametrize("table", ["ib_requests", "lake_account", "queue_controls"])
async def test_without_the_queue_or_the_account_no_worker_begins(tmp_path: Path, table: str) -> None:
    bench = both(tmp_path)
    QueueControlsTable(bench.lake).record("type:bar", Action.RESUME, source="test")
    await bench.insert(request_type="bar")
    await bench.drain(TABLES)
    newest_commit(bench, table).write_bytes(b"")
    with pytest.raises(TableDamaged, match=rf"{table} .* is empty: run `v6 doctor --tables`"):
        await Bench(tmp_path, TwoTables(Note(), Bar()), Session()).drain(TABLES)


async def test_whoever_reads_a_file_that_is_cut_off_is_told_which(tmp_path: Path) -> None:
    bench = both(tmp_path)
    request_id = await bench.insert(request_type="note")
    await bench.drain(TABLES)
    for table in ("notes", "ib_requests"):
        path = cut_off(bench, table)
        text = rf"{table} .*{path.name} has [\d,]+ bytes, not [\d,]+: run `v6 doctor --tables`"
        with pytest.raises(TableDamaged, match=text):
            bench.rows() if table == "notes" else bench.queue.requests()
    with pytest.raises(TableDamaged):
        await bench.open_queue().get(request_id)


def test_a_log_without_any_commit_is_damaged_and_not_new(tmp_path: Path) -> None:
    bench = both(tmp_path)
    write(bench, NotesTable, "x")
    for path in (tmp_path / "lake" / "notes" / "_delta_log").glob("*.json"):
        path.unlink()
    with pytest.raises(TableDamaged, match=r"0000\.json is missing"):
        bench.lake.check_table("notes")


# A disk that takes nothing more


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a file system")
    with mounted(tmp_path / "disk") as folder:
        yield folder


def fill(disk: Path) -> None:
    """Until nothing fits any more; somebody else may be writing meanwhile."""
    with (disk / "filler").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                continue
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def read_only(disk: Path) -> None:
    """Another view of the same files over the first one; a process that has files open there makes no difference."""
    subprocess.run(["mount", "--bind", str(disk), str(disk)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(disk)], check=True)


def half_written(disk: Path) -> list[Path]:
    """What the storage library names until it is whole."""
    return list(disk.rglob("*#*"))


def make_room(disk: Path) -> None:
    (disk / "filler").unlink()


def read_write(disk: Path) -> None:
    subprocess.run(["umount", "-l", str(disk)], check=True)  # the worker may have a file open there right now


@pytest.mark.parametrize(
    ("refuse", "accept", "reason"),
    [
        (fill, make_room, "No space left on device"),
        (read_only, read_write, "(Read-only file system|cannot be written)"),
    ],
    ids=["full", "read-only"],
)
async def test_a_disk_that_refuses_in_mid_append_is_said_once_and_the_worker_goes_on_by_itself(
    disk: Path, refuse: Callable[[Path], None], accept: Callable[[Path], None], reason: str
) -> None:
    release = asyncio.Event()

    async def script(job: Job[NoteParameters], part: Part) -> Fetched:
        await release.wait()
        return Fetched(rows=notes(range(1000)))

    note = Note(script)
    bench = Bench(disk, Types(note))
    request_id = await bench.insert()
    async with bench.running():
        await bench.claimed.get()
        refuse(disk)
        release.set()
        await bench.until(lambda: any(event.table == "notes" for event in holds(bench, LakeWriteHeld)))
        await bench.clock.sleep(1.0)  # several tries
        accept(disk)
        await ended(bench, request_id)
    said = [event.message for event in holds(bench, LakeWriteHeld) if event.table == "notes"]
    assert len(said) == 1
    assert re.search(reason, said[0])
    assert [event.table for event in holds(bench, LakeWriteResumed)].count("notes") == 1
    assert bench.rows().height == 1000
    assert note.runs == ["SPY"]
    assert all(examination.is_sound for examination in examine_lake(bench.lake, deep=True))
    assert not half_written(disk)


async def test_a_worker_that_starts_on_a_full_disk_waits_for_room(disk: Path) -> None:
    bench = Bench(disk, Types(Note()))
    await bench.insert()
    await bench.drain()
    request_id = await bench.insert()
    fill(disk)
    async with bench.running():
        await bench.until(lambda: bool(holds(bench, LakeWriteHeld)))
        make_room(disk)
        await ended(bench, request_id)
    assert "No space left on device" in holds(bench, LakeWriteHeld)[0].message
    assert holds(bench, LakeWriteResumed)


async def test_a_lock_that_cannot_be_written_is_said_in_one_line(disk: Path) -> None:
    bench = Bench(disk, Types(Note()))
    fill(disk)
    with pytest.raises(DiskRefuses, match="No space left on device"):
        await bench.drain()
    make_room(disk)
    await bench.drain()


async def test_an_insert_on_a_full_disk_fails_in_one_line_and_inserts_nothing(disk: Path) -> None:
    bench = Bench(disk, Types(Note()))
    await bench.insert()
    fill(disk)
    with pytest.raises(DiskRefuses, match="No space left on device: make room"):
        await bench.insert()
    make_room(disk)
    assert bench.queue.requests().collect().height == 1


async def test_a_read_only_lake_can_be_read_and_no_worker_begins_on_it(
    disk: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(disk, Types(Note()))
    request_id = await bench.insert()
    await bench.drain()
    waiting = await bench.insert()
    read_only(disk)
    assert (await bench.queue.get(request_id)).status is RequestStatus.SUCCESS
    assert NotesTable(Lake(disk / "lake")).scan().collect().height == 1
    fresh = bench.open_queue()  # of another process, which has not met the table yet
    assert (await fresh.get(request_id)).status is RequestStatus.SUCCESS
    assert (await fresh.stats()).counts["SUCCESS"] == 1
    for change in (fresh.insert(request_type="note", symbol="SPY"), fresh.cancel(waiting)):
        with pytest.raises(DiskRefuses, match="Read-only file system"):
            await change
    assert "panicked" not in capfd.readouterr().err
    with pytest.raises(LakeError, match="cannot be written"):
        await bench.drain()
    read_write(disk)
    assert (await fresh.cancel(waiting)).status is RequestStatus.CANCELLED
    await fresh.close()


async def test_a_limit_on_the_size_of_files_is_a_disk_that_refuses(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Types(Note()))
    await bench.insert()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(DiskRefuses, match="File too large"):
            await bench.insert()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await bench.insert()
    assert bench.queue.requests().collect().height == 2


def test_a_damaged_table_is_named_beside_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for table in (WorkerStateTable(tmp_path), LakeAccount(tmp_path)):
        Lake(tmp_path).ensure(table.spec)
    next((tmp_path / "worker_state" / "_delta_log").glob("*.json")).write_bytes(b'{"proto')
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "part-0.parquet").write_bytes(b"PAR1")
    for command in ("tables", "tables --json"):
        assert run([*command.split(), "--lake", str(tmp_path)]) == 3
        out, err = capsys.readouterr()
        assert "lake_account" in out
        first, second = err.splitlines()
        assert f"{tmp_path}/contracts/_delta_log has no commit any more: run `v6 doctor --tables`" in first
        assert f"{tmp_path}/worker_state/_delta_log/{0:020d}.json is cut off" in second


def test_whatever_a_command_stumbles_over_the_damaged_table_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    WorkerStateTable(tmp_path).record(WorkerState(worker_id="worker", state="ready", in_flight=0))
    (broken,) = tmp_path.glob("worker_state/*/*.parquet")
    broken.write_bytes(b"\xff" * broken.stat().st_size)
    assert run(["status", "--lake", str(tmp_path)]) == 3
    error = capsys.readouterr().err
    assert error.startswith(f"error: the table worker_state in {tmp_path} is damaged: {broken} cannot be read")
    assert error.endswith("run `v6 doctor --tables`\n")
