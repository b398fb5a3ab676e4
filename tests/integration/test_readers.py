"""``import v6``: the readers on real tables, SQL over all of them, exports."""

import inspect
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from tests.integration.test_tables_readers import NOON, bar, frame, future, holding, option

import v6
from v6.data.derived_statistics import DerivedStatisticsTable
from v6.data.futures_snapshots import FuturesSnapshotsTable
from v6.data.ib_request_queue import IBRequestQueue, NewRequest
from v6.data.market_bars import MarketBarsTable
from v6.data.option_snapshots import OptionSnapshotsTable
from v6.data.outcome import Done
from v6.data.position_updates import PositionUpdatesTable
from v6.data.worker_state import WorkerState, WorkerStateTable
from v6.errors import TableDamaged

READERS = [name for name, module in v6.EXPORTS.items() if module.startswith("v6.readers.")]
DAY = timedelta(days=1)


def daily(day: int, close: float, kind: str = "TRADES", **values: Any) -> dict[str, Any]:
    at = datetime(2026, 11, day, tzinfo=UTC)
    prices = {"open": close - 1, "high": close + 1, "low": close - 2, "close": close}
    key = {"timestamp": at, "date": at.date(), "bar_size": "1 day", "what_to_show": kind}
    return bar(0, **{**prices, **key, **values})


def test_every_reader_names_its_lake_and_is_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "readers.md").read_text(encoding="utf-8")
    listed = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `")}
    assert listed == set(READERS)
    for name in set(READERS) - {"export"}:
        lake = inspect.signature(getattr(v6, name)).parameters["lake"]
        assert lake.kind is inspect.Parameter.KEYWORD_ONLY, name


def test_without_a_lake_they_read_that_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    OptionSnapshotsTable(tmp_path / "lake").append(frame(option("c1", 1), option("c1", 2)))
    monkeypatch.setenv("V6_LAKE", str(tmp_path / "lake"))
    assert v6.option_chain("SPY").collect().height == 2
    assert v6.option_chain("QQQ").collect().is_empty()


def test_a_lake_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(v6.LakeError, match=r"no lake at .*nowhere.*v6 demo"):
        v6.option_chain("SPY", lake=tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_table_that_is_not_there_yet_is_empty_with_its_columns(tmp_path: Path) -> None:
    for name in (
        "option_history",
        "option_cycles",
        "contracts",
        "futures_history",
        "statistics",
        "requests",
        "coverage",
    ):
        found = getattr(v6, name)(lake=tmp_path).collect()
        assert found.is_empty(), name
        assert found.columns, name
    assert v6.bars("SPY", lake=tmp_path).collect().is_empty()
    assert v6.futures("ES", lake=tmp_path).collect().is_empty()
    assert v6.positions(lake=tmp_path).collect().is_empty()


NAIVE = NOON.replace(tzinfo=None)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("option_chain", {"symbol": 123}, r"option_chain\(symbol=123\): symbol has to be a text that is not empty"),
        ("option_chain", {"symbol": " "}, "symbol has to be a text that is not empty"),
        ("option_chain", {"symbol": ["SPY"]}, "symbol has to be a text"),
        (
            "option_chain",
            {"symbol": "SPY", "expiry": "2026-11-24"},
            r"expiry has to be a date such as date\(20",
        ),
        ("option_chain", {"symbol": "SPY", "expiry": NOON}, "expiry has to be a date"),
        ("option_chain", {"symbol": "SPY", "as_of": NAIVE}, r"as_of has no zone: write datetime\(.*tzinfo=UTC\)"),
        ("option_chain", {"symbol": "SPY", "clean": 1}, "clean has to be True or False"),
        ("option_history", {"strike": "260"}, "strike has to be a number"),
        ("option_history", {"con_id": 1.5}, "con_id has to be a whole number"),
        ("option_history", {"right": "call"}, "there is no right 'call': known are C, P"),
        ("bars", {"symbol": "SPY", "start": NAIVE.date()}, "start has to be a datetime with its zone"),
        (
            "statistics",
            {"statistic": "bta"},
            "no statistic 'bta': did you mean beta.*known are return, .*, iv_rank",
        ),
        ("statistics", {"start": "2026-11-24"}, "start has to be a date"),
        ("statistics_wide", {"statistics": "beta"}, "statistics has to be a list of texts"),
        ("statistics_wide", {"statistics": ["beta", "vix"]}, "there is no statistic 'vix'"),
        ("iv_surface", {"symbol": "SPY", "strikes": 260.0}, "strikes has to be a list of numbers"),
        ("iv_surface", {"symbol": "SPY", "strikes": ["260"]}, "strikes has to be a list of numbers"),
        ("iv_surface", {"symbol": "SPY", "expiries": [NOON]}, "expiries has to be a list of dates"),
        ("requests", {"status": "DONE"}, "there is no status 'DONE': known are PENDING, "),
        ("quality_flags", {"check": "crosed"}, "there is no check 'crosed': did you mean crossed"),
        ("quality_flags", {"table_name": "bars"}, "there is no examined table 'bars': .*known are option_snapshots"),
        ("sql", {"text": None}, "text has to be a text"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_named_with_what_can(
    tmp_path: Path, name: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(v6.UsageError, match=message) as raised:
        getattr(v6, name)(**arguments, lake=tmp_path)
    assert "\n" not in str(raised.value)


def test_numbers_and_lists_of_other_libraries_are_taken(tmp_path: Path) -> None:
    strikes, expiries = np.array([260, 270]), pl.Series([date(2026, 12, 18)])
    assert v6.iv_surface("SPY", strikes=strikes, expiries=expiries, lake=tmp_path).collect().is_empty()  # type: ignore[arg-type]
    assert v6.option_history(con_id=np.int64(1), strike=np.float32(260), lake=tmp_path).collect().is_empty()  # type: ignore[arg-type]


def store_a_statistic(lake: Path, name: str) -> None:
    row = {
        "timestamp": NOON, "date": NOON.date(), "symbol": "SPY", "statistic": name, "value": 1.0,
        "n_observations": 1, "quality": "ok", "request_id": "r", "known_at": NOON,
    }  # fmt: skip
    DerivedStatisticsTable(lake).append(pl.DataFrame([row]))


def test_a_statistic_that_somebody_stored_under_a_name_of_his_own_is_read(tmp_path: Path) -> None:
    store_a_statistic(tmp_path, "mine")
    assert v6.statistics("SPY", "mine", lake=tmp_path).collect().height == 1
    with pytest.raises(v6.UsageError, match="there is no statistic 'mien': did you mean mine"):
        v6.statistics("SPY", "mien", lake=tmp_path)


def test_statistics_in_a_file_that_is_torn_are_damaged_for_readers_that_look_at_the_call(tmp_path: Path) -> None:
    store_a_statistic(tmp_path, "mine")
    for path in (tmp_path / "derived_statistics").rglob("*.parquet"):
        path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(v6.LakeError, match=r"derived_statistics .*parquet"):
        v6.statistics(statistic="mine", lake=tmp_path)
    with pytest.raises(v6.LakeError, match=r"derived_statistics .*parquet"):
        v6.statistics_wide(lake=tmp_path)


def test_a_chain_as_last_seen_as_last_complete_and_as_of_a_moment(tmp_path: Path) -> None:
    table = OptionSnapshotsTable(tmp_path)
    table.append(frame(option("c1", 1), option("c1", 2)))
    table.append(frame(option("c2", 1, NOON + timedelta(minutes=5))))
    assert v6.option_chain("SPY", lake=tmp_path).collect()["cycle"].to_list() == ["c2"]
    assert v6.option_chain("SPY", complete=True, lake=tmp_path).collect()["cycle"].to_list() == ["c1", "c1"]
    assert v6.option_chain("SPY", as_of=NOON, lake=tmp_path).collect()["cycle"].to_list() == ["c1", "c1"]
    assert v6.option_history(con_id=1, lake=tmp_path).collect()["cycle"].to_list() == ["c1", "c2"]
    assert v6.option_cycles("SPY", lake=tmp_path).collect()["cycle"].to_list() == ["c2", "c1"]


def test_filters_reach_the_files(tmp_path: Path) -> None:
    for day in range(3):
        OptionSnapshotsTable(tmp_path).append(frame(option(f"c{day}", 1, NOON + day * DAY)))
    plan = v6.option_history("SPY", start=NOON + DAY, end=NOON + 2 * DAY, lake=tmp_path).explain()
    assert 'col("symbol")' in plan.partition("SELECTION:")[2]


def test_adjusted_bars_are_the_stored_ones_times_the_factor_of_their_date(tmp_path: Path) -> None:
    table = MarketBarsTable(tmp_path)
    raw = [daily(9, 100.0), daily(10, 102.0), daily(11, 101.0), daily(12, 103.0)]
    table.append(frame(*raw, daily(10, 91.8, "ADJUSTED_LAST"), daily(11, 101.0, "ADJUSTED_LAST")))
    minute: dict[str, Any] = {"timestamp": datetime(2026, 11, 10, 15, 0, tzinfo=UTC), "date": date(2026, 11, 10)}
    table.append(frame(bar(0, **minute)))
    found = v6.bars("SPY", adjusted=True, lake=tmp_path).collect().sort("date")
    assert found["factor"].to_list() == [None, pytest.approx(0.9), 1.0, 1.0]
    assert found["close"].to_list() == [None, pytest.approx(91.8), 101.0, 103.0]
    assert found["high"].to_list() == [None, pytest.approx(103 * 0.9), 102.0, 104.0]
    intraday = v6.bars("SPY", bar_size="5 mins", adjusted=True, lake=tmp_path).collect()
    assert intraday["close"].to_list() == [pytest.approx(90.0)]
    assert intraday["volume"].to_list() == [10.0]
    assert v6.bars("SPY", lake=tmp_path).collect().sort("date")["close"].to_list() == [100.0, 102.0, 101.0, 103.0]


def test_bars_that_cannot_be_adjusted_say_what_to_ask_for(tmp_path: Path) -> None:
    MarketBarsTable(tmp_path).append(frame(daily(9, 100.0)))
    with pytest.raises(v6.RequestError, match=r"v6 submit market_bars SPY .*ADJUSTED_LAST"):
        v6.bars("SPY", adjusted=True, lake=tmp_path)


def test_the_curve_and_what_is_held(tmp_path: Path) -> None:
    FuturesSnapshotsTable(tmp_path).append(frame(future(2), future(1)))
    PositionUpdatesTable(tmp_path).append(frame(holding("r1", "SPY", NOON)))
    assert v6.futures("ES", lake=tmp_path).collect()["con_id"].to_list() == [1, 2]
    assert v6.futures_history("ES", front_month=True, lake=tmp_path).collect()["con_id"].to_list() == [1]
    assert v6.positions(lake=tmp_path).collect()["symbol"].to_list() == ["SPY"]


async def test_requests_now_and_before(tmp_path: Path) -> None:
    queue = IBRequestQueue(tmp_path, worker_id="w", check=NewRequest.checked)
    first = await queue.insert(request_type="futures_snapshot", symbol="ES")
    await queue.insert(request_type="option_chain", symbol="SPY")
    [claimed] = await queue.claim(1)
    await queue.settle({claimed.request_id: Done()})
    await queue.close()
    now = v6.requests(lake=tmp_path).collect()
    assert now["status"].to_list() == ["SUCCESS", "PENDING"]
    assert v6.requests(status="PENDING", lake=tmp_path).collect()["symbol"].to_list() == ["SPY"]
    assert v6.requests(symbol="ES", lake=tmp_path).collect()["request_id"].to_list() == [first]
    born: Any = now["created_at"].max()
    assert set(v6.requests(as_of=born, lake=tmp_path).collect()["status"]) == {"PENDING"}
    assert v6.request_history(first, lake=tmp_path).collect()["revision"].to_list() == [0, 1, 2]


def test_sql_joins_and_windows_give_what_duckdb_gives(tmp_path: Path) -> None:
    OptionSnapshotsTable(tmp_path).append(frame(option("c1", 1), option("c1", 2), option("c2", 1, NOON + DAY)))
    FuturesSnapshotsTable(tmp_path).append(frame(future(1)))
    text = """
        WITH ranked AS (
          SELECT *, row_number() OVER (PARTITION BY con_id ORDER BY timestamp DESC) AS newest FROM option_snapshots
        )
        SELECT ranked.con_id, ranked.cycle, futures_snapshots.symbol AS future
        FROM ranked JOIN futures_snapshots ON futures_snapshots.con_id = ranked.con_id WHERE newest = 1
    """
    found = v6.sql(text, lake=tmp_path).collect()
    assert found.to_dicts() == [{"con_id": 1, "cycle": "c2", "future": "ES"}]
    with duckdb.connect() as database:
        for name in ("option_snapshots", "futures_snapshots"):
            database.register(name, pl.read_delta(str(tmp_path / name)).to_arrow())
        assert database.execute(text).fetchall() == found.rows()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("DROP TABLE option_snapshots", "only reads: begin with SELECT or WITH"),
        ("SELECT nonsense FROM option_snapshots", "nonsense.*the tables are option_snapshots"),
        ("SELECT * FROM elsewhere", "elsewhere.*the tables are option_snapshots"),
        ("SELECT FROM WHERE", "cannot be run"),
    ],
)
def test_sql_that_cannot_be_run_says_why(tmp_path: Path, text: str, message: str) -> None:
    OptionSnapshotsTable(tmp_path).append(frame(option("c1", 1)))
    with pytest.raises(v6.UsageError, match=message):
        v6.sql(text, lake=tmp_path)
    assert OptionSnapshotsTable(tmp_path).scan().collect().height == 1


def from_csv(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, try_parse_dates=True)


READ_BACK: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".parquet": pl.read_parquet,
    ".csv": from_csv,
    ".arrow": pl.read_ipc,
}


def test_sql_over_a_file_that_cannot_be_read_names_it(tmp_path: Path) -> None:
    WorkerStateTable(tmp_path).record(WorkerState(worker_id="w", state="ready", in_flight=1))
    (broken,) = tmp_path.glob("worker_state/*/*.parquet")
    broken.write_bytes(b"\xff" * broken.stat().st_size)
    with pytest.raises(TableDamaged, match=f"worker_state in .* is damaged: {broken} cannot be read"):
        v6.sql("SELECT count(*) FROM worker_state WHERE in_flight > 0", lake=tmp_path)


@pytest.mark.parametrize("ending", READ_BACK)
def test_an_export_has_the_rows_and_replaces_the_file_at_once(tmp_path: Path, ending: str) -> None:
    OptionSnapshotsTable(tmp_path).append(frame(option("c1", 1, bid=1.25), option("c1", 2)))
    rows = v6.option_chain("SPY", lake=tmp_path).select("timestamp", "con_id", "strike", "right", "bid")
    path = tmp_path / f"chain{ending}"
    path.write_text("what was there before")
    assert v6.export(rows, path) == path
    assert READ_BACK[ending](path).equals(rows.collect())
    assert not list(tmp_path.glob(".chain*"))


def test_an_export_that_fails_leaves_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "chain.parquet"
    path.write_text("what was there before")
    broken = pl.LazyFrame({"a": ["x"]}).select(pl.col("a").str.to_integer())
    with pytest.raises((v6.LakeError, pl.exceptions.PolarsError)):
        v6.export(broken, path)
    assert path.read_text() == "what was there before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["chain.parquet"]


@pytest.mark.parametrize(("name", "message"), [("x.txt", r"must end in one of \.parquet"), ("no/x.csv", "no folder")])
def test_a_wrong_target_is_named(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(v6.UsageError, match=message):
        v6.export(pl.DataFrame({"a": [1]}), tmp_path / name)
