"""What the ledger waits for, remembered by day, is what reading the whole ledger gives, whatever happened to it."""

from __future__ import annotations

import random
import shutil
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import polars as pl
import pytest

from v6.clock import Clock
from v6.data import delta
from v6.data.coverage import COVERAGE, CoverageRow, CoverageState, CoverageTable, Interval, row_of
from v6.data.lake import Lake
from v6.data.open_intervals import OpenIntervals
from v6.errors import TableDamaged
from v6.maintenance.maintainer import Maintainer

DAYS = [date(2026, 11, day) for day in range(2, 7)]


@pytest.fixture
def table(tmp_path: Path) -> CoverageTable:
    return CoverageTable(Lake(tmp_path / "lake", flushes=False))


def row(
    day: date, symbol: str = "SPY", state: CoverageState = CoverageState.EXPECTED, request_id: str | None = "r"
) -> CoverageRow:
    start = datetime.combine(day, time(14, 30), UTC)
    interval = Interval(
        request_type="market_bars",
        symbol=symbol,
        series="1 day TRADES",
        timestamp=start,
        interval_end=start + timedelta(hours=6.5),
        date=day,
    )
    return CoverageRow(interval=interval, state=state, request_id=request_id)


def whole(table: CoverageTable) -> list[CoverageRow]:
    rows = table.current().filter(pl.col("state") == str(CoverageState.EXPECTED)).collect()
    return [row_of(values) for values in rows.iter_rows(named=True)]


class Changes:
    """Anything that may happen to the table, at random from a seed."""

    def __init__(self, table: CoverageTable, seed: int) -> None:
        self.table = table
        self.lake = table.lake
        self.folder = Path(table.lake.uri(COVERAGE.name))
        self.backup = self.folder.parent.parent / "backup"
        self.random = random.Random(seed)

    def make_one(self) -> None:
        kinds = [self.record, self.join, self.forget_a_day, self.checkpoint, self.back_up, self.put_back]
        self.random.choices(kinds, weights=[12, 2, 2, 1, 1, 1])[0]()

    def record(self) -> None:
        days = self.random.sample(DAYS, self.random.randint(1, 2))
        states = [*CoverageState, *[CoverageState.EXPECTED] * 3]
        self.table.record(
            [
                row(day, symbol, self.random.choice(states), self.random.choice(["r", "s", None]))
                for day in days
                for symbol in self.random.sample(["SPY", "QQQ", "IWM"], 2)
            ]
        )

    def join(self) -> None:
        (report,) = Maintainer(self.lake, Clock()).round([COVERAGE.name], thorough=True)
        assert report.error is None

    def forget_a_day(self) -> None:
        self.lake.open(COVERAGE.name).delete(f"date = '{self.random.choice(DAYS)}'")

    def checkpoint(self) -> None:
        delta.checkpoint(self.lake.open(COVERAGE.name))

    def back_up(self) -> None:
        shutil.rmtree(self.backup, ignore_errors=True)
        shutil.copytree(self.folder, self.backup)

    def put_back(self) -> None:
        if self.backup.exists():
            shutil.rmtree(self.folder)
            shutil.copytree(self.backup, self.folder)
            self.table = CoverageTable(self.lake)


@pytest.mark.parametrize("seed", range(3))
def test_it_says_what_reading_the_whole_ledger_says_after_any_changes(table: CoverageTable, seed: int) -> None:
    changes, remembering = Changes(table, seed), OpenIntervals(table.lake)
    changes.record()
    seen = set()
    for _ in range(20):
        changes.make_one()
        expected = whole(changes.table)
        assert remembering.read() == expected
        assert OpenIntervals(table.lake).read() == expected
        seen.add(len(expected))
    assert len(seen) > 2


def test_where_nothing_is_there_nothing_is_open(table: CoverageTable) -> None:
    remembering = OpenIntervals(table.lake)
    assert remembering.read() == []
    table.lake.ensure(COVERAGE)
    assert remembering.read() == []
    table.record([row(DAYS[0])])
    assert remembering.read() == [row(DAYS[0])]
    shutil.rmtree(table.lake.uri(COVERAGE.name))
    assert remembering.read() == []


def test_days_that_cannot_have_any_and_days_as_they_were_are_not_read(table: CoverageTable) -> None:
    table.record([row(day, state=CoverageState.FETCHED) for day in DAYS[:3]])
    table.record([row(DAYS[3])])
    remembering = OpenIntervals(table.lake)
    assert remembering.read() == [row(DAYS[3])]
    for file in delta.data_files(table.lake.open(COVERAGE.name)):
        path = Path(table.lake.uri(COVERAGE.name)) / file.path
        path.write_bytes(b"0" * path.stat().st_size)  # whoever reads a row of it fails
    table.record([row(DAYS[4])])
    assert remembering.read() == [row(DAYS[3]), row(DAYS[4])]
    with pytest.raises(TableDamaged):
        OpenIntervals(table.lake).read()
