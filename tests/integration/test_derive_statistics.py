"""Statistics through the queue on a real lake, computed in real processes, with a session that asks nobody."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.simulated_chains import chain_rows, stored

from v6.clock import Clock
from v6.core.derivation_processes import derivation_processes
from v6.core.lake_derivations import LakeDerivations
from v6.core.unified_queue_worker import UnifiedQueueWorker
from v6.data.derived_statistics import KEY, DerivedStatisticsTable
from v6.data.futures_snapshots import FuturesSnapshotsTable
from v6.data.ib_request import RequestStatus
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.lake import Lake
from v6.data.market_bars import MarketBarsTable
from v6.data.option_snapshots import OptionSnapshotsTable
from v6.data.vol_surfaces import VolSurfacesTable
from v6.derivations.derive import derive, derive_all
from v6.derivations.vol_surface import VolSurface
from v6.errors import DerivationLost
from v6.events import EventBus
from v6.request_types.base import Gateway
from v6.request_types.catalogue import Catalogue, check_request
from v6.simulator.history import HISTORY_FILE

PATIENCE = 240.0  # seconds until a test that waits for ever fails
RANGE = {"start": "2018-09-03T00:00:00Z", "end": "2018-10-01T00:00:00Z"}
CONTENT = [*KEY, "timestamp", "value", "n_observations", "quality"]


class AwayGateway:
    """A session that was opened once and admits nothing."""

    account = "SIM1"
    state = "disconnected"

    async def start(self) -> None:
        return None

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def stop(self) -> None:
        return None

    def gateway(self, priority: int, request_id: str) -> Gateway:
        return None  # type: ignore[return-value] # nothing is asked

    def admits(self, pacing: str, /) -> str | None:
        return "session disconnected: the gateway is away"

    def usage(self) -> Mapping[str, Any]:
        return {}


def store_history(lake: Lake) -> None:
    """SPX and VIX as daily bars, SPX as SPY too: the market of beta."""
    frame = pl.read_parquet(HISTORY_FILE).filter(pl.col("date") >= date(2016, 6, 1))
    spx, vix = (frame.filter(pl.col("symbol") == symbol) for symbol in ("SPX", "VIX"))
    vix = vix.with_columns(pl.col(name).fill_null(pl.col("close")) for name in ("open", "high", "low"))
    rows = pl.concat([spx, vix, spx.with_columns(symbol=pl.lit("SPY"))])
    con_ids = {"SPX": 1, "VIX": 2, "SPY": 3}
    MarketBarsTable(lake).append(
        rows.with_columns(
            pl.col("volume").cast(pl.Float64),
            timestamp=pl.col("date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            con_id=pl.col("symbol").replace_strict(con_ids, return_dtype=pl.Int64),
            sec_type=pl.when(pl.col("symbol") == "SPY").then(pl.lit("STK")).otherwise(pl.lit("IND")),
            bar_size=pl.lit("1 day"),
            what_to_show=pl.lit("TRADES"),
            regular_hours=pl.lit(value=True),
            is_final=pl.lit(value=True),
            request_id=pl.lit("history"),
            known_at=pl.lit(datetime(2026, 1, 1, tzinfo=UTC)),
        )
    )


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    found = Lake(tmp_path / "lake")
    store_history(found)
    return found


def open_queue(lake: Lake, name: str) -> IBRequestQueue:
    return IBRequestQueue(lake, clock=Clock(), worker_id=name, check=check_request)


def worker(lake: Lake, name: str = "worker", **more: Any) -> UnifiedQueueWorker:
    return UnifiedQueueWorker(
        queue=open_queue(lake, name),
        connection=AwayGateway(),
        catalogue=Catalogue.load(),
        lake=lake,
        clock=Clock(),
        worker_name=name,
        poll_seconds=0.02,
        **{"events": EventBus(), "derivation_executor": lambda: ThreadPoolExecutor(1), **more},
    )


@asynccontextmanager
async def running(*workers: UnifiedQueueWorker) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(one.run()) for one in workers]
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    finally:
        for one in workers:
            one.stop()
        await asyncio.gather(*tasks)


async def finished(queue: IBRequestQueue, *request_ids: str) -> None:
    for request_id in request_ids:
        while (request := await queue.get(request_id)).status.is_open:
            await Clock().sleep(0.05)
        assert request.status is RequestStatus.SUCCESS, request.error_message


async def ask(queue: IBRequestQueue, symbol: str, **parameters: Any) -> str:
    return await queue.insert(
        request_type="derive_statistics", symbol=symbol, parameters=parameters, result_table="derived_statistics"
    )


def content(lake: Lake) -> pl.DataFrame:
    return DerivedStatisticsTable(lake).current().select(CONTENT).collect()


async def test_a_range_is_derived_while_the_gateway_is_away_in_processes_of_low_priority(lake: Lake) -> None:
    executors: list[ProcessPoolExecutor] = []

    def make() -> Executor:
        executor = derivation_processes(1)
        assert isinstance(executor, ProcessPoolExecutor)
        executors.append(executor)
        return executor

    queue = open_queue(lake, "")
    request_id = await ask(queue, "SPX", **RANGE)
    async with running(worker(lake, derivation_executor=make)):
        await finished(queue, request_id)
        (pid,) = executors[0]._processes
        assert os.getpriority(os.PRIO_PROCESS, pid) == 19
    rows = DerivedStatisticsTable(lake).current(symbol="SPX").collect()
    assert rows["date"].n_unique() == 19
    assert rows["request_id"].unique().to_list() == [request_id]
    volatility = rows.filter(statistic="realised_volatility_yang_zhang", window_days=252)
    assert (volatility["value"].null_count(), volatility["quality"].unique().to_list()) == (0, ["ok"])
    assert (await queue.get(request_id)).result_data["days"] == 19
    await queue.close()


async def test_a_day_derived_twice_has_one_current_value_a_key_and_its_past(lake: Lake) -> None:
    queue = open_queue(lake, "")
    async with running(worker(lake)):
        await finished(queue, await ask(queue, "SPX", **RANGE))
        table = DerivedStatisticsTable(lake)
        before, first = Clock().machine_now(), content(lake)
        revised = MarketBarsTable(lake).current(symbol="SPX").filter(date=date(2018, 9, 20)).collect()
        MarketBarsTable(lake).append(revised.with_columns(pl.col("high") * 1.1, known_at=pl.lit(before)))
        await finished(queue, await ask(queue, "SPX", **RANGE))
    second = content(lake)
    assert second.unique(KEY).height == second.height == first.height
    assert table.scan().select(pl.len()).collect().item() == 2 * first.height
    changed = second.join(first, on=[*KEY, "value"], how="anti", nulls_equal=True)
    assert changed["date"].min() == date(2018, 9, 20)
    assert table.current(as_of=before).select(CONTENT).collect().equals(first)
    await queue.close()


async def test_two_workers_at_once_leave_one_current_value_a_key(lake: Lake) -> None:
    queue = open_queue(lake, "")
    ids = [await ask(queue, "SPX", **RANGE) for _ in range(4)]
    async with running(worker(lake, "one"), worker(lake, "two")):
        await finished(queue, *ids)
    rows = content(lake)
    assert rows.unique(KEY).height == rows.height
    alone = derive(lake, "SPX", rows["date"].unique().to_list()).statistics
    assert rows.sort(KEY).equals(alone.select(CONTENT).sort(KEY))
    await queue.close()


async def test_an_executor_is_passed_in_and_any_gives_the_same_values(lake: Lake) -> None:
    days = [date(2018, 9, 20), date(2018, 9, 21)]
    with ThreadPoolExecutor(2) as threads, derivation_processes(1) as processes:
        wanted = [("SPX", days[:1]), ("SPX", days[1:]), ("VIX", days)]
        by_threads = list(derive_all(lake, wanted, threads))
        by_processes = list(derive_all(lake, wanted, processes))
    assert [symbol for symbol, _ in by_threads] == ["SPX", "SPX", "VIX"]
    for (_, one), (_, other) in zip(by_threads, by_processes, strict=True):
        assert one.statistics.height > 0
        assert one.statistics.equals(other.statistics)


async def test_without_a_range_the_newest_date_is_derived_and_none_where_there_is_no_data(lake: Lake) -> None:
    queue = open_queue(lake, "")
    async with running(worker(lake)):
        await finished(queue, await ask(queue, "VIX"), nothing := await ask(queue, "TSLA"))
    assert content(lake).select("symbol", "date").unique().rows() == [("VIX", date(2019, 1, 3))]
    assert (await queue.get(nothing)).result_data["rows"] == 0
    await queue.close()


async def test_a_process_that_dies_costs_its_work_and_not_the_next(lake: Lake) -> None:
    executors: list[ProcessPoolExecutor] = []

    def make() -> Executor:
        executors.append(ProcessPoolExecutor(1, mp_context=None if os.name == "nt" else spawn()))
        return executors[-1]

    derivations = LakeDerivations(lake, make)
    await derivations.days("SPX", None, None)
    (pid,) = executors[0]._processes
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(DerivationLost, match="died"):
        await until_raised(derivations)
    assert await derivations.days("SPX", None, None) == [date(2018, 12, 31)]
    derivations.close()


def spawn() -> Any:
    import multiprocessing

    return multiprocessing.get_context("spawn")


async def until_raised(derivations: LakeDerivations) -> None:
    """Ask until the executor has noticed that its process is gone."""
    async with asyncio.timeout(PATIENCE):
        while True:
            await derivations.days("SPX", None, None)


async def test_a_wide_frame_has_a_column_a_statistic(lake: Lake) -> None:
    days = [date(2018, 9, 20), date(2018, 9, 21)]
    store = DerivedStatisticsTable(lake)
    stamp: Callable[[pl.DataFrame], pl.DataFrame] = lambda frame: frame.with_columns(  # noqa: E731 - used twice
        request_id=pl.lit("r"), known_at=pl.lit(Clock().machine_now())
    )
    store.append(stamp(derive(lake, "SPX", days).statistics))
    wide = store.wide(symbol="SPX").collect()
    assert wide.select("symbol", "date").rows() == [("SPX", day) for day in days]
    long = store.current(symbol="SPX", statistic="drawdown").filter(window_days=252).collect()
    assert wide["drawdown_252s"].to_list() == long["value"].to_list()
    only = store.wide(symbol="SPX", statistics=["beta"], start=days[1], end=days[1] + timedelta(days=1)).collect()
    assert only.columns == ["symbol", "date", "beta_252s", "beta_60s"]
    assert only.height == 1
    assert DerivedStatisticsTable(Lake(Path(lake.url) / "empty")).wide().collect().is_empty()


# Chains and futures


CHAIN_DAYS = [date(2026, 11, 18), date(2026, 11, 19), date(2026, 11, 20), date(2026, 11, 23)]


@pytest.fixture(scope="module")
def chains() -> list[pl.DataFrame]:
    """Two collections a day: one of the morning, and of the afternoon's second a third only."""
    found = []
    for day in CHAIN_DAYS:
        morning, afternoon = (datetime.combine(day, time(hour, 30), UTC) for hour in (15, 20))
        whole = chain_rows("SPY", afternoon, dte=range(20, 39), cycle=f"{day} afternoon")
        early = whole.with_columns(
            pl.lit(morning).alias("timestamp"), pl.col("bid") + 1, cycle=pl.lit(f"{day} morning")
        )
        part = whole.filter(pl.col("strike") < pl.col("underlying_price") * 0.95)
        broken_off = part.with_columns(pl.col("ask") * 2, cycle=pl.lit(f"{day} broken off"))
        found.append(stored(early, morning))
        found += [stored(whole, afternoon), stored(broken_off, afternoon + timedelta(minutes=1))]
    return found


@pytest.fixture
def chain_lake(tmp_path: Path, chains: list[pl.DataFrame]) -> Lake:
    found = Lake(tmp_path / "lake")
    table = OptionSnapshotsTable(found)
    for rows in chains:
        table.append(rows.drop("model_price").with_columns(model_price=pl.lit(None, pl.Float64)))
    return found


async def test_a_days_chain_is_its_last_whole_collection_and_its_surface_is_stored(chain_lake: Lake) -> None:
    queue = open_queue(chain_lake, "")
    request_id = await ask(queue, "SPY", start="2026-11-18T00:00:00Z", end="2026-11-24T00:00:00Z")
    async with running(worker(chain_lake)):
        await finished(queue, request_id)
    rows = DerivedStatisticsTable(chain_lake).current(symbol="SPY").collect()
    assert rows["date"].unique().sort().to_list() == CHAIN_DAYS
    month = rows.filter(statistic="iv_constant_maturity", tenor_days=30)
    assert month["value"].null_count() == 0
    assert {at.hour for at in rows["timestamp"]} == {20}
    assert rows.filter(statistic="gamma_exposure_by_strike")["strike"].n_unique() > 50
    null = rows.filter(pl.col("value").is_null())
    assert null.filter(pl.col("quality") == "ok").is_empty()
    reasons = set(rows.filter(statistic="iv_rank")["quality"])
    assert reasons == {f"{count} of 252 sessions have a volatility" for count in (1, 2, 3, 4)}
    surface = VolSurface.read(chain_lake, "SPY")
    assert surface is not None
    assert surface.day == CHAIN_DAYS[-1]
    assert len(surface.slices) == VolSurfacesTable(chain_lake).current(start=CHAIN_DAYS[-1]).collect().height
    await queue.close()


def test_dates_derived_in_any_order_and_in_any_pieces_give_the_same_values(chain_lake: Lake) -> None:
    whole = derive(chain_lake, "SPY", CHAIN_DAYS)
    backwards = [derive(chain_lake, "SPY", [day]) for day in reversed(CHAIN_DAYS)]
    pieces = pl.concat([one.statistics for one in backwards])
    order = ["date", "statistic", "tenor_days", "window_days", "strike"]
    assert pieces.sort(order).equals(whole.statistics.sort(order))
    DerivedStatisticsTable(chain_lake).append(
        whole.statistics.with_columns(request_id=pl.lit("r"), known_at=pl.lit(Clock().machine_now()))
    )
    again = derive(chain_lake, "SPY", CHAIN_DAYS[-1:]).statistics  # its year is now read where it is stored
    assert again.sort(order).equals(backwards[0].statistics.sort(order))


def test_a_year_is_read_once_from_its_files_and_not_at_all_where_it_is_stored(chain_lake: Lake, tmp_path: Path) -> None:
    order = ["statistic", "tenor_days", "window_days", "strike"]
    before, last = CHAIN_DAYS[:-1], CHAIN_DAYS[-1:]
    expected = derive(chain_lake, "SPY", last).statistics.sort(order)
    stored_lake = Lake(shutil.copytree(chain_lake.url, tmp_path / "stored"))
    DerivedStatisticsTable(stored_lake).append(
        derive(chain_lake, "SPY", before).statistics.with_columns(
            request_id=pl.lit("r"), known_at=pl.lit(Clock().machine_now())
        )
    )
    for lake in (chain_lake, stored_lake):
        for day in before:
            files = list((Path(lake.url) / "option_snapshots").glob(f"date={day}/*.parquet"))
            assert files
            for file in files:
                file.write_bytes(bytes(file.stat().st_size))  # cannot be read any more
        assert derive(lake, "SPY", last).statistics.sort(order).equals(expected)


async def test_killed_half_way_and_run_again_gives_the_values_of_an_unbroken_run(
    chain_lake: Lake, tmp_path: Path
) -> None:
    whole = derive(chain_lake, "SPY", CHAIN_DAYS).statistics.select(CONTENT).sort(KEY)
    script = tmp_path / "killed.py"
    script.write_text(KILLED, encoding="utf-8")
    queue = open_queue(chain_lake, "")
    request_id = await ask(queue, "SPY", start="2026-11-18T00:00:00Z", end="2026-11-24T00:00:00Z")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    for kill_after in ("derive_statistics.planned", "derive_statistics.landed"):
        done = await asyncio.create_subprocess_exec(
            sys.executable, str(script), chain_lake.url, kill_after, env=environment
        )
        assert await done.wait() == -signal.SIGKILL
    async with running(worker(chain_lake)):
        await finished(queue, request_id)
    assert content(chain_lake).sort(KEY).equals(whole)
    table = DerivedStatisticsTable(chain_lake)
    assert table.scan().select(pl.len()).collect().item() == whole.height  # nothing was derived twice
    await queue.close()


# A worker that kills itself: when its first part is about to be derived, and when it has landed.
KILLED = """
import asyncio, os, signal, sys
from concurrent.futures import ThreadPoolExecutor
from v6.core.worker_events import ResultsAppended
from v6.data.lake import Lake
from v6.events import EventBus
from v6.request_types import derive_statistics
from tests.integration.test_derive_statistics import worker

derive_statistics.PART_DAYS = 2
lake, where = Lake(sys.argv[1]), sys.argv[2]

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

class Dying(ThreadPoolExecutor):
    def submit(self, work, *arguments, **more):
        if where.endswith("planned") and work.__name__ == "derive":
            die()
        return super().submit(work, *arguments, **more)

events = EventBus()
if where.endswith("landed"):
    events.subscribe(ResultsAppended, lambda event: die() if event.table == "derived_statistics" else None)
asyncio.run(worker(lake, derivation_executor=lambda: Dying(1), events=events).run())
"""


def test_futures_are_compared_with_the_index_that_they_follow(lake: Lake) -> None:
    day = date(2018, 9, 20)
    at = datetime(2018, 9, 20, 19, 59, tzinfo=UTC)
    row = {
        "timestamp": at, "symbol": "ES", "con_id": 5, "expiry": date(2018, 12, 21), "date": day, "bid": 2931.0,
        "ask": 2931.5, "is_front_month": True, "change_1h": 0.001, "cycle": "c", "market_data_type_requested": "live",
        "request_id": "r", "known_at": at,
    }  # fmt: skip
    FuturesSnapshotsTable(lake).append(pl.DataFrame([row]))
    rows = derive(lake, "ES", [day]).statistics
    index = MarketBarsTable(lake).current(symbol="SPX").filter(date=day).collect()["close"].item()
    basis = rows.filter(statistic="futures_basis_by_expiry").row(0, named=True)
    assert basis["value"] == pytest.approx(2931.25 - index)
    assert rows.filter(statistic="futures_change_1h")["value"].to_list() == [0.001]


def test_ranks_of_a_volatility_index_are_those_of_its_closes(lake: Lake) -> None:
    rows = derive(lake, "VIX", [date(2017, 11, 3), date(2018, 2, 5)]).statistics.filter(statistic="iv_rank")
    assert rows.select("date", "value", "quality").rows() == [
        (date(2017, 11, 3), 0.0, "ok"),
        (date(2018, 2, 5), 100.0, "ok"),
    ]
