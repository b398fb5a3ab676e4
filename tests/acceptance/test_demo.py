"""The whole main job, run as a person runs it: ``v6 demo``, then everything it promises is looked up in its tables."""

from __future__ import annotations

import ast
import json
import math
import os
import re
import subprocess
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import exchange_calendars
import polars as pl
import pytest
from deltalake import DeltaTable

from v6.data.ib_request_queue import IBRequestQueue
from v6.data.market_bars import MarketBarsTable
from v6.data.option_snapshots import OptionSnapshotsTable

ROOT = Path(__file__).parents[2]
TABLES = ("ib_requests", "option_snapshots", "futures_snapshots", "market_bars", "position_updates")
GREEKS = ["iv", "delta", "gamma", "theta", "vega"]
FUTURES = ["bid", "ask", "last", "implied_vol", "change_1h", "change_4h", "change_overnight", "change_daily"]
RATE, DIVIDEND = 0.04, 0.015  # docs/simulated-market.md
MIXES = {"SPY": ("0.1", "0"), "QQQ": ("0", "0.025"), "IWM": ("0.03", "0.009")}
VOLUMES = {"SPY": ("SPX", 30), "QQQ": ("COMP", 40), "IWM": ("SPX", 150)}

# Where each stored number stands in the messages: tick types of prices and sizes, places in the model's computation.
PRICE_TICKS = {1: "bid", 2: "ask", 4: "last", 6: "high", 7: "low", 9: "close", 14: "open"}
SIZE_TICKS = {0: "bid_size", 3: "ask_size", 5: "last_size", 8: "volume", 27: "open_interest", 28: "open_interest"}
MODEL = ("iv", "delta", "model_price", "pv_dividend", "gamma", "vega", "theta", "underlying_price")
ON_THE_WAY = timedelta(seconds=2)  # at most, on a busy machine
SECONDS = 600  # until a test that waits for ever fails
TRIES = 3


@dataclass(frozen=True, kw_only=True)
class Demo:
    """One run: what it printed, how long it took, and where it left things."""

    seconds: float
    figures: dict[str, Any]
    lake: Path
    folder: Path

    def table(self, name: str) -> pl.DataFrame:
        return pl.read_delta(str(self.lake / name))

    def is_in_time(self) -> bool:
        """Whether everything came as soon as it does on a machine that has nothing else to do."""
        is_soon = self.seconds < 120 and self.figures["urgent_seconds"] < 3
        return is_soon and self.figures["contracts_per_second"] > 18 and not self.lacking()

    def lacking(self) -> int:
        """How many numbers did not come within the seconds that a snapshot or a chain waits for them."""
        wanted = {"futures_snapshots": FUTURES, "option_snapshots": ["open_interest", "volume"]}
        return sum(sum(self.table(name).select(columns).null_count().row(0)) for name, columns in wanted.items())


def v6(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("V6_")}
    command = [sys.executable, "-m", "v6", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=environment, check=False)


def run_demo(lake: Path, folder: Path, *more: str) -> Demo:
    began = datetime.now(UTC)
    done = v6("demo", "--json", "--lake", str(lake), "--folder", str(folder), *more)
    assert done.returncode == 0, done.stderr
    seconds = (datetime.now(UTC) - began).total_seconds()
    return Demo(seconds=seconds, figures=json.loads(done.stdout), lake=lake, folder=folder)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    place = tmp_path_factory.mktemp("demo")
    return run_demo(place / "lake", place / "page")


@pytest.fixture(scope="module")
def undisturbed(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """A run in good time: the machine may be busy with something else once, and not each time."""
    for number in range(1, TRIES):
        if demo.is_in_time():
            break
        place = tmp_path_factory.mktemp(f"demo-{number}")
        demo = run_demo(place / "lake", place / "page")
    return demo


@pytest.fixture(scope="module")
def chain(undisturbed: Demo) -> pl.DataFrame:
    return undisturbed.table("option_snapshots")


def test_it_ends_within_two_minutes(undisturbed: Demo) -> None:
    assert undisturbed.seconds < 120


def test_every_request_is_success(demo: Demo) -> None:
    assert demo.figures["requests"] == {"SUCCESS": 17}
    requests = IBRequestQueue(str(demo.lake)).requests().collect()
    assert requests["status"].to_list() == ["SUCCESS"] * 17
    collected = {"option_chain", "futures_snapshot", "market_bars", "position_update"}
    assert set(requests["request_type"]) == collected | {"derive_statistics"}


def test_it_collects_many_contracts_just_under_the_limit(undisturbed: Demo) -> None:
    assert 18 < undisturbed.figures["contracts_per_second"] <= 25


def test_it_collects_every_contract_once(undisturbed: Demo, chain: pl.DataFrame) -> None:
    assert chain.height == undisturbed.figures["option_rows"] >= 700
    assert set(chain["symbol"]) == {"SPY", "QQQ", "IWM"}
    assert chain["con_id"].is_unique().all()
    assert (chain["cycle_contracts"].sum() // chain.height) >= 200


def test_an_urgent_request_in_mid_demo_ends_within_three_seconds(undisturbed: Demo) -> None:
    assert undisturbed.figures["urgent_seconds"] < 3


# What the gateway says it sent


Sent = dict[str, list[tuple[datetime, float]]]


def sent_values(journal: Path) -> dict[int, Sent]:
    """For each contract, every number that was sent for it, by column and in time order."""
    sent: dict[int, Sent] = defaultdict(lambda: defaultdict(list))
    for line in journal.read_text().splitlines():
        entry = json.loads(line)
        at = datetime.fromisoformat(entry["time"])
        for name, value in numbers_of(entry["kind"], entry["values"]):
            sent[entry["con_id"]][name].append((at, value))
    return sent


def numbers_of(kind: str, values: list[str]) -> Iterator[tuple[str, float]]:
    if kind == "tick_price" and int(values[3]) in PRICE_TICKS:
        yield PRICE_TICKS[int(values[3])], float(values[4])
    elif kind == "tick_size" and int(values[3]) in SIZE_TICKS:
        yield SIZE_TICKS[int(values[3])], float(values[4])
    elif kind == "tick_option_computation" and values[2] == "13":
        yield from zip(MODEL, map(float, values[4:]), strict=True)


def is_what_was_sent(stored: float, sent: list[tuple[datetime, float]], at: datetime) -> bool:
    """Whether it is the last value sent by then, or one that was until the last moments: that may be on the way."""
    overtaken = [when for when, _ in sent[1:]] + [datetime.max.replace(tzinfo=UTC)]
    return any(
        value == stored and when <= at and later > at - ON_THE_WAY
        for (when, value), later in zip(sent, overtaken, strict=True)
    )


def test_every_stored_number_is_the_one_the_journal_says_was_sent(undisturbed: Demo, chain: pl.DataFrame) -> None:
    sent = sent_values(Path(undisturbed.figures["journal"]))
    quoted = [*PRICE_TICKS.values(), *set(SIZE_TICKS.values())]
    columns = [*quoted, *MODEL]
    wrong = [
        (row["local_symbol"], name, row[name], sent[row["con_id"]][name])
        for row in chain.iter_rows(named=True)
        for name in (columns if row["greeks_source"] == "model" else quoted)
        if row[name] is not None and not is_what_was_sent(row[name], sent[row["con_id"]][name], row["timestamp"])
    ]
    assert wrong == []
    assert chain.select(columns).null_count().sum_horizontal().item() <= 0.01 * chain.height


def test_the_options_are_whole(chain: pl.DataFrame) -> None:
    assert (chain["bid"] <= chain["ask"]).all()
    assert chain.select(pl.all_horizontal(pl.col(GREEKS).is_not_null()).mean()).item() >= 0.99
    assert chain["open_interest"].null_count() == chain["volume"].null_count() == 0
    assert (chain["open_interest"] > 0).all()
    assert set(chain["market_data_type"]) == {"live"}
    assert (chain["greeks_source"] == "model").sum() >= 0.95 * chain.height


def years_left(expiry: date, at: datetime) -> float:
    end = datetime.combine(expiry, time(16), ZoneInfo("America/New_York"))
    return (end - at).total_seconds() / (365 * 86_400)


def test_put_call_parity_holds_at_the_money_within_the_spread(chain: pl.DataFrame) -> None:
    """European options: C - P = S exp(-qT) - K exp(-rT)."""
    puts = chain.filter(pl.col("right") == "P")
    pairs = chain.filter(pl.col("right") == "C").join(puts, on=["symbol", "expiry", "strike"], suffix="_put")
    near = pairs.filter((pl.col("strike") / pl.col("underlying_price") - 1).abs() <= 0.05)
    holds = []
    for row in near.iter_rows(named=True):
        term = years_left(row["expiry"], row["timestamp"])
        spot = (row["underlying_price"] + row["underlying_price_put"]) / 2
        fair = spot * math.exp(-DIVIDEND * term) - row["strike"] * math.exp(-RATE * term)
        gap = (row["bid"] + row["ask"] - row["bid_put"] - row["ask_put"]) / 2
        holds.append(abs(gap - fair) <= (row["ask"] - row["bid"] + row["ask_put"] - row["bid_put"]) / 2)
    assert len(holds) >= 45
    assert sum(holds) >= 0.95 * len(holds)


def test_futures_and_positions_are_there(undisturbed: Demo) -> None:
    futures = undisturbed.table("futures_snapshots")
    assert set(futures["symbol"]) == {"ES", "NQ", "RTY"}
    assert undisturbed.lacking() == 0
    months = futures.group_by("symbol").agg(pl.col("contract_month").n_unique(), pl.col("is_front_month").any())
    assert months.sort("symbol").rows() == [("ES", 3, True), ("NQ", 1, True), ("RTY", 1, True)]
    assert set(undisturbed.table("position_updates")["symbol"]) == {"SPY", "ES"}


# Readers that know nothing of v6

WITHOUT_V6 = """
import json, sys
sys.modules["v6"] = None
import duckdb, polars
from deltalake import DeltaTable
lake, *names = sys.argv[1:]
seen = {}
for name in names:
    data = DeltaTable(f"{lake}/{name}").to_pyarrow_dataset()
    frames = polars.read_delta(f"{lake}/{name}"), duckdb.sql("SELECT * FROM data").pl()
    seen[name] = [[frame.height, frame.columns, frame.null_count().row(0)] for frame in frames]
print(json.dumps(seen))
"""


def test_polars_and_duckdb_read_every_table_without_v6(demo: Demo) -> None:
    names = [folder.name for folder in demo.lake.iterdir() if (folder / "_delta_log").is_dir()]
    assert set(TABLES) <= set(names)
    command = [sys.executable, "-I", "-c", WITHOUT_V6, str(demo.lake), *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    for name, (by_polars, by_duckdb) in json.loads(done.stdout).items():
        assert by_polars == by_duckdb, name
        assert by_polars[0] > 0, name


def test_the_sql_of_the_docs_gives_the_same_as_requests(demo: Demo) -> None:
    page = (ROOT / "docs/requests.md").read_text(encoding="utf-8")
    (statement,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    connection = duckdb.connect()
    connection.register("ib_requests", DeltaTable(demo.lake / "ib_requests").to_pyarrow_dataset())
    by_sql = connection.sql(statement).pl()
    by_reader = IBRequestQueue(str(demo.lake)).requests().collect()
    names = by_reader.columns
    assert set(names) <= set(by_sql.columns)
    assert by_sql.select(names).sort("request_id").rows() == by_reader.sort("request_id").rows()


# Bars


@cache
def xnys_sessions() -> list[Any]:
    with warnings.catch_warnings():
        # exchange_calendars 4.13 reads Series.values of a time zone's column, which pandas 3.1 deprecates.
        warnings.filterwarnings("ignore", message="Series.values returning an ndarray that drops timezone")
        return list(exchange_calendars.get_calendar("XNYS", start="1999-01-04", end="2026-12-31").sessions)


def historical_session(day: date) -> date:
    """The session of the history that is laid over a date: both count back over XNYS sessions from a 31 December."""
    days: list[date] = [session.date() for session in xnys_sessions()]
    offset = sum(session >= day for session in days)
    return [session for session in days if session <= date(2018, 12, 31)][-offset]


def history() -> dict[tuple[str, date], dict[str, Any]]:
    """The rows by symbol and session. A session of volume 0 has the volume of the one before."""
    frame = pl.read_parquet(ROOT / "src/v6/simulator/data/market_history.parquet").sort("symbol", "date")
    volume = pl.when(pl.col("volume") > 0).then("volume").forward_fill().over("symbol")
    frame = frame.with_columns(volume=volume)
    return {(row["symbol"], row["date"]): row for row in frame.iter_rows(named=True)}


def to_tick(spx: float, comp: float, symbol: str) -> float:
    share, other = (Decimal(text) for text in MIXES[symbol])
    mixed = share * Decimal(f"{spx:.6f}") + other * Decimal(f"{comp:.6f}")
    return float(mixed.quantize(Decimal("0.01"), ROUND_HALF_UP))


def daily_bars(lake: Path) -> pl.DataFrame:
    return MarketBarsTable(str(lake)).current(bar_size="1 day", final=True).collect()


def test_the_finished_daily_bars_are_the_history_mapped_scaled_and_rounded(demo: Demo) -> None:
    bars, known = daily_bars(demo.lake), history()
    days = sorted(set(bars["date"]))
    assert 240 <= len(days) <= 260
    assert bars.height == 3 * len(days)
    mapped = {day: historical_session(day) for day in days if day <= date(2026, 12, 31)}
    assert mapped or days[0] > date(2026, 12, 31)
    for row in bars.filter(pl.col("date").is_in(list(mapped))).iter_rows(named=True):
        spx, comp = known["SPX", mapped[row["date"]]], known["COMP", mapped[row["date"]]]
        for name in ("open", "high", "low", "close"):
            assert row[name] == to_tick(spx[name], comp[name], row["symbol"]), (row["symbol"], row["date"], name)
        source, divisor = VOLUMES[row["symbol"]]
        assert row["volume"] == (spx if source == "SPX" else comp)["volume"] // divisor, (row["symbol"], row["date"])


def test_five_minute_bars_cover_five_sessions(demo: Demo) -> None:
    bars = MarketBarsTable(str(demo.lake)).current(bar_size="5 mins").collect()
    for _, of_symbol in bars.group_by("symbol"):
        assert of_symbol["date"].n_unique() == 5
        assert of_symbol.height >= 4 * 42 + 21


# The notebooks


def last_values(notebook: Path) -> Iterator[Any]:
    """What each code cell shows: the value of the expression that it ends with."""
    names: dict[str, Any] = {}
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        lines = ast.parse("".join(cell["source"])).body if cell["cell_type"] == "code" else []
        shown = lines.pop() if lines and isinstance(lines[-1], ast.Expr) else None
        exec(compile(ast.Module(lines, []), notebook.name, "exec"), names)  # noqa: S102 - a notebook of ours
        if isinstance(shown, ast.Expr):
            yield eval(compile(ast.Expression(shown.value), notebook.name, "eval"), names)  # noqa: S307 - the same


@pytest.mark.parametrize(
    ("name", "pictures"),
    [
        ("first_steps", 2), ("chain_and_smile", 2), ("surface_over_time", 2), ("realised_against_implied", 1),
        ("coverage_and_quality", 1), ("futures_curve", 1),
    ],
)  # fmt: skip
def test_every_notebook_draws_what_the_demo_collected(
    undisturbed: Demo, name: str, pictures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("V6_LAKE", str(undisturbed.lake))
    drawn = [one for one in last_values(ROOT / f"notebooks/{name}.ipynb") if hasattr(one, "to_dict")]
    charts = [chart for chart in drawn if not isinstance(chart, pl.DataFrame)]
    assert len(charts) >= pictures
    assert all(rows for chart in charts for rows in chart.to_dict()["datasets"].values())


def test_what_was_derived_is_of_the_days_before_and_of_the_day_itself(undisturbed: Demo) -> None:
    derived = undisturbed.table("derived_statistics")
    day: Any = undisturbed.table("option_snapshots")["date"].max()
    realised = derived.filter(statistic="realised_volatility_yang_zhang", window_days=20)
    assert realised["date"].n_unique() == realised.height >= 58
    assert realised["value"].null_count() == 0
    assert all(realised["date"] < day)
    money = derived.filter(statistic="iv_at_the_money_by_expiry")
    assert money.select("date", "quality").rows() == [(day, "ok")]
    assert 0.03 < money["value"].item() < 1.5


# Once more


@pytest.fixture(scope="module")
def again(demo: Demo) -> tuple[Demo, dict[str, pl.DataFrame]]:
    """A second run into the same lake, four times as fast, and what the tables had before it."""
    before = {name: demo.table(name) for name in TABLES}
    return run_demo(demo.lake, demo.folder.with_name("second"), "--market-data-lines", "400"), before


def test_a_second_run_adds_a_new_cycle_and_doubles_nothing(again: tuple[Demo, dict[str, pl.DataFrame]]) -> None:
    second, before = again
    options = second.table("option_snapshots")
    assert options.select("cycle", "con_id").is_unique().all()
    assert second.figures["requests"] == {"SUCCESS": 17}
    assert options["cycle"].n_unique() == 2 * before["option_snapshots"]["cycle"].n_unique()
    assert options.height == before["option_snapshots"].height + second.figures["option_rows"]
    assert second.table("futures_snapshots").height == before["futures_snapshots"].height + 6
    new = second.table("option_snapshots").filter(pl.col("request_id").is_in(second.figures["request_ids"]))
    latest = OptionSnapshotsTable(str(second.lake)).latest_complete_chain("SPY").collect()
    assert set(latest["cycle"]) == set(new.filter(pl.col("symbol") == "SPY")["cycle"])


def test_a_second_run_writes_no_unchanged_bar_again(again: tuple[Demo, dict[str, pl.DataFrame]]) -> None:
    second, before = again
    bars = second.table("market_bars")
    key = ["con_id", "bar_size", "what_to_show", "regular_hours", "timestamp"]
    values = ["open", "high", "low", "close", "volume", "wap", "trade_count", "is_final"]
    assert bars.select(*key, *values).is_unique().all()
    assert bars.filter("is_final").select(key).is_unique().all()
    # Only what was unfinished may have changed: the day's bar and the five minutes that run, of three symbols.
    sessions = before["market_bars"]["date"].max()
    grown = bars.height - before["market_bars"].height
    assert grown <= 12 or bars["date"].max() != sessions


def test_on_another_day_the_same_dates_have_the_same_bars(demo: Demo, tmp_path: Path) -> None:
    newest: Any = daily_bars(demo.lake)["date"].max()
    earlier = datetime.combine(newest - timedelta(days=40), time(12), UTC)
    clock = earlier.isoformat()
    other = tmp_path / "lake"
    gateway = subprocess.Popen(
        [sys.executable, "-m", "v6", "gateway", "--json", "--port", "0", "--now", clock],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert gateway.stdout is not None
        address = json.loads(gateway.stdout.readline())
        settings = ["--lake", str(other), "--clock", address["clock"], "--gateway-port", str(address["port"])]
        for symbol in MIXES:
            parameters = json.dumps({"bar_size": "1 day", "duration": "6 M"})
            assert v6("submit", "market_bars", symbol, "--parameters", parameters, *settings).returncode == 0
        drained = v6("worker", "--drain", *settings)
        assert drained.returncode == 0, drained.stderr
    finally:
        gateway.terminate()
        gateway.communicate(timeout=SECONDS)
    names = ["symbol", "date", "open", "high", "low", "close", "volume", "wap", "trade_count"]
    there, here = daily_bars(other).select(names), daily_bars(demo.lake).select(names)
    both = there.filter(pl.col("date") >= here["date"].min())
    assert both.height >= 300
    assert both.join(here, on=names, how="anti", nulls_equal=True).is_empty()


# The page


class Outside(HTMLParser):
    """Collects the addresses that a page would load something from."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.charts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        wanted = {"src", "srcset", "data", "poster"} | ({"href"} if tag == "link" else set())
        self.loads += [value or "" for name, value in attrs if name in wanted]


def test_the_page_loads_nothing_from_outside(demo: Demo) -> None:
    text = Path(demo.figures["page"]).read_text(encoding="utf-8")
    page = Outside()
    page.feed(text)
    page.close()
    assert page.loads == []
    assert "@import" not in text
    for title in ("SPY: daily bars of a year", "Implied volatility by expiry", "Futures"):
        assert title in text
