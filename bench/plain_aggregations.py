"""Plain aggregations over all rows of ``option_snapshots``: in polars on our table, and the same in DuckDB."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import duckdb
import polars as pl

from v6.data.lake import Lake
from v6.data.option_snapshots import OPTION_SNAPSHOTS, OptionSnapshotsTable


@dataclass(frozen=True, kw_only=True, slots=True)
class Aggregation:
    """One question in both languages; both answers have the same columns, sorted by the first ``keys`` of them."""

    name: str
    keys: int
    ours: Callable[[pl.LazyFrame], pl.LazyFrame]
    sql: str


def cycles(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Each collection: contracts planned, rows there, and those that lack something."""
    return rows.group_by("symbol", "cycle").agg(
        first=pl.col("timestamp").min(),
        last=pl.col("timestamp").max(),
        planned=pl.col("cycle_contracts").max(),
        there=pl.len(),
        lacking=pl.col("missing").count(),
    )


def put_call(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Volume and open interest of puts and calls by date and symbol."""
    sums = rows.group_by("date", "symbol", "right").agg(pl.col("volume", "open_interest").sum())
    is_put = pl.col("right") == "P"
    return sums.group_by("date", "symbol").agg(
        put_volume=pl.col("volume").filter(is_put).sum(),
        call_volume=pl.col("volume").filter(~is_put).sum(),
        put_interest=pl.col("open_interest").filter(is_put).sum(),
        call_interest=pl.col("open_interest").filter(~is_put).sum(),
    )


def spreads(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Two-sided quotes by date, symbol and expiry: how many, their mean spread, and the crossed ones."""
    bid, ask = pl.col("bid"), pl.col("ask")
    is_two_sided = (bid > 0) & (ask >= bid)
    return rows.group_by("date", "symbol", "expiry").agg(
        quotes=is_two_sided.sum(),
        spread=pl.when(is_two_sided).then(ask - bid).mean(),
        crossed=(bid > ask).sum(),
    )


def days_of_contracts(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Each contract's day: snapshots, highest and lowest mid, greatest volume, mean volatility."""
    mid = (pl.col("bid") + pl.col("ask")) / 2
    return rows.group_by("date", "con_id").agg(
        snapshots=pl.len(), high=mid.max(), low=mid.min(), volume=pl.col("volume").max(), iv=pl.col("iv").mean()
    )


AGGREGATIONS = (
    Aggregation(
        name="cycles",
        keys=2,
        ours=cycles,
        sql="SELECT symbol, cycle, min(timestamp) AS first, max(timestamp) AS last, max(cycle_contracts) AS planned,"
        " count(*) AS there, count(missing) AS lacking FROM rows GROUP BY ALL",
    ),
    Aggregation(
        name="put_call",
        keys=2,
        ours=put_call,
        sql="SELECT date, symbol, sum(volume) FILTER (\"right\" = 'P') AS put_volume,"
        " sum(volume) FILTER (\"right\" <> 'P') AS call_volume,"
        " sum(open_interest) FILTER (\"right\" = 'P') AS put_interest,"
        " sum(open_interest) FILTER (\"right\" <> 'P') AS call_interest FROM rows GROUP BY ALL",
    ),
    Aggregation(
        name="spreads",
        keys=3,
        ours=spreads,
        sql="SELECT date, symbol, expiry, count(*) FILTER (bid > 0 AND ask >= bid) AS quotes,"
        " avg(ask - bid) FILTER (bid > 0 AND ask >= bid) AS spread, count(*) FILTER (bid > ask) AS crossed"
        " FROM rows GROUP BY ALL",
    ),
    Aggregation(
        name="days_of_contracts",
        keys=2,
        ours=days_of_contracts,
        sql="SELECT date, con_id, count(*) AS snapshots, max((bid + ask) / 2) AS high, min((bid + ask) / 2) AS low,"
        " max(volume) AS volume, avg(iv) AS iv FROM rows GROUP BY ALL",
    ),
)


def by_us(lake: Lake, asked: Aggregation) -> pl.DataFrame:
    """The answer from our table, opened anew."""
    return asked.ours(OptionSnapshotsTable(lake).scan()).collect()


def by_duckdb(lake: Lake, asked: Aggregation) -> pl.DataFrame:
    """The answer from the same files; DuckDB uses all cores."""
    files = lake.open(OPTION_SNAPSHOTS.name).file_uris()
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        database.read_parquet(files, hive_partitioning=True).create_view("rows")
        answer: pl.DataFrame = database.sql(asked.sql).pl()
        return answer


def check_same(asked: Aggregation, ours: pl.DataFrame, theirs: pl.DataFrame) -> None:
    """Raises AssertionError where the answers differ by more than the order of sums does."""
    keys = ours.columns[: asked.keys]
    both = [answer.select(ours.columns).sort(keys) for answer in (ours, theirs)]
    for name in ours.columns:
        one, other = (frame[name] for frame in both)
        if one.dtype.is_float():
            same = ((one - other).abs() <= 1e-9 * (1 + one.abs())) | (one.is_null() & other.is_null())
            assert same.fill_null(value=False).all(), f"{asked.name}: {name} differs"
        else:
            assert one.equals(other.cast(one.dtype)), f"{asked.name}: {name} differs"
