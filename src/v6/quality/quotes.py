"""What options and futures are checked for alike: their quotes."""

from __future__ import annotations

import polars as pl

from v6.quality.check import found, number

MID = (pl.col("bid") + pl.col("ask")) / 2
STALE_RUN = 4  # snapshots in a row
MOVED = 0.001  # of the underlying, while nothing of the quote changed


def crossed(rows: pl.DataFrame) -> pl.DataFrame:
    """The bid is above the ask. ``value`` is bid less ask in currency."""
    wrong = rows.filter(pl.col("bid") > pl.col("ask"))
    detail = pl.format("bid {} above ask {}", number("bid"), number("ask"))
    return found(wrong, value=pl.col("bid") - pl.col("ask"), detail=detail)


def no_bid(rows: pl.DataFrame) -> pl.DataFrame:
    """There is an ask and no bid, or a bid of zero or less. ``value`` is the ask in currency."""
    nobody = pl.col("bid").is_null() | (pl.col("bid") <= 0)
    wrong = rows.filter(nobody & pl.col("ask").is_not_null())
    return found(wrong, value=pl.col("ask"), detail=pl.format("bid {}, ask {}", number("bid"), number("ask")))


def last_outside_range(rows: pl.DataFrame) -> pl.DataFrame:
    """The last price lies outside the session's low and high of the same row. ``value`` is the last price in
    currency."""
    wrong = rows.filter((pl.col("last") > pl.col("high")) | (pl.col("last") < pl.col("low")))
    detail = pl.format("last {} outside {} to {}", number("last"), number("low"), number("high"))
    return found(wrong, value=pl.col("last"), detail=detail)


def duplicate(rows: pl.DataFrame) -> pl.DataFrame:
    """A contract stands more than once in one cycle; the row that was known first is left alone. ``value`` is which."""
    nth = pl.col("known_at").rank("ordinal").over("cycle", "con_id")
    wrong = rows.with_columns(nth=nth).filter(pl.col("nth") > 1)
    return found(wrong, value=pl.col("nth"), detail=pl.format("row {} of cycle {}", "nth", "cycle"))


def stale(rows: pl.DataFrame) -> pl.DataFrame:
    """Bid, ask, their sizes, last and volume repeat in four or more snapshots in a row while the underlying moved
    by more than 0.1 %; of options only those with a delta beyond 0.05. ``value`` is the length of the run so
    far."""
    what = ("bid", "ask", "bid_size", "ask_size", "last", "volume")
    quoted = rows.filter(pl.col("bid").is_not_null(), pl.col("underlying_price").is_not_null())
    if "delta" in quoted.columns:
        quoted = quoted.filter(pl.col("delta").abs() > 0.05)
    ordered = quoted.sort("con_id", "timestamp")
    changes = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift().over("con_id")) for name in what)
    runs = ordered.with_columns(run=changes.fill_null(value=True).cum_sum().over("con_id"))
    first = pl.col("underlying_price").first().over("con_id", "run")
    length = pl.int_range(1, pl.len() + 1).over("con_id", "run")
    runs = runs.with_columns(length=length, moved=(pl.col("underlying_price") / first - 1).abs())
    wrong = runs.filter(pl.col("length") >= STALE_RUN, pl.col("moved") > MOVED)
    detail = pl.format("the same quote {} times while the underlying moved", "length")
    return found(wrong, value=pl.col("length"), detail=detail)
