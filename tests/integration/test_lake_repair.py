"""A lake whose files were torn: what is found, what is repaired, and that nothing acknowledged is lost."""

import asyncio
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from v6.clock import ManualClock
from v6.core.recovery import Left, outcomes_of_left
from v6.data.backup import back_up
from v6.data.flush import flush_paths
from v6.data.futures_snapshots import FUTURES_SNAPSHOTS
from v6.data.ib_request import REQUESTS, NewRequest
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.lake import Lake
from v6.data.lake_account import LakeAccount
from v6.data.lake_repair import LakeRepair, ShortRequest, examine_lake
from v6.data.outcome import Done
from v6.data.table_log import BEGINS_ANEW
from v6.data.table_repair import Repaired
from v6.data.table_writer import TableWriter
from v6.data.worker_state import WorkerState, WorkerStateTable
from v6.errors import LeaseLost, TableDamaged

NOON = datetime(2026, 11, 23, 17, 0, tzinfo=UTC)
FUTURES = FUTURES_SNAPSHOTS.name
TABLES = ("ib_requests", FUTURES, "lake_account", "worker_state")
ROWS = 3


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def first_line_only(path: Path) -> None:
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])


def last_line_lost(path: Path) -> None:
    path.write_bytes(path.read_bytes().rpartition(b"\n")[0])


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def garbled(path: Path) -> None:
    """JSON still, and no commit."""
    path.write_bytes(b'{"commitInfo":5}\n{"add":3}')


def without_sizes(path: Path) -> None:
    path.write_text(path.read_text().replace('"size":', '"sise":').replace('"appId":', '"appJd":'))


Damage = Callable[[Path], None]
DAMAGES: Sequence[Damage] = (
    emptied,
    halved,
    first_line_only,
    last_line_lost,
    zeroed,
    os.remove,
    garbled,
    without_sizes,
)


def queue(lake: Path) -> IBRequestQueue:
    return IBRequestQueue(lake, clock=ManualClock(NOON), worker_id="worker", check=NewRequest.checked)


def rows(request_id: str, con_ids: Sequence[int] = tuple(range(ROWS))) -> pl.DataFrame:
    values = {pl.String: "x", pl.Int64: 1, pl.Float64: 1.5, pl.Boolean: False, pl.Date: date(2026, 11, 23)}
    row = {c.name: values.get(c.dtype, NOON) for c in FUTURES_SNAPSHOTS.columns if not c.nullable}  # type: ignore[arg-type]
    return pl.DataFrame(
        [{**row, "request_id": request_id, "con_id": con_id} for con_id in con_ids],
        schema_overrides=FUTURES_SNAPSHOTS.schema,
    )


async def fill(lake: Path) -> dict[str, str]:
    """A lake with a request in every state a crash can leave it in; their ids by what they are."""
    q = queue(lake)
    LakeAccount(lake).check("SIM1")
    states = WorkerStateTable(lake)
    names = ("settled", "landed", "claimed", "waiting")
    ids = [await q.insert(request_type="futures", symbol="ES", result_table=FUTURES) for _ in names[:3]]
    await q.claim(3)
    writer = TableWriter(Lake(lake), FUTURES_SNAPSHOTS, app_id="worker", epoch=1)
    for request_id in ids[:2]:
        states.record(WorkerState(worker_id="worker", state="ready", in_flight=3))
        writer.append(rows(request_id))
    await q.settle({ids[0]: Done(result={"rows": ROWS})})
    ids.append(await q.insert(request_type="futures", symbol="ES", result_table=FUTURES))
    await q.close()
    return dict(zip(names, ids, strict=True))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    lake = tmp_path_factory.mktemp("filled") / "lake"
    return lake, asyncio.run(fill(lake))


@pytest.fixture
def lake(filled: tuple[Path, dict[str, str]], tmp_path: Path) -> Path:
    shutil.copytree(filled[0], tmp_path / "lake")
    return tmp_path / "lake"


def commits(lake: Path, table: str) -> list[Path]:
    return sorted((lake / table / "_delta_log").glob("*.json"))


def data_files(lake: Path, table: str) -> list[Path]:
    return sorted((lake / table).rglob("*.parquet"), key=lambda path: path.stat().st_mtime_ns)


def repair(lake: Path) -> tuple[dict[str, Repaired], list[ShortRequest]]:
    repairer = LakeRepair(Lake(lake), datetime.now(UTC))
    done, lacking = {}, []
    for examination in list(examine_lake(Lake(lake))):
        if not examination.is_sound:
            done[examination.table], short = repairer.repair(examination)
            lacking += short
    assert all(examination.is_sound for examination in examine_lake(Lake(lake), deep=True))
    return done, lacking


def counts(lake: Path) -> dict[str, int]:
    return dict(pl.read_delta(str(lake / FUTURES)).group_by("request_id").len().iter_rows())


async def finish(lake: Path, ids: dict[str, str]) -> None:
    """What a worker does that starts on this lake: recover, fetch the rest, settle."""
    q = queue(lake)
    left = await q.unfinished()
    outcomes = outcomes_of_left(Left(requests=left), Lake(lake), {"futures": FUTURES_SNAPSHOTS}, NOON)
    await q.settle(outcomes)
    writer = TableWriter(Lake(lake), FUTURES_SNAPSHOTS, app_id="worker", epoch=2)
    for request in await q.claim(10):
        writer.append(rows(request.request_id))
        await q.settle({request.request_id: Done(result={"rows": ROWS})})
    final = {name: await q.get(request_id) for name, request_id in ids.items()}
    assert {name: str(request.status) for name, request in final.items()} == dict.fromkeys(ids, "SUCCESS")
    assert counts(lake) == dict.fromkeys(ids.values(), ROWS)
    await q.close()


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
async def test_torn_last_commits_in_every_combination_of_tables_lose_nothing(
    filled: tuple[Path, dict[str, str]], tmp_path: Path, damage: Damage
) -> None:
    template, ids = filled
    usual = damage in (emptied, halved)  # the other damages: each table alone, and all at once
    last = 2 if usual else 1
    for number in range(1, len(TABLES) + 1) if usual else (1, len(TABLES)):
        for chosen in itertools.combinations(TABLES, number):
            lake = tmp_path / "-".join(chosen)
            shutil.copytree(template, lake)
            for table in chosen:
                for path in commits(lake, table)[-last:]:
                    damage(path)
            shutil.copytree(template / ".flushed", lake / ".flushed", dirs_exist_ok=True)
            mark_as_flushed(template, lake)
            done, lacking = repair(lake)
            assert set(done) == set(chosen)
            assert not lacking
            assert LakeAccount(lake).account() == "SIM1"
            assert pl.read_delta(str(lake / "worker_state")).height == 2
            await finish(lake, ids)


def mark_as_flushed(template: Path, lake: Path) -> None:
    """The marks of a lake that lies where it always lay: only by them a commit that is gone is missed."""
    from v6.data.flush import mark_of

    for table in TABLES:
        mark_of(lake, table).write(mark_of(template, table).read())


async def test_a_commit_whose_data_is_lost_as_well_is_dropped_and_its_request_asked_again(
    lake: Path, filled: tuple[Path, dict[str, str]]
) -> None:
    ids = filled[1]
    emptied(commits(lake, FUTURES)[-1])
    halved(data_files(lake, FUTURES)[-1])
    done, lacking = repair(lake)
    assert not lacking
    assert any("a torn commit had written" in line for line in done[FUTURES].done)
    assert counts(lake) == {ids["settled"]: ROWS}
    await finish(lake, ids)


async def test_lost_rows_of_a_finished_request_are_named(lake: Path, filled: tuple[Path, dict[str, str]]) -> None:
    ids = filled[1]
    data_files(lake, FUTURES)[0].unlink()
    done, (short,) = repair(lake)
    assert done[FUTURES].rows_lost == ROWS
    assert (short.request.request_id, short.rows_lacking) == (ids["settled"], ROWS)
    (report,) = (lake / ".damaged").glob("*/lost_requests.jsonl")
    assert json.loads(report.read_text())["request_type"] == "futures"
    assert counts(lake) == {ids["landed"]: ROWS}


@pytest.mark.parametrize("damage", [halved, emptied, zeroed, os.remove], ids=lambda damage: damage.__name__)
def test_a_damaged_data_file_is_found_and_kept_aside(lake: Path, damage: Damage) -> None:
    path = data_files(lake, FUTURES)[0]
    damage(path)
    (found,) = [e for e in examine_lake(Lake(lake)) if not e.is_sound]
    assert str(path) in found.faults[0]
    assert f"{ROWS} rows" in found.faults[0]
    repair(lake)
    assert [*lake.glob(f".damaged/*/{path.relative_to(lake)}")] or damage is os.remove


def test_deep_looks_at_rows_whose_file_looks_whole(lake: Path) -> None:
    path = data_files(lake, FUTURES)[0]
    content = bytearray(path.read_bytes())
    content[20:400] = bytes(380)
    path.write_bytes(content)
    assert all(e.is_sound for e in examine_lake(Lake(lake)))
    (found,) = [e for e in examine_lake(Lake(lake), deep=True) if not e.is_sound]
    assert "rows that cannot be read" in found.faults[0]


@pytest.mark.parametrize("damage", [emptied, halved, os.remove], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("torn", ["checkpoint", "hint", "both"])
async def test_a_torn_checkpoint_is_taken_away_while_the_log_is_whole(
    lake: Path, filled: tuple[Path, dict[str, str]], damage: Damage, torn: str
) -> None:
    Lake(lake).open(REQUESTS.name).create_checkpoint()
    log = lake / REQUESTS.name / "_delta_log"
    if torn != "hint":
        damage(next(log.glob("*.checkpoint.parquet")))
    if torn != "checkpoint":
        damage(log / "_last_checkpoint")
    repair(lake)
    await finish(lake, filled[1])


async def test_a_torn_checkpoint_after_the_log_was_cleaned_is_rebuilt_from_the_data(
    lake: Path, filled: tuple[Path, dict[str, str]]
) -> None:
    for table in (REQUESTS.name, FUTURES):
        Lake(lake).open(table).create_checkpoint()
        for path in commits(lake, table)[:-1]:
            path.unlink()
        halved(next((lake / table / "_delta_log").glob("*.checkpoint.parquet")))
    done, lacking = repair(lake)
    assert done[FUTURES].rows_found == 2 * ROWS
    assert not lacking
    await finish(lake, filled[1])


async def test_a_torn_first_commit_is_rebuilt_from_the_data(lake: Path, filled: tuple[Path, dict[str, str]]) -> None:
    for table in TABLES:
        halved(commits(lake, table)[0])
    repair(lake)
    assert LakeAccount(lake).account() == "SIM1"
    await finish(lake, filled[1])


async def test_a_repair_that_was_killed_in_its_middle_is_finished_by_the_next(
    lake: Path, filled: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for table in (REQUESTS.name, FUTURES):
        for path in commits(lake, table)[-2:]:
            emptied(path)

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("v6.data.table_repair.TableRepair._append_missing", dies)
        with pytest.raises(KeyboardInterrupt):
            repair(lake)
    repair(lake)
    await finish(lake, filled[1])


def logs_removed(lake: Path) -> None:
    for table in TABLES:
        shutil.rmtree(lake / table / "_delta_log")


def logs_emptied(lake: Path) -> None:
    """And nothing remembers how far they were flushed."""
    shutil.rmtree(lake / ".flushed")
    for path in [path for table in TABLES for path in commits(lake, table)]:
        path.unlink()


@pytest.mark.parametrize("damage", [logs_removed, logs_emptied], ids=lambda damage: damage.__name__)
async def test_a_table_whose_whole_log_is_gone_is_never_taken_for_one_that_never_was(
    lake: Path, filled: tuple[Path, dict[str, str]], damage: Damage
) -> None:
    damage(lake)
    for use in (Lake(lake).check_table, Lake(lake).open):
        with pytest.raises(TableDamaged, match=f"the table {FUTURES} in .*: run `v6 doctor --tables`"):
            use(FUTURES)
    for act in (Lake(lake).scan, Lake(lake).ensure):
        with pytest.raises(TableDamaged, match=f"{FUTURES}/_delta_log has no commit any more"):
            act(FUTURES_SNAPSHOTS)
    q = queue(lake)
    for look in (q.stats(), q.insert(request_type="futures", symbol="ES"), q.claim(1)):
        with pytest.raises(TableDamaged, match=REQUESTS.name):
            await look
    await q.close()
    done, lacking = repair(lake)
    assert (sorted(done), lacking) == (sorted(TABLES), [])
    assert LakeAccount(lake).account() == "SIM1"
    await finish(lake, filled[1])


@pytest.mark.parametrize(
    "died_at", ["lake.Lake.make", "table_repair.append", "table_repair.TableRepair._end", "lake.Lake.flush"]
)
async def test_a_repair_that_was_killed_while_it_began_a_log_anew_is_finished_by_the_next(
    lake: Path, filled: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch, died_at: str
) -> None:
    for path in commits(lake, FUTURES):
        path.unlink()
    (broken,) = [e for e in examine_lake(Lake(lake)) if not e.is_sound]

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"v6.data.{died_at}", dies)
        with pytest.raises(KeyboardInterrupt):
            LakeRepair(Lake(lake), datetime.now(UTC)).repair(broken)
    with pytest.raises(TableDamaged, match="run `v6 doctor --tables`"):
        Lake(lake).check_table(FUTURES)
    with pytest.raises(TableDamaged, match=FUTURES):
        Lake(lake).scan(FUTURES_SNAPSHOTS)
    with pytest.raises(TableDamaged, match=FUTURES):
        back_up(Lake(lake), lake.parent / "backups", now=datetime.now(UTC))
    _, lacking = repair(lake)
    assert not lacking
    await finish(lake, filled[1])
    assert [e.faults for e in examine_lake(Lake(lake)) if not e.is_sound] == []


@pytest.mark.parametrize("died_at", ["Aside.take", "Lake.make", "TableRepair._restore_rows", "TableRepair._end"])
def test_a_repair_that_was_killed_while_it_began_a_log_anew_fences_every_writer_in_the_end(
    lake: Path, monkeypatch: pytest.MonkeyPatch, died_at: str
) -> None:
    TableWriter(Lake(lake), FUTURES_SNAPSHOTS, app_id="worker", epoch=5).append(rows("before"))
    before = Lake(lake).open(FUTURES).transaction_version("worker")
    halved(commits(lake, FUTURES)[0])
    flushed: list[tuple[list[Path], bool]] = []

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"v6.data.table_repair.{died_at}", dies)
        with pytest.raises(KeyboardInterrupt):
            repair(lake)

    def flush(paths: Iterable[Path]) -> None:
        chosen = list(paths)
        flushed.append((chosen, (lake / FUTURES / BEGINS_ANEW).exists()))
        flush_paths(chosen)

    monkeypatch.setattr("v6.data.table_repair.flush_paths", flush)
    repair(lake)
    after = Lake(lake).open(FUTURES).transaction_version("worker")
    assert before is not None
    assert after is not None
    assert after > before
    assert flushed[-1] == ([lake / FUTURES], False)


def test_a_writer_that_was_open_during_the_repair_is_refused(lake: Path) -> None:
    writer = TableWriter(Lake(lake), FUTURES_SNAPSHOTS, app_id="worker", epoch=5)
    emptied(commits(lake, FUTURES)[-1])
    repair(lake)
    with pytest.raises(LeaseLost):
        writer.append(rows("another"))
    assert "another" not in counts(lake)
    TableWriter(Lake(lake), FUTURES_SNAPSHOTS, app_id="worker", epoch=6).append(rows("another"))


def test_a_compaction_that_was_torn_leaves_every_row_once(lake: Path, filled: tuple[Path, dict[str, str]]) -> None:
    Lake(lake).open(FUTURES).optimize.compact()
    emptied(commits(lake, FUTURES)[-1])
    repair(lake)
    assert counts(lake) == {filled[1]["settled"]: ROWS, filled[1]["landed"]: ROWS}


def test_a_sound_lake_is_left_alone(lake: Path) -> None:
    before = sorted(str(path) for path in lake.rglob("*"))
    assert repair(lake) == ({}, [])
    assert sorted(str(path) for path in lake.rglob("*")) == before
