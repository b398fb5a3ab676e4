"""The lake as a whole: read without v6, upgraded, and belonging to one account."""

import json
import multiprocessing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from v6.clock import Clock, ManualClock
from v6.data import delta, upgrade
from v6.data.backup import back_up
from v6.data.delta import DeltaTable
from v6.data.describe import specs
from v6.data.ib_request import REQUESTS, NewRequest
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.lake import Lake
from v6.data.lake_account import LakeAccount
from v6.data.lake_repair import examine_lake
from v6.data.option_snapshots import OPTION_SNAPSHOTS
from v6.data.outcome import Done
from v6.data.restore import restore
from v6.data.table import Table, tables
from v6.data.table_spec import UTC_MICROSECONDS, TableSpec
from v6.data.table_writer import TableWriter
from v6.data.worker_state import WorkerState, WorkerStateTable
from v6.errors import AccountMismatch, LakeError, TableIncompatible
from v6.maintenance.maintainer import Maintainer
from v6.readers.sql import sql

NOON = datetime(2026, 11, 23, 17, 0, 0, 123456, tzinfo=UTC)
SAMPLES: dict[Any, Any] = {
    pl.String: "BRK B",
    pl.Date: date(2026, 11, 23),
    pl.Float64: 0.25,
    pl.Int64: 7,
    pl.Int32: 3,
    pl.Boolean: True,
    UTC_MICROSECONDS: NOON,
}


def sample(spec: TableSpec) -> pl.DataFrame:
    """Two rows of any table: one with everything there, one with null wherever null may be."""
    full = {column.name: SAMPLES[column.dtype] for column in spec.columns}
    sparse = {column.name: None if column.nullable else full[column.name] for column in spec.columns}
    return spec.conform(pl.DataFrame([full, sparse], schema=spec.schema))


# --- reading without v6


@pytest.mark.parametrize("spec", specs(), ids=lambda spec: spec.name)
def test_polars_and_duckdb_read_every_table_alike(tmp_path: Path, spec: TableSpec) -> None:
    rows = sample(spec)
    delta.append(Lake(tmp_path).ensure(spec), rows)
    by_polars = pl.read_delta(str(tmp_path / spec.name))
    assert by_polars.schema == spec.schema
    dataset = DeltaTable(str(tmp_path / spec.name)).to_pyarrow_dataset()
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("stored", dataset)
        by_duckdb = connection.sql("SELECT * FROM stored").pl().cast(dict(spec.schema))
        on_partition = " AND ".join(f"{name} = ?" for name in spec.partition_by) or "true"
        values = [rows[name][0] for name in spec.partition_by]
        found = connection.execute(f"SELECT count(*) FROM stored WHERE {on_partition}", values).fetchone()  # noqa: S608 - column names of our own spec
    order = [column.name for column in spec.columns]
    assert by_polars.select(order).rows(named=True) == rows.rows(named=True)
    assert by_duckdb.select(order).rows(named=True) == rows.rows(named=True)
    assert found == (2,)


@pytest.mark.parametrize("spec", specs(), ids=lambda spec: spec.name)
def test_tables_use_the_oldest_protocol_and_plain_types(tmp_path: Path, spec: TableSpec) -> None:
    table = Lake(tmp_path).ensure(spec)
    protocol = table.protocol()
    assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)
    assert not protocol.reader_features
    assert not protocol.writer_features
    kinds = {str(field.type) for field in table.schema().fields}
    assert "timestamp_ntz" not in str(kinds)


@pytest.mark.parametrize("name", sorted(tables()))
def test_compacting_keeps_rows_and_folders_with_spaces(tmp_path: Path, name: str) -> None:
    spec = tables()[name].spec
    stored = Lake(tmp_path).ensure(spec)
    for _ in range(3):
        delta.append(stored, sample(spec))
    Lake(tmp_path).open(name).optimize.compact()
    assert len(Lake(tmp_path).open(name).file_uris()) == 1
    assert tables()[name](tmp_path).scan().collect().height == 6


# --- appending


def test_an_empty_append_makes_no_commit(tmp_path: Path) -> None:
    table = WorkerStateTable(tmp_path)
    first = table.append(sample(table.spec))
    assert table.append(table.spec.empty()) == first


def test_two_objects_append_to_one_table_in_turn(tmp_path: Path) -> None:
    one, two = (WorkerStateTable(tmp_path) for _ in range(2))
    for _ in range(3):
        one.append(sample(one.spec))
        two.append(sample(two.spec))
    assert one.scan().collect().height == 12


def test_an_append_to_a_lake_that_is_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("no folder")
    with pytest.raises(LakeError, match="is a file"):
        WorkerStateTable(tmp_path / "lake").append(sample(WorkerStateTable.spec))


async def test_the_latest_state_of_each_worker(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    table = WorkerStateTable(tmp_path, clock=clock)
    table.record(WorkerState(worker_id="a", state="connecting", in_flight=0))
    await clock.advance(5)
    table.record(WorkerState(worker_id="b", state="held", reason="nightly reset", in_flight=0))
    table.record(WorkerState(worker_id="a", state="ready", in_flight=3, waiting={"market_data": 2}, account="SIM1"))
    latest = table.latest().collect()
    assert latest.select("worker_id", "state", "waiting").rows() == [
        ("a", "ready", '{"market_data": 2}'),
        ("b", "held", None),
    ]
    assert latest["known_at"].to_list() == [NOON + timedelta(seconds=5)] * 2
    assert table.latest(as_of=NOON).collect()["state"].to_list() == ["connecting"]


def test_recent_states_are_found_without_opening_older_files(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    table = WorkerStateTable(tmp_path, clock=clock)
    table.record(WorkerState(worker_id="gone", state="ready", in_flight=0))
    (old,) = tmp_path.glob("worker_state/*/*.parquet")
    clock.step(timedelta(seconds=60))
    table.record(WorkerState(worker_id="here", state="ready", in_flight=0))
    old.write_bytes(bytes(old.stat().st_size))  # what is not read need not be readable
    assert table.latest(since=NOON + timedelta(seconds=30)).collect()["worker_id"].to_list() == ["here"]


# --- upgrading


def test_an_older_lake_gets_the_columns_it_lacks(tmp_path: Path) -> None:
    older = replace(OPTION_SNAPSHOTS, columns=tuple(c for c in OPTION_SNAPSHOTS.columns if c.name != "pv_dividend"))
    lake = Lake(tmp_path)
    delta.append(lake.ensure(older), sample(older))
    assert lake.scan(OPTION_SNAPSHOTS).select("pv_dividend").collect()["pv_dividend"].to_list() == [None, None]
    assert upgrade.upgrade(lake) == {"option_snapshots": ["pv_dividend"]}
    assert upgrade.upgrade(lake) == {}
    delta.append(lake.ensure(OPTION_SNAPSHOTS), sample(OPTION_SNAPSHOTS))
    stored = lake.scan(OPTION_SNAPSHOTS).collect()
    assert sorted(stored["pv_dividend"].to_list(), key=str) == [0.25, None, None, None]


def test_the_next_writer_adds_the_columns_and_open_ones_go_on(tmp_path: Path) -> None:
    older = replace(OPTION_SNAPSHOTS, columns=tuple(c for c in OPTION_SNAPSHOTS.columns if c.name != "pv_dividend"))
    lake = Lake(tmp_path)
    old = TableWriter(lake, older, app_id="old", epoch=1)
    old.append(sample(older))
    for app_id in ("new", "newer"):
        TableWriter(lake, OPTION_SNAPSHOTS, app_id=app_id, epoch=1).append(sample(OPTION_SNAPSHOTS))
    old.append(sample(older))
    stored = lake.scan(OPTION_SNAPSHOTS).collect()
    assert stored.height == 8
    assert stored["pv_dividend"].null_count() == 6


def test_two_that_add_a_column_at_the_same_moment_add_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older = replace(OPTION_SNAPSHOTS, columns=tuple(c for c in OPTION_SNAPSHOTS.columns if c.name != "pv_dividend"))
    lake = Lake(tmp_path)
    lake.ensure(older)
    stale = lake.open("option_snapshots")
    lake.ensure(OPTION_SNAPSHOTS)
    with monkeypatch.context() as patch:
        objects = [stale]
        real = Lake.open
        patch.setattr(Lake, "open", lambda self, name: objects.pop() if objects else real(self, name))
        lake.ensure(OPTION_SNAPSHOTS)
    delta.append(lake.ensure(OPTION_SNAPSHOTS), sample(OPTION_SNAPSHOTS))


def test_a_column_of_another_type_is_refused_with_the_difference(tmp_path: Path) -> None:
    older = replace(
        OPTION_SNAPSHOTS,
        columns=tuple(replace(c, dtype=pl.Float32) if c.name == "bid" else c for c in OPTION_SNAPSHOTS.columns),
    )
    Lake(tmp_path).ensure(older)
    with pytest.raises(TableIncompatible, match=r"option_snapshots .*bid is Float32 and must be Float64: .*v6 import"):
        Lake(tmp_path).ensure(OPTION_SNAPSHOTS)


def test_a_lake_without_a_column_that_is_never_null_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    older = replace(
        OPTION_SNAPSHOTS,
        columns=tuple(c for c in OPTION_SNAPSHOTS.columns if c.name != "strike"),
        sort_by=("symbol",),
    )
    Lake(tmp_path).ensure(older)
    assert upgrade.main([str(tmp_path)]) == 3
    assert "strike is not there and is never null" in capsys.readouterr().err


def test_an_upgrade_of_nothing_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert upgrade.main([str(tmp_path / "absent")]) == 3
    assert "there are no tables" in capsys.readouterr().err
    assert upgrade.main([]) == 2


# --- the account


def test_a_lake_remembers_the_account_that_first_fed_it(tmp_path: Path) -> None:
    assert LakeAccount(tmp_path / "lake").account() is None
    LakeAccount(tmp_path / "lake").check("SIM0001")
    LakeAccount(tmp_path / "lake").check("SIM0001")
    with pytest.raises(AccountMismatch, match=r"SIM0001.*U1234567"):
        LakeAccount(tmp_path / "lake").check("U1234567")
    assert LakeAccount(tmp_path / "lake").scan().collect().height == 1


def test_a_claim_that_died_before_its_row_is_made_again(tmp_path: Path) -> None:
    Lake(tmp_path).ensure(LakeAccount.spec)
    LakeAccount(tmp_path).check("SIM0001")
    assert LakeAccount(tmp_path).account() == "SIM0001"


def first_comer(lake: str, account: str, start: Barrier, answers: "Queue[tuple[str, str]]") -> None:
    start.wait(240)
    try:
        LakeAccount(lake).check(account)
    except AccountMismatch as error:
        answers.put((account, str(error)))
    else:
        answers.put((account, ""))


def test_of_many_first_comers_one_account_wins(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    start, answers = spawn.Barrier(3), spawn.Queue()
    comers = [
        spawn.Process(target=first_comer, args=(str(tmp_path / "lake"), f"SIM{n}", start, answers)) for n in range(3)
    ]
    for comer in comers:
        comer.start()
    said = dict(answers.get(timeout=240) for _ in comers)
    for comer in comers:
        comer.join(240)
    (winner,) = [account for account, refusal in said.items() if not refusal]
    assert all(winner in refusal for refusal in said.values() if refusal)
    assert LakeAccount(tmp_path / "lake").scan().collect()["account"].to_list() == [winner]


def test_two_snapshots_of_an_unclaimed_lake_cannot_both_claim_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rival's claim lands between this one's look and its commit."""
    lake, appended = Lake(tmp_path), delta.append

    def overtaken(table: DeltaTable, frame: pl.DataFrame, **options: Any) -> int:
        monkeypatch.setattr(delta, "append", appended)
        LakeAccount(tmp_path).check("FIRST")
        return appended(table, frame, **options)

    monkeypatch.setattr(delta, "append", overtaken)
    with pytest.raises(AccountMismatch, match="FIRST"):
        LakeAccount(lake).check("SECOND")
    assert LakeAccount(lake).scan().collect()["account"].to_list() == ["FIRST"]


def test_every_table_class_is_a_table() -> None:
    assert all(issubclass(table, Table) for table in tables().values())


def test_a_creation_that_a_crash_cut_short_is_made_anew(tmp_path: Path) -> None:
    log = tmp_path / OPTION_SNAPSHOTS.name / "_delta_log"
    log.mkdir(parents=True)
    (log / "00000000000000000000.json#1").write_text("{}")  # staged, not put in place
    lake = Lake(tmp_path)
    assert not lake.exists(OPTION_SNAPSHOTS.name)
    assert lake.table_names() == []
    assert lake.scan(OPTION_SNAPSHOTS).collect().is_empty()
    delta.append(lake.ensure(OPTION_SNAPSHOTS), sample(OPTION_SNAPSHOTS))
    assert lake.table_names() == [OPTION_SNAPSHOTS.name]
    assert lake.scan(OPTION_SNAPSHOTS).collect().height == sample(OPTION_SNAPSHOTS).height


def test_an_object_store_that_cannot_be_reached_is_named_with_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    address = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
    for name, text in {**address, "AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing"}.items():
        monkeypatch.setenv(name, text)
    with pytest.raises(LakeError, match=r"the lake s3://bucket/lake cannot be reached \(.*refused.*credentials"):
        Lake("s3://bucket/lake").exists(OPTION_SNAPSHOTS.name)


def turn_on(lake: Lake, table: str, feature: str) -> None:
    """As a program of a newer Delta does."""
    path = Path(lake.uri(table)) / "_delta_log" / f"{0:020d}.json"
    actions = [json.loads(line) for line in path.read_text().splitlines()]
    features = {"readerFeatures": [feature], "writerFeatures": [feature]}
    for action in actions:
        if "protocol" in action:
            action["protocol"] = {"minReaderVersion": 3, "minWriterVersion": 7, **features}
    path.write_text("\n".join(map(json.dumps, actions)))


@pytest.mark.parametrize("feature", ["v2Checkpoint", "madeUpIn2030"])
def test_a_table_of_a_newer_delta_is_not_called_damaged(tmp_path: Path, feature: str) -> None:
    lake = Lake(tmp_path)
    lake.ensure(OPTION_SNAPSHOTS)
    turn_on(lake, "option_snapshots", feature)
    for use in (lake.check_fits, lake.ensure, lake.scan):
        with pytest.raises(TableIncompatible, match=f"option_snapshots in {tmp_path} uses what .*{feature}"):
            use(OPTION_SNAPSHOTS)


def test_files_of_a_table_with_deletion_vectors_are_not_joined(tmp_path: Path) -> None:
    lake, table = Lake(tmp_path), WorkerStateTable(tmp_path)
    for number in range(2):
        table.record(WorkerState(worker_id="w", state="ready", in_flight=number))
    turn_on(lake, "worker_state", "deletionVectors")
    (report,) = Maintainer(lake, Clock()).round(["worker_state"], thorough=True)
    assert "worker_state has deletion vectors, so its files are left as they are" in (report.error or "")
    assert len(lake.open("worker_state").file_uris()) == 2


@pytest.mark.parametrize("name", ["My Data", "börse", "a#b", "100%", "it's", "a?b*c", "行情"])
async def test_a_lake_may_lie_in_a_folder_of_any_usual_name(tmp_path: Path, name: str) -> None:
    lake = Lake(tmp_path / name / "lake")
    queue = IBRequestQueue(lake, worker_id="w", check=NewRequest.checked)
    ids = [await queue.insert(request_type="t", symbol="BRK B") for _ in range(3)]
    await queue.claim(2)
    await queue.settle({ids[0]: Done(result={})})
    await queue.close()
    reports = list(Maintainer(lake, Clock()).round(thorough=True))
    assert [(report.joined > 1, report.error) for report in reports] == [(True, None)]
    fresh = IBRequestQueue(lake, worker_id="w", check=NewRequest.checked)
    assert sorted(fresh.requests().collect()["status"]) == ["PENDING", "PROCESSING", "SUCCESS"]
    assert (await fresh.get(ids[0])).status == "SUCCESS"
    await fresh.close()
    assert sql("SELECT count(*) AS n FROM ib_requests", lake=lake).collect()["n"].to_list() == [6]
    assert [examination.faults for examination in examine_lake(lake, deep=True)] == [[]]
    backup = back_up(lake, tmp_path / name / "backups", now=NOON)
    restore(backup.folder, Lake(tmp_path / name / "again"))
    assert Lake(tmp_path / name / "again").scan(REQUESTS).collect().height == 6


@pytest.mark.parametrize("name", ["a%20b", "a[b]", "a\\b", "year=2026", "a\tb"])
def test_a_folder_whose_name_would_be_read_wrongly_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LakeError, match=r"in its path, which is not read right: name another folder"):
        Lake(tmp_path / name / "lake")
    (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / name)
    with pytest.raises(LakeError, match="in its path"):
        Lake(tmp_path / "link")


@pytest.mark.parametrize("url", ["file://{}/My%20lake/", "file://localhost{}/My%20lake", "{}/My lake//", "~/My lake"])
def test_a_url_of_this_machine_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    lake = Lake(url.format(tmp_path))
    assert (lake.url, lake.is_local, lake.flushes) == (str(tmp_path / "My lake"), True, True)
    assert Lake("/").url == "/"
    assert (Lake("s3://bucket/lake/").url, Lake("s3://bucket/lake").flushes) == ("s3://bucket/lake", False)
