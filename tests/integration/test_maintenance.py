"""Maintenance on real tables: nothing but files changes, days are folded, readers keep what they opened."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from v6.clock import Clock, ClockSetting
from v6.data.delta import GROUP_ROWS, append, data_files, replace_files, scan_table
from v6.data.ib_request import REQUESTS, NewRequest, RequestStatus
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.lake import Lake
from v6.data.market_bars import MARKET_BARS
from v6.data.outcome import Done, FailedBecause
from v6.data.queue_log import current, load
from v6.data.table_spec import TableSpec
from v6.data.table_writer import TableWriter, fence
from v6.data.worker_state import WORKER_STATE, WorkerState, WorkerStateTable
from v6.errors import ErrorCategory, LeaseLost, RequestError, SettingsError, UsageError
from v6.maintenance import folding
from v6.maintenance.maintainer import Maintainer, Promises
from v6.maintenance.report import TableReport
from v6.maintenance.rewrite import Digest, Rewriter
from v6.maintenance.vacuum import ORPHAN_AGE

HOUR = 3600.0
MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
KNOWN = datetime(2026, 1, 1, tzinfo=UTC)


SHORT_QUEUE = replace(REQUESTS, upkeep=replace(REQUESTS.upkeep, log_commits=20))
SHORT_STATES = replace(WORKER_STATE, upkeep=replace(WORKER_STATE.upkeep, log_commits=20))


class Days:
    """A clock whose date a test sets while the machine's time goes on, and a machine that a test moves as well."""

    def __init__(self, today: datetime = MONDAY) -> None:
        self.ahead = 0.0
        self.clock = self.at(today)

    def machine(self) -> float:
        return time.time() + self.ahead

    def at(self, now: datetime) -> Clock:
        """A clock that says so now."""
        anchor = datetime.fromtimestamp(self.machine(), UTC)
        return Clock(ClockSetting(origin=now, anchor=anchor), machine=self.machine)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake", flushes=False)


def maintain(
    lake: Lake,
    clock: Clock | None = None,
    *,
    promises: Promises | None = None,
    specs: Sequence[TableSpec] | None = None,
    dry_run: bool = False,
    thorough: bool = True,
) -> dict[str, TableReport]:
    reports = {
        report.table: report
        for report in Maintainer(lake, clock or Clock(), promises, specs).round(dry_run=dry_run, thorough=thorough)
    }
    assert [report.error for report in reports.values() if report.error] == []
    return reports


def queue_of(lake: Lake, clock: Clock, worker: str = "w", **more: Any) -> IBRequestQueue:
    return IBRequestQueue(lake, clock=clock, worker_id=worker, check=NewRequest.checked, **more)


def wish(number: int = 0, **more: Any) -> NewRequest:
    return NewRequest(request_type="t", symbol="SPY", parameters={"n": number}, **more)


async def live_through(queue: IBRequestQueue, count: int, *, leave_open: int = 0) -> list[str]:
    """Insert and finish requests one by one, leaving the last ones open; their ids."""
    ids = [await queue.insert(request_type="t", symbol="SPY", priority=1 + (n % 3)) for n in range(count)]
    for _ in range(count - leave_open):
        (claimed,) = await queue.claim(1)
        await queue.settle({claimed.request_id: Done(result={"rows": 7})})
    return ids


def states(lake: Lake) -> dict[str, tuple[str, int]]:
    frame = current(lake.scan(REQUESTS)).select("request_id", "status", "revision").collect()
    return {request_id: (status, revision) for request_id, status, revision in frame.iter_rows()}


def bars(symbols: Sequence[str], hours: range, known: datetime = KNOWN) -> pl.DataFrame:
    rows = [
        {
            "timestamp": KNOWN + timedelta(hours=hour),
            "date": date(2026, 1, 1),
            "symbol": symbol,
            "con_id": 1 + hour % 3,
            "sec_type": "STK",
            "bar_size": "1 day",
            "what_to_show": "TRADES",
            "regular_hours": True,
            **dict.fromkeys(("open", "high", "low", "close"), 100.0 + hour),
            "is_final": True,
            "request_id": f"r{hour}",
            "known_at": known,
        }
        for symbol in symbols
        for hour in hours
    ]
    return MARKET_BARS.conform(pl.DataFrame(rows))


def record(table: WorkerStateTable, count: int) -> None:
    for number in range(count):
        table.record(WorkerState(worker_id="w", state="ready", in_flight=number))


def write_bars(lake: Lake, symbols: Sequence[str] = ("SPY",), commits: int = 20) -> pl.DataFrame:
    table = lake.ensure(MARKET_BARS)
    for commit in range(commits):
        append(table, bars(symbols, range(commit * 2, commit * 2 + 2)))
    return scan_table(lake.open("market_bars")).collect()


# Joining files


def test_joining_changes_no_row_keeps_the_order_and_the_statistics(lake: Lake) -> None:
    symbols = ("SPY", "BRK B", "ÄÖ/%=")  # which stand encoded in folders and log
    before = write_bars(lake, symbols)
    report = maintain(lake)["market_bars"]
    assert (report.files_before, report.files_after, report.joined) == (60, 3, 60)
    after = scan_table(lake.open("market_bars")).collect()
    assert Digest.of(after) == Digest.of(before)
    for symbol in symbols:
        own = after.filter(pl.col("symbol") == symbol).select(MARKET_BARS.sort_by)
        assert own.equals(own.sort(MARKET_BARS.sort_by))
    (file,) = [f for f in data_files(lake.open("market_bars")) if dict(f.partition)["symbol"] == "BRK B"]
    assert file.rows == 40
    assert file.statistics["min.timestamp"] <= KNOWN
    assert file.statistics["max.timestamp"] >= KNOWN + timedelta(hours=39)
    late = lake.scan(MARKET_BARS).filter(pl.col("timestamp") >= KNOWN + timedelta(hours=39)).collect()
    assert late.height == len(symbols)


def test_appended_and_joined_files_have_groups_of_rows_that_a_reader_can_pass_over(lake: Lake) -> None:
    table = lake.ensure(MARKET_BARS)
    for first in (0, 17_000):
        append(table, bars(("SPY",), range(first, first + 17_000)))
    assert group_rows(lake) == [GROUP_ROWS, 17_000 - GROUP_ROWS] * 2
    assert maintain(lake)["market_bars"].joined == 2
    assert group_rows(lake) == [GROUP_ROWS, GROUP_ROWS, 34_000 - 2 * GROUP_ROWS]


def group_rows(lake: Lake) -> list[int]:
    files = [pq.ParquetFile(Path(path)).metadata for path in lake.open("market_bars").file_uris()]
    return [file.row_group(number).num_rows for file in files for number in range(file.num_row_groups)]


def test_a_table_that_is_written_has_its_small_files_joined_only_when_there_are_many(lake: Lake) -> None:
    write_bars(lake, commits=15)
    assert maintain(lake, thorough=False)["market_bars"].joined == 0
    write_bars(lake, commits=1)
    assert maintain(lake, thorough=False)["market_bars"].joined == 16


def test_every_table_that_v6_has_can_be_maintained(lake: Lake) -> None:
    table = WorkerStateTable(lake)
    record(table, 40)
    before = table.scan().collect()
    assert maintain(lake)["worker_state"].files_after == 1
    assert Digest.of(table.scan().collect()) == Digest.of(before)
    assert table.latest().collect()["in_flight"].to_list() == [39]


def test_a_dry_run_says_what_there_is_to_do_and_changes_nothing(lake: Lake) -> None:
    write_bars(lake)
    version = lake.open("market_bars").version()
    report = maintain(lake, dry_run=True)["market_bars"]
    assert (report.joined, report.files_after) == (20, 20)
    assert lake.open("market_bars").version() == version


def test_a_file_that_cannot_be_read_is_named_and_the_other_tables_are_maintained(lake: Lake) -> None:
    write_bars(lake)
    record(WorkerStateTable(lake), 3)
    broken = Path(next(iter(lake.open("market_bars").file_uris())))
    broken.write_bytes(b"\xff" * broken.stat().st_size)  # of the right length: only reading finds it out
    reports = {report.table: report for report in Maintainer(lake, Clock()).round(thorough=True)}
    error = reports["market_bars"].error or ""
    assert f"the table market_bars in {lake.url} is damaged: {broken} cannot be read" in error
    assert error.endswith("run `v6 doctor --tables`")
    assert (reports["worker_state"].error, reports["worker_state"].joined) == (None, 3)


def test_a_table_that_is_not_there_is_named(lake: Lake) -> None:
    with pytest.raises(UsageError, match="there is no table nothing: known are"):
        list(Maintainer(lake, Clock()).round(["nothing"]))


def test_writers_that_were_open_before_go_on_beside_it(lake: Lake) -> None:
    write_bars(lake)
    writer = TableWriter(lake, MARKET_BARS, app_id="w", epoch=1)
    stale = lake.open("market_bars")
    maintain(lake)
    writer.append(bars(["SPY"], range(100, 101)))
    append(stale, bars(["SPY"], range(101, 102)))
    assert lake.scan(MARKET_BARS).collect().height == 42


def test_rows_written_wrongly_are_noticed_before_anything_is_changed(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = write_bars(lake)
    files = set(Path(lake.uri("market_bars")).rglob("*.parquet"))
    write = pq.write_table
    monkeypatch.setattr(pq, "write_table", lambda table, *args, **more: write(table.slice(1), *args, **more))
    (report,) = Maintainer(lake, Clock()).round(thorough=True)
    assert report.error is not None
    assert "reads otherwise than the 40 rows it stands for: nothing was changed" in report.error
    monkeypatch.undo()
    assert set(Path(lake.uri("market_bars")).rglob("*.parquet")) == files
    assert Digest.of(lake.scan(MARKET_BARS).collect()) == Digest.of(before)


def test_a_value_that_changed_is_noticed_as_well(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bars(lake)
    write = pq.write_table

    def flip(table: Any, *args: Any, **more: Any) -> None:
        column = table.schema.get_field_index("close")
        write(table.set_column(column, "close", table["open"].take([0] * table.num_rows)), *args, **more)

    monkeypatch.setattr(pq, "write_table", flip)
    (report,) = Maintainer(lake, Clock()).round(thorough=True)
    assert report.error is not None
    assert "nothing was changed" in report.error


def test_of_two_maintainers_that_join_the_same_files_one_does(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    before = write_bars(lake)
    rival = iter([lambda: maintain(lake)])
    compare = Rewriter._compare

    def while_a_rival_joins(self: Rewriter, *args: Any) -> None:
        next(rival, lambda: None)()
        compare(self, *args)

    monkeypatch.setattr(Rewriter, "_compare", while_a_rival_joins)
    assert maintain(lake)["market_bars"].joined == 0
    monkeypatch.undo()
    assert Digest.of(lake.scan(MARKET_BARS).collect()) == Digest.of(before)
    on_disk = {path.name for path in Path(lake.uri("market_bars")).rglob("*.parquet")}
    assert len(on_disk) == 21


def test_a_commit_whose_landing_is_unknown_is_recognised(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    before = write_bars(lake)

    def land_and_fail(*args: Any, **more: Any) -> int:
        replace_files(*args, **more)
        raise OSError("the line went dead")

    monkeypatch.setattr("v6.maintenance.rewrite.replace_files", land_and_fail)
    assert maintain(lake)["market_bars"].joined == 20
    assert Digest.of(lake.scan(MARKET_BARS).collect()) == Digest.of(before)


# Folding


def test_a_closed_day_is_folded_and_the_state_of_every_request_stays(lake: Lake) -> None:
    days = Days()

    async def scenario() -> None:
        queue = queue_of(lake, days.clock)
        await live_through(queue, 12, leave_open=3)
        (running,) = await queue.claim(1)
        before, counts = states(lake), (await queue.stats()).counts
        report = maintain(lake, days.at(MONDAY + timedelta(days=1)))["ib_requests"]
        assert report.folded_rows == 18  # two of three rows of nine
        assert report.files_after == 1
        assert states(lake) == before
        assert lake.scan(REQUESTS).collect().height == 9 + 2 + 2  # finished; pending; running with its first row
        await queue.refresh()
        assert (await queue.stats()).counts == counts
        assert load(lake.open(REQUESTS.name), MONDAY).counts == {RequestStatus(s): n for s, n in counts.items() if n}
        turn = await queue.settle({running.request_id: Done()})
        assert turn.settled == {running.request_id}
        assert len(await queue.claim(10)) == 2
        await queue.close()

    asyncio.run(scenario())


def test_files_that_come_while_a_day_is_folded_are_joined_in_the_same_round(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = Days()
    asyncio.run(live_through(queue_of(lake, days.clock), 2))
    tomorrow = days.at(MONDAY + timedelta(days=1))
    real = folding.fold

    def fold(rows: pl.DataFrame, moved: frozenset[str] = frozenset()) -> pl.DataFrame:
        asyncio.run(live_through(queue_of(lake, tomorrow), 8))
        return real(rows, moved)

    monkeypatch.setattr(folding, "fold", fold)
    days.ahead = 120.0
    report = maintain(lake, tomorrow, thorough=False)[REQUESTS.name]
    assert (report.folded_rows, report.joined, report.files_after) == (4, 6 + 24, 2)


def test_a_day_that_is_not_over_is_not_folded(lake: Lake) -> None:
    days = Days()

    async def scenario() -> None:
        queue = queue_of(lake, days.clock)
        await live_through(queue, 5)
        assert maintain(lake, days.clock)["ib_requests"].folded_rows == 0
        assert lake.scan(REQUESTS).collect().height == 15
        await queue.close()

    asyncio.run(scenario())


def test_a_request_of_a_folded_day_that_is_replayed_goes_on_and_is_folded_again(lake: Lake) -> None:
    days = Days()

    async def scenario() -> None:
        queue = queue_of(lake, days.clock)
        request_id = await queue.insert(request_type="t", symbol="SPY")
        await queue.claim()
        await queue.settle({request_id: FailedBecause(message="no", category=ErrorCategory.CONTRACT)})
        tomorrow = days.at(MONDAY + timedelta(days=1))
        maintain(lake, tomorrow)
        fresh = queue_of(lake, tomorrow)
        await fresh.retry(request_id)
        await fresh.claim()
        await fresh.settle({request_id: Done()})
        assert maintain(lake, tomorrow)["ib_requests"].folded_rows == 3
        assert states(lake) == {request_id: ("SUCCESS", 5)}
        await queue.refresh()
        counts = (await queue.stats()).counts
        assert (counts["SUCCESS"], counts["FAILED"]) == (1, 0)
        for q in (queue, fresh):
            await q.close()

    asyncio.run(scenario())


def test_keys_and_slots_hold_through_folding_for_those_who_were_there_and_those_who_start(lake: Lake) -> None:
    days = Days()

    async def scenario() -> None:
        queue = queue_of(lake, days.clock, key_lifetime_seconds=86_400)
        keyed, slotted = await queue.insert_many(
            [wish(idempotency_key="daily"), wish(idempotency_key="slot-9:00", slot=MONDAY)]
        )
        await queue.claim()
        await queue.settle(dict.fromkeys((keyed, slotted), Done()))
        later = days.at(MONDAY + timedelta(hours=20))
        maintain(lake, later)
        for q in (queue_of(lake, later, key_lifetime_seconds=86_400), queue):
            again = await q.insert_many([wish(idempotency_key="daily"), wish(idempotency_key="slot-9:00", slot=MONDAY)])
            assert again == [keyed, slotted]
            assert not await q.claim()
            await q.close()

    asyncio.run(scenario())


def test_first_rows_that_two_machines_inserted_around_midnight_are_one_request_and_fold_into_it(lake: Lake) -> None:
    days = Days()

    async def scenario() -> None:
        before = queue_of(lake, days.at(datetime(2026, 3, 2, 23, 59, 59, tzinfo=UTC)))
        after = queue_of(lake, days.at(datetime(2026, 3, 3, 0, 0, 1, tzinfo=UTC)))
        for q in (before, after):
            await q.refresh()
        slot = datetime(2026, 3, 3, tzinfo=UTC)
        twice = await asyncio.gather(*(q.insert_many([wish(idempotency_key="s", slot=slot)]) for q in (before, after)))
        assert twice[0] == twice[1]
        if lake.scan(REQUESTS).collect().height == 1:  # one saw the other's row in time: write it as it would have been
            row = lake.scan(REQUESTS).collect()
            other = datetime(2026, 3, 3, 0, 0, 2, tzinfo=UTC)
            append(lake.open(REQUESTS.name), row.with_columns(created_at=other, updated_at=other, date=other.date()))
        (request,) = await after.claim()
        await after.settle({request.request_id: Done()})
        thursday = days.at(datetime(2026, 3, 5, tzinfo=UTC))
        maintain(lake, thursday)
        assert lake.scan(REQUESTS).collect().height == 1
        assert states(lake) == {request.request_id: ("SUCCESS", 2)}
        state = load(lake.open(REQUESTS.name), thursday.now())
        assert not state.open
        for q in (before, after):
            await q.close()

    asyncio.run(scenario())


def test_a_fold_gives_way_to_a_change_of_its_day(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    days = Days()

    async def scenario() -> None:
        queue = queue_of(lake, days.clock)
        ids = await live_through(queue, 4, leave_open=1)
        compare = Rewriter._compare

        def while_somebody_cancels(self: Rewriter, *args: Any) -> None:
            monkeypatch.undo()
            rival = queue_of(lake, days.clock)
            rival._writer.transact(
                lambda state: [r.next(RequestStatus.CANCELLED, now=MONDAY) for r in state.open.values()]
            )
            compare(self, *args)

        monkeypatch.setattr(Rewriter, "_compare", while_somebody_cancels)
        tomorrow = days.at(MONDAY + timedelta(days=1))
        assert maintain(lake, tomorrow)["ib_requests"].folded_rows == 0
        assert sorted(status for status, _ in states(lake).values()) == ["CANCELLED", "SUCCESS", "SUCCESS", "SUCCESS"]
        assert maintain(lake, tomorrow)["ib_requests"].folded_rows == 7
        assert len(states(lake)) == len(ids)
        await queue.close()

    asyncio.run(scenario())


# Retention


def test_old_days_go_and_what_is_open_or_kept_for_ever_stays(lake: Lake) -> None:
    days = Days()
    write_bars(lake)
    WorkerStateTable(lake).record(WorkerState(worker_id="w", state="ready", in_flight=0))

    async def scenario() -> None:
        queue = queue_of(lake, days.clock)
        ids = await live_through(queue, 5, leave_open=1)
        await queue.close()
        days.ahead = 91 * 24 * HOUR
        reports = maintain(lake, days.clock)
        assert reports["worker_state"].expired_rows == 1
        assert reports["ib_requests"].expired_rows == 0  # a slot of the last day that is accepted is remembered
        days.ahead += 2 * 24 * HOUR
        assert maintain(lake, days.clock)["ib_requests"].expired_rows == 4
        assert [status for status, _ in states(lake).values()] == ["PENDING"]
        assert set(states(lake)) < set(ids)
        assert lake.scan(MARKET_BARS).collect().height == 40
        assert maintain(lake, days.clock)["ib_requests"].expired_rows == 0

    asyncio.run(scenario())


def test_a_day_that_expires_still_tells_the_next_one_in_that_round_what_became_of_a_request(lake: Lake) -> None:
    """Two machines inserted it around midnight: its life is in the day that goes, a first row in the one that folds."""
    days = Days()
    asyncio.run(live_through(queue_of(lake, days.clock), 1))
    for commit in (Path(lake.url) / REQUESTS.name / "_delta_log").glob("*.json"):
        written_before(commit, timedelta(days=100))
    first_row = lake.scan(REQUESTS).filter(pl.col("revision") == 0).collect()
    append(lake.open(REQUESTS.name), first_row.with_columns(date=pl.lit(MONDAY.date() + timedelta(days=1))))
    report = maintain(lake, days.at(MONDAY + timedelta(days=7)))[REQUESTS.name]
    assert report.expired_rows == 3
    assert states(lake) == {}


def written_before(commit: Path, age: timedelta) -> None:
    """Have a commit say that its files were written so long before."""
    actions = [json.loads(line) for line in commit.read_bytes().splitlines()]
    for action in actions:
        if "add" in action:
            action["add"]["modificationTime"] -= int(age.total_seconds() * 1000)
    commit.write_text("\n".join(json.dumps(action) for action in actions), encoding="utf-8")


def test_the_setting_keeps_rows_longer_or_shorter(lake: Lake) -> None:
    days = Days()
    table = lake.ensure(MARKET_BARS)
    append(table, bars(["SPY"], range(5), known=datetime.now(UTC) - timedelta(days=40)))
    append(table, bars(["SPY"], range(5, 9), known=datetime.now(UTC)))
    WorkerStateTable(lake).record(WorkerState(worker_id="w", state="ready", in_flight=0))
    days.ahead = 60 * HOUR
    promises = Promises(retention="market_bars=30, worker_state=1")
    reports = maintain(lake, days.clock, promises=promises, specs=[MARKET_BARS, WORKER_STATE])
    assert reports["market_bars"].expired_rows == 5
    assert reports["worker_state"].expired_rows == 1
    assert lake.scan(MARKET_BARS).collect().height == 4
    days.ahead = 400 * 24 * HOUR
    WorkerStateTable(lake).record(WorkerState(worker_id="w", state="ready", in_flight=0))
    assert maintain(lake, days.clock, promises=Promises(retention="worker_state=0"))["worker_state"].expired_rows == 0


@pytest.mark.parametrize(
    ("retention", "reason"),
    [
        ("bars=3", "retention names bars, which is no table: known are"),
        ("incidents=3", "the rows of incidents are kept for ever"),
        ("market_bars=soon", "must be TABLE=DAYS"),
        ("market_bars=²", "must be TABLE=DAYS"),
        ("market_bars=99999999999", "at most 100,000"),
    ],
)
def test_a_retention_that_cannot_be_is_refused(lake: Lake, retention: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        Maintainer(lake, Clock(), Promises(retention=retention))


def test_a_slot_older_than_the_queues_history_is_refused(lake: Lake) -> None:
    async def scenario() -> None:
        queue = queue_of(lake, Days().clock, history_days=7)
        with pytest.raises(RequestError, match="older than the queue's 7 days"):
            await queue.insert_many([wish(idempotency_key="s", slot=MONDAY - timedelta(days=8))])
        await queue.close()

    asyncio.run(scenario())


# Files, log, readers


def test_a_reader_keeps_what_it_opened_for_as_long_as_it_was_promised(lake: Lake) -> None:
    days = Days()
    before = write_bars(lake)
    opened = lake.scan(MARKET_BARS)
    maintain(lake, days.clock)
    days.ahead = 23 * HOUR
    assert maintain(lake, days.clock)["market_bars"].deleted_files == 0
    assert Digest.of(opened.collect()) == Digest.of(before)
    days.ahead = 25 * HOUR
    report = maintain(lake, days.clock)["market_bars"]
    assert report.deleted_files == 20
    assert report.deleted_bytes > 0
    with pytest.raises(Exception, match=r"No such file|not found"):
        opened.collect()
    assert Digest.of(lake.scan(MARKET_BARS).collect()) == Digest.of(before)


def test_a_file_that_was_never_committed_waits_a_week(lake: Lake) -> None:
    days = Days()
    write_bars(lake, commits=2)
    (some, *_) = Path(lake.uri("market_bars")).rglob("*.parquet")
    orphan = some.with_name("part-of-a-dead-writer.parquet")
    orphan.write_bytes(some.read_bytes())
    days.ahead = ORPHAN_AGE.total_seconds() - HOUR
    maintain(lake, days.clock)
    assert orphan.exists()
    days.ahead += 2 * HOUR
    maintain(lake, days.clock)
    assert not orphan.exists()
    assert lake.scan(MARKET_BARS).collect().height == 4


def test_the_log_is_kept_short_and_every_open_object_gets_on(lake: Lake) -> None:
    days = Days(datetime.now(UTC))

    async def scenario() -> None:
        queue, producer = queue_of(lake, days.clock), queue_of(lake, days.clock, worker="")
        await producer.insert(request_type="t", symbol="SPY", idempotency_key="k")
        await queue.refresh()
        writer = queue_of(lake, days.clock, worker="other")
        await live_through(writer, 20)
        assert maintain(lake, days.clock, specs=[SHORT_QUEUE])["ib_requests"].checkpoint
        await live_through(writer, 10)
        days.ahead = 60
        assert maintain(lake, days.clock, specs=[SHORT_QUEUE])["ib_requests"].log_files > 50
        assert (await queue.stats()).counts["SUCCESS"] == 30
        last = await producer.insert(request_type="t", symbol="SPY")
        claimed = await queue.claim(50)
        assert last in {r.request_id for r in claimed}
        assert len(claimed) == 2  # of 32 requests that were inserted 30 had run
        for q in (queue, producer, writer):
            await q.close()

    asyncio.run(scenario())


def test_an_append_from_an_object_that_slept_through_a_shortened_log_lands_once(lake: Lake) -> None:
    days = Days(datetime.now(UTC))
    sleeper, table = WorkerStateTable(lake), WorkerStateTable(lake)
    sleeper.record(WorkerState(worker_id="sleeper", state="ready", in_flight=0))
    record(table, 60)
    assert maintain(lake, days.clock, specs=[SHORT_STATES])["worker_state"].checkpoint
    record(table, 30)
    assert maintain(lake, days.clock, specs=[SHORT_STATES])["worker_state"].log_files == 0  # somebody may be opening it
    days.ahead = 120
    assert maintain(lake, days.clock, specs=[SHORT_STATES])["worker_state"].log_files > 50
    sleeper.record(WorkerState(worker_id="sleeper", state="ready", in_flight=1))
    rows = table.scan().filter(pl.col("worker_id") == "sleeper").collect()
    assert rows.height == 2


def test_a_result_writer_that_slept_through_a_shortened_log_goes_on_and_still_sees_its_fence(lake: Lake) -> None:
    days = Days(datetime.now(UTC))
    rows = WorkerStateTable(lake).row(WorkerState(worker_id="sleeper", state="ready", in_flight=0))
    writer = TableWriter(lake, WORKER_STATE, app_id="sleeper", epoch=1)
    record(WorkerStateTable(lake), 52)
    maintain(lake, days.clock, specs=[SHORT_STATES])
    record(WorkerStateTable(lake), 22)
    days.ahead = 120
    assert maintain(lake, days.clock, specs=[SHORT_STATES])["worker_state"].log_files > 20
    writer.append(rows)
    assert lake.scan(WORKER_STATE).filter(pl.col("worker_id") == "sleeper").collect().height == 1
    fence(lake, WORKER_STATE, app_id="sleeper", epoch=2)
    record(WorkerStateTable(lake), 60)
    days.ahead = 240
    assert maintain(lake, days.clock, specs=[SHORT_STATES])["worker_state"].log_files > 20
    with pytest.raises(LeaseLost):
        writer.append(rows)


def test_a_checkpoint_that_cannot_be_read_keeps_the_log_before_it(lake: Lake) -> None:
    days = Days(datetime.now(UTC))
    table = WorkerStateTable(lake)
    record(table, 60)
    maintain(lake, days.clock, specs=[SHORT_STATES])
    record(table, 30)
    log = Path(lake.uri("worker_state")) / "_delta_log"
    before = len(list(log.glob("*.json")))
    for checkpoint in log.glob("*.checkpoint.parquet"):
        checkpoint.write_bytes(checkpoint.read_bytes()[:-20])
    days.ahead = 120
    (report,) = Maintainer(lake, days.clock, specs=[SHORT_STATES]).round()
    assert report.error is not None
    assert len(list(log.glob("*.json"))) >= before


def test_files_have_the_mode_of_their_table(lake: Lake) -> None:
    """A fold by one user must not hide rows from another of the same group."""
    write_bars(lake)
    (some, *_) = Path(lake.uri("market_bars")).rglob("*.parquet")
    mode = some.stat().st_mode
    maintain(lake)
    assert {path.stat().st_mode for path in Path(lake.uri("market_bars")).rglob("*.parquet")} == {mode}
