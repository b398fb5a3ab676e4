"""A year of option rows as the lake keeps it: what the simulated market priced, moved over the trading dates.

A file a trading date, sorted and in groups of rows as maintenance leaves them. The near expiries move along with the
date; the farthest one stands still, so that its contracts live the whole year. Quotes are the market's, a cent to and
fro; what else a row has is noise, so that files are as large as real ones.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from bench.bench_derive_beside import PRICED_AT, SYMBOLS, priced_day

from v6.data import delta
from v6.data.lake import Lake
from v6.data.option_snapshots import OPTION_SNAPSHOTS
from v6.maintenance.rewrite import STATISTICS_COLUMNS, statistics, write_sorted

STANDING_EXPIRY = PRICED_AT.date() + timedelta(days=364)
CYCLE_MINUTES = 3
NOISE = ("iv", "delta", "gamma", "theta", "vega", "model_price", "bid_size", "ask_size", "last_size")
INSTANTS = ("timestamp", "bid_at", "ask_at", "last_at", "known_at")
WRITERS = 2


def year_template(rows_a_day: int) -> pl.DataFrame:
    """About so many rows of the priced date, as the table orders them."""
    chains = pl.concat([priced_day(symbol, with_expiry=STANDING_EXPIRY) for symbol in SYMBOLS])
    cycles = max(1, round(rows_a_day / chains.height))
    rows = pl.concat([_cycle(chains, cycles - 1 - number) for number in range(cycles)])
    return OPTION_SNAPSHOTS.conform(_with_noise(rows))


def _cycle(chains: pl.DataFrame, before_last: int) -> pl.DataFrame:
    """A collection so many before the last one of the day, 40 ms a contract."""
    began = PRICED_AT - timedelta(minutes=CYCLE_MINUTES * (before_last + 1))
    at = pl.lit(began) + pl.duration(milliseconds=40 * pl.int_range(pl.len()).over("symbol"))
    text = f"{began:%H%M}"
    return chains.with_columns(
        timestamp=at, bid_at=at, ask_at=at, last_at=at,
        cycle=pl.col("symbol") + f" {text}", request_id=pl.col("symbol") + f"-{text}",
        known_at=pl.lit(began + timedelta(minutes=1)),
    )  # fmt: skip


def _with_noise(rows: pl.DataFrame) -> pl.DataFrame:
    random, count = np.random.default_rng(0), rows.height
    noise = {name: random.normal(0, 1, count) for name in NOISE[:6]}
    sizes = {name: random.integers(1, 900, count).astype(float) for name in NOISE[6:]}
    cents = [pl.Series(random.integers(0, 2, count) / 100) for _ in range(2)]
    return rows.with_columns(
        bid=pl.col("bid") - pl.when(pl.col("bid") > 1).then(cents[0]).otherwise(0.0),
        ask=pl.col("ask") + pl.when(pl.col("bid") > 1).then(cents[1]).otherwise(0.0),
        last=pl.col("bid"),
        volume=pl.col("volume") + pl.int_range(pl.len()).over("symbol", "con_id"),
        **{name: pl.Series(values) for name, values in {**noise, **sizes}.items()},
        greeks_source=pl.lit("model"), exchange=pl.lit("SMART"), currency=pl.lit("USD"),
        market_data_type=pl.lit("live"),
    )  # fmt: skip


def at_date(template: pl.DataFrame, day: date) -> pl.DataFrame:
    """The rows of a trading date; their order stays the table's."""
    shift = day - PRICED_AT.date()
    cut = (abs(shift.days) * 7919) % template.height
    moves = pl.col("expiry") != STANDING_EXPIRY
    moved = template.with_columns(
        *(pl.col(name) + shift for name in INSTANTS),
        *(pl.concat([template[name][cut:], template[name][:cut]]).alias(name) for name in NOISE),
        *(pl.concat_str(pl.lit(f"{day} "), name).alias(name) for name in ("cycle", "request_id")),
        expiry=pl.when(moves).then(pl.col("expiry") + shift).otherwise("expiry"),
        date=pl.lit(day),
    )
    return moved.with_columns(con_id=contract_id())


def contract_id() -> pl.Expr:
    """A number for symbol, expiry, strike and right: the same contract has it on every date."""
    symbol = pl.col("symbol").replace_strict(
        {name: number + 1 for number, name in enumerate(SYMBOLS)}, return_dtype=pl.Int64
    )
    strike = (pl.col("strike") * 100).round().cast(pl.Int64) * 2 + (pl.col("right") == "C").cast(pl.Int64)
    return symbol * 10**13 + pl.col("expiry").to_physical().cast(pl.Int64) * 10**8 + strike


def store_year(lake: Lake, days: Sequence[date], rows_a_day: int) -> int:
    """Write the dates, a file each; the rows written."""
    template = year_template(rows_a_day)
    table = lake.ensure(OPTION_SNAPSHOTS)
    with ThreadPoolExecutor(WRITERS) as writers:
        added = list(writers.map(lambda day: _written(lake, at_date(template, day), day), days))
    delta.replace_files(table, [], added, deleted_ms=0, reason="made by a benchmark")
    delta.checkpoint(lake.open(OPTION_SNAPSHOTS.name))
    return template.height * len(days)


def _written(lake: Lake, rows: pl.DataFrame, day: date) -> tuple[delta.DataFile, str]:
    """A date's file on the disk, written as maintenance does, and what the log says of it."""
    path = f"date={day}/part-00000-{uuid.uuid4()}-c000.zstd.parquet"
    target = Path(lake.uri(OPTION_SNAPSHOTS.name)) / path
    target.parent.mkdir(exist_ok=True)
    stored = rows.drop("date")
    with target.open("wb") as sink:
        write_sorted(stored, sink)
    file = delta.DataFile(
        path=path, size_bytes=target.stat().st_size, rows=stored.height, modified_ms=0,
        partition=(("date", str(day)),),
    )  # fmt: skip
    return file, statistics(stored, OPTION_SNAPSHOTS.configuration[STATISTICS_COLUMNS].split(","))
