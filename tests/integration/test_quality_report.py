"""Quality reports on a real lake: examined, written through the worker's own path, read, and heeded by readers."""

import csv
import io
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.integration.test_tables_readers import NOON, bar, frame, future, option

import v6
from v6.data.futures_snapshots import FuturesSnapshotsTable
from v6.data.lake import Lake
from v6.data.market_bars import MarketBarsTable
from v6.data.option_snapshots import OptionSnapshotsTable
from v6.data.quality_flags import QualityFlagsTable
from v6.data.quality_reports import QualityReportsTable
from v6.quality.examine import examine, newest_day
from v6.quality.report import report

DAY = NOON.date()
LATER = NOON + timedelta(hours=5)


def made(
    lake: Path, request_id: str, day: date | None = None, at: datetime = LATER, symbol: str = ""
) -> dict[str, pl.DataFrame]:
    """Make a report and append it as the worker would."""
    tables = report(Lake(lake), day, at, symbol)
    stamps = {"request_id": pl.lit(request_id), "known_at": pl.lit(at)}
    for table in (QualityFlagsTable(lake), QualityReportsTable(lake)):
        table.append(tables[table.spec.name].with_columns(**stamps))
    return tables


def quoted(con_id: int, **values: Any) -> dict[str, Any]:
    return option("c1", con_id, **{"bid": 1.0, "ask": 1.2, **values})


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    OptionSnapshotsTable(tmp_path).append(frame(quoted(1), quoted(2, bid=2.0)))
    FuturesSnapshotsTable(tmp_path).append(frame(future(1, bid=10.0, ask=11.0)))
    MarketBarsTable(tmp_path).append(frame(bar(0), bar(5, con_id=7, low=500.0)))
    return tmp_path


def test_a_report_names_each_doubtful_row_and_changes_none(lake: Path) -> None:
    before = OptionSnapshotsTable(lake).scan().collect()
    made(lake, "q1")
    flags = v6.quality_flags(lake=lake).collect()
    assert flags.select("table_name", "check", "action", "con_id", "row_request_id").rows() == [
        ("market_bars", "impossible", "quarantine", 7, "r1"),
        ("option_snapshots", "crossed", "quarantine", 2, "r1"),
    ]
    assert OptionSnapshotsTable(lake).scan().collect().equals(before)
    [row] = v6.quality_reports(lake=lake).collect().to_dicts()
    assert (row["date"], row["rows_examined"], row["flagged"], row["quarantined"]) == (DAY, 5, 0, 2)


def test_page_and_csv_have_every_finding_and_load_nothing(lake: Path) -> None:
    made(lake, "q1")
    [row] = v6.quality_reports(lake=lake).collect().to_dicts()
    assert "bid 2.0 above ask 1.2" in row["html"]
    assert not any(word in row["html"] for word in ("http", "src=", "<script", "url("))
    lines = list(csv.DictReader(io.StringIO(row["csv"])))
    assert [line["check"] for line in lines] == ["impossible", "crossed"]
    assert datetime.fromisoformat(lines[1]["timestamp"]) == NOON


def test_text_from_outside_cannot_break_the_page(tmp_path: Path) -> None:
    OptionSnapshotsTable(tmp_path).append(frame(quoted(1, bid=9.0, symbol="<b>&")))
    [row] = report(Lake(tmp_path), DAY, LATER)["quality_reports"].to_dicts()
    assert "<b>" not in row["html"]
    assert "&lt;b&gt;&amp;" in row["html"]


def test_clean_readers_leave_out_what_is_quarantined(lake: Path) -> None:
    assert v6.option_chain("SPY", clean=True, lake=lake).collect().height == 2  # nothing was examined yet
    made(lake, "q1")
    assert v6.option_chain("SPY", lake=lake).collect()["con_id"].to_list() == [1, 2]
    assert v6.option_chain("SPY", clean=True, lake=lake).collect()["con_id"].to_list() == [1]
    assert v6.option_history("SPY", clean=True, lake=lake).collect()["con_id"].to_list() == [1]
    assert v6.bars("SPY", bar_size="5 mins", clean=True, lake=lake).collect()["con_id"].to_list() == [1]


def test_the_newest_report_of_a_date_counts_and_as_of_sees_the_one_before(lake: Path) -> None:
    made(lake, "q1")
    OptionSnapshotsTable(lake).append(frame(quoted(3, bid=3.0)))
    made(lake, "q2", at=LATER + timedelta(hours=1))
    assert v6.quality_flags(check="crossed", lake=lake).collect()["con_id"].to_list() == [2, 3]
    assert v6.quality_flags(check="crossed", as_of=LATER, lake=lake).collect()["con_id"].to_list() == [2]
    assert v6.quality_reports(lake=lake).collect()["request_id"].to_list() == ["q2"]


def test_a_report_of_one_symbol_takes_the_place_of_what_was_found_of_it_and_leaves_the_others(lake: Path) -> None:
    OptionSnapshotsTable(lake).append(frame(quoted(11, bid=3.0, symbol="QQQ")))
    alone = made(lake, "q1", symbol="QQQ")
    assert alone["quality_reports"].select("rows_examined", "quarantined", "scope").rows() == [(1, 1, "QQQ")]
    assert "Quality of QQQ on" in alone["quality_reports"]["html"].item()
    assert v6.quality_flags(lake=lake).collect()["con_id"].to_list() == [11]  # no report of all symbols yet
    assert v6.quality_reports(lake=lake).collect().is_empty()
    made(lake, "q2", at=LATER + timedelta(hours=1))
    OptionSnapshotsTable(lake).append(frame(quoted(3, bid=3.0), quoted(12, bid=3.0, symbol="QQQ")))
    made(lake, "q3", at=LATER + timedelta(hours=2), symbol="QQQ")
    found = v6.quality_flags(check="crossed", lake=lake).collect().sort("con_id")
    assert found.select("con_id", "request_id").rows() == [(2, "q2"), (11, "q3"), (12, "q3")]
    assert v6.quality_reports(lake=lake).collect()["request_id"].to_list() == ["q2"]
    assert v6.quality_reports(symbol="QQQ", lake=lake).collect()["request_id"].to_list() == ["q3"]
    made(lake, "q4", at=LATER + timedelta(hours=3))
    found = v6.quality_flags(check="crossed", lake=lake).collect().sort("con_id")
    assert found.select("con_id", "request_id").rows() == [(2, "q4"), (3, "q4"), (11, "q4"), (12, "q4")]
    assert v6.option_chain("QQQ", clean=True, lake=lake).collect().is_empty()


def test_the_newest_day_of_one_symbol_is_the_newest_that_has_it(lake: Path) -> None:
    FuturesSnapshotsTable(lake).append(frame(future(1, NOON + timedelta(days=1))))
    now = NOON + timedelta(days=1, hours=5)
    assert report(Lake(lake), None, now, "ES")["quality_reports"]["date"].to_list() == [DAY + timedelta(days=1)]
    assert report(Lake(lake), None, now, "SPY")["quality_reports"]["date"].to_list() == [DAY]
    assert report(Lake(lake), None, now, "NOPE") == {}


def test_a_report_made_again_after_a_crash_doubles_no_finding(lake: Path) -> None:
    flags = report(Lake(lake), DAY, LATER)["quality_flags"]
    stamped = flags.with_columns(request_id=pl.lit("q1"), known_at=pl.lit(LATER))
    for _ in range(2):
        QualityFlagsTable(lake).append(stamped)
    assert QualityFlagsTable(lake).scan().collect().height == flags.height == 2


def test_without_a_day_the_newest_one_with_data_and_without_data_nothing(lake: Path, tmp_path: Path) -> None:
    FuturesSnapshotsTable(lake).append(frame(future(1, NOON + timedelta(days=1))))
    tomorrow = report(Lake(lake), None, NOON + timedelta(days=1, hours=5))["quality_reports"]
    assert tomorrow["date"].to_list() == [DAY + timedelta(days=1)]
    assert report(Lake(lake), None, LATER)["quality_reports"]["date"].to_list() == [DAY]
    assert report(Lake(tmp_path / "empty"), None, datetime(2027, 1, 1, tzinfo=UTC)) == {}


def tear(lake: Path, table: str) -> None:
    """Of the length that the log says, and without a byte of what was in them."""
    for path in (lake / table).rglob("*.parquet"):
        path.write_bytes(bytes(path.stat().st_size))


def test_reports_in_a_file_that_is_torn_are_damaged(lake: Path) -> None:
    made(lake, "q1")
    tear(lake, "quality_reports")
    with pytest.raises(v6.LakeError, match=r"quality_reports .*parquet"):
        v6.quality_flags(lake=lake)


@pytest.mark.parametrize("table", ["option_snapshots", "market_bars"])
def test_rows_in_a_file_that_is_torn_cannot_be_examined(lake: Path, table: str) -> None:
    tear(lake, table)
    with pytest.raises(v6.LakeError, match=rf"{table} .*parquet"):
        newest_day(Lake(lake), DAY, "SPY")
    with pytest.raises(v6.LakeError, match=rf"{table} .*parquet"):
        examine(Lake(lake), DAY)
