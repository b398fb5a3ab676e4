"""Whether collection goes on at its rate while a quarter is derived: contracts a second without and with, in one run.

    python -m bench.bench_derive_beside [--sessions 63] [--cycles 4] [--lines 100] [--days 7] [--rounds 2]

A lake gets a quarter of SPY, QQQ and IWM chains (options of up to 45 days; one day that the simulated market priced,
moved over the dates). A worker collects SPY's chain at the gateway's limit, first alone, then while it derives the
statistics of all of the quarter in its processes. Gateway, worker and this script are processes of their own. ``ratio``
is the rate with over the rate without; ``derived_days`` landed while it was measured, ``derivation_ended`` has to be
false. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from bench.bench_session import cycle, gateway, worker

from v6.app import App
from v6.data.derived_statistics import DerivedStatisticsTable
from v6.data.ib_request_queue import IBRequestQueue, NewRequest
from v6.data.lake import Lake
from v6.data.option_snapshots import OptionSnapshotsTable
from v6.settings import Settings
from v6.simulator.instruments import ContractQuery
from v6.simulator.market import Market

SYMBOLS = ("SPY", "QQQ", "IWM")
PRICED_AT = datetime(2026, 11, 20, 20, 45, tzinfo=UTC)
LONGEST_DAYS = 45
POLL_SECONDS = 0.5


def priced_day(symbol: str, *, with_expiry: date | None = None) -> pl.DataFrame:
    """One collection of a symbol's chain as the market shows it: the near expiries, and one more."""
    market = Market(0)
    rows = []
    for option in market.find(ContractQuery(symbol=symbol, sec_type="OPT"), PRICED_AT):
        if option.expiry is None:
            continue
        if (option.expiry - PRICED_AT.date()).days > LONGEST_DAYS and option.expiry != with_expiry:
            continue
        shown = market.snapshot(option, PRICED_AT)
        model = shown.model_greeks
        rows.append(
            {
                "timestamp": PRICED_AT, "symbol": symbol, "con_id": option.con_id, "expiry": option.expiry,
                "strike": option.strike, "right": option.right, "bid": shown.bid, "ask": shown.ask,
                "volume": float(shown.volume or 0), "open_interest": float(shown.open_interest or 0),
                "underlying_price": None if model is None else model.underlying, "multiplier": 100.0,
                "trading_class": symbol, "market_data_type_requested": "live", "date": PRICED_AT.date(),
            }
        )  # fmt: skip
    return pl.DataFrame(rows, infer_schema_length=None).with_columns(cycle_contracts=pl.lit(len(rows), pl.Int32))


def sessions(count: int) -> list[date]:
    """The weekdays before the priced one, oldest first."""
    days = (PRICED_AT.date() - timedelta(days=back) for back in range(1, 2 * count))
    return sorted([day for day in days if day.weekday() < 5][:count])


def moved(rows: pl.DataFrame, day: date, cycles: int) -> Iterator[pl.DataFrame]:
    """A day's collections: the priced one at another date."""
    shift = day - PRICED_AT.date()
    for number in range(cycles):
        earlier = shift - timedelta(minutes=5 * (cycles - 1 - number))
        yield rows.with_columns(
            pl.col("timestamp") + earlier,
            pl.col("expiry") + shift,
            date=pl.lit(day),
            cycle=pl.lit(f"{day} {number}"),
            request_id=pl.lit("bench"),
            known_at=pl.lit(PRICED_AT + earlier),
        )


def store_quarter(lake: Lake, days: list[date], cycles: int) -> int:
    """Write the quarter, a commit a day; the rows written."""
    priced = [priced_day(symbol) for symbol in SYMBOLS]
    table, count = OptionSnapshotsTable(lake), 0
    for day in days:
        rows = pl.concat([one for symbol in priced for one in moved(symbol, day, cycles)])
        table.append(rows)
        count += rows.height
    return count


async def rate(settings: Settings, days: int, rounds: int) -> float:
    """Contracts a second of whole cycles: the median."""
    figures = [await cycle(settings, ["SPY"], days, urgent=False) for _ in range(rounds)]
    assert all(one["succeeded"] for one in figures)
    return float(statistics.median(one["rows"] / one["seconds"] for one in figures))


async def begin_derivation(queue: IBRequestQueue, days: list[date]) -> list[str]:
    """Ask for the quarter of each symbol and wait until the first dates have landed."""
    span = {"start": f"{days[0]}T00:00:00Z", "end": f"{days[-1] + timedelta(days=1)}T00:00:00Z"}
    ids = await queue.insert_many(
        [NewRequest(request_type="derive_statistics", symbol=symbol, parameters=span) for symbol in SYMBOLS]
    )
    await _until_some_landed(queue.lake)
    return list(ids)


async def _until_some_landed(lake: Lake) -> None:
    while True:
        await asyncio.sleep(POLL_SECONDS)
        if await asyncio.to_thread(derived_days, lake):
            return


def derived_days(lake: Lake) -> int:
    """How many dates of a symbol have statistics."""
    return DerivedStatisticsTable(lake).scan().select("symbol", "date").unique().collect().height


async def run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The whole run."""
    days = sessions(options.sessions)
    figures: dict[str, Any] = {"rows": store_quarter(Lake(folder / "lake"), days, options.cycles)}
    log = folder / "worker.log"
    async with gateway(options.lines, folder / "lake", figures) as served, worker(served.settings, log):
        settings = served.settings
        await rate(settings, options.days, 1)  # cold: contracts are asked and kept
        figures["contracts_per_second_without"] = round(await rate(settings, options.days, options.rounds), 2)
        queue = App(settings.model_copy(update={"log_level": "error"})).queue(source="bench")
        ids = await begin_derivation(queue, days)
        before = derived_days(queue.lake)
        figures["contracts_per_second_with"] = round(await rate(settings, options.days, options.rounds), 2)
        figures["derived_days"] = derived_days(queue.lake) - before
        figures["derivation_ended"] = not any([(await queue.get(one)).status.is_open for one in ids])
        await queue.close()
    without, beside = figures["contracts_per_second_without"], figures["contracts_per_second_with"]
    return {**figures, "symbol_days": len(SYMBOLS) * len(days), "ratio": round(beside / without, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=63, help="trading dates of the quarter")
    parser.add_argument("--cycles", type=int, default=4, help="collections a date")
    parser.add_argument("--lines", type=int, default=100, help="market-data lines")
    parser.add_argument("--days", type=int, default=7, help="how far the collected chain reaches")
    parser.add_argument("--rounds", type=int, default=2, help="cycles that are measured without and with")
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(asyncio.run(run(Path(folder), parser.parse_args()))))


if __name__ == "__main__":
    main()
