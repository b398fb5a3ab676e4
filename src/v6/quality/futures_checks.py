"""Checks of futures_snapshots."""

from __future__ import annotations

import polars as pl

from v6.data.futures_snapshots import FUTURES_SNAPSHOTS
from v6.quality.check import Action, Check, found, number
from v6.quality.quotes import MID, crossed, duplicate, last_outside_range, no_bid
from v6.quality.quotes import stale as stale_beside_underlying

SPIKE_SHARE = 0.01


def spike(rows: pl.DataFrame) -> pl.DataFrame:
    """The mid lies more than 1 % outside those of the snapshots before and after it, of the same contract and day.
    ``value`` is the distance in currency. The first and the last snapshot are not judged."""
    mids = rows.with_columns(mid=MID).drop_nulls("mid").sort("con_id", "timestamp")
    beside = [pl.col("mid").shift(step).over("con_id") for step in (1, -1)]
    judged = mids.with_columns(before=beside[0], after=beside[1]).drop_nulls(["before", "after"])
    low, high = pl.min_horizontal("before", "after"), pl.max_horizontal("before", "after")
    away = pl.max_horizontal(pl.col("mid") - high, low - pl.col("mid"))
    wrong = judged.with_columns(away=away).filter(pl.col("away") > SPIKE_SHARE * pl.col("before").abs())
    detail = pl.format("mid {} between {} and {}", number("mid"), number("before"), number("after"))
    return found(wrong, value=pl.col("away"), detail=detail)


def stale(rows: pl.DataFrame) -> pl.DataFrame:
    """Bid, ask, their sizes, last and volume repeat in four or more snapshots in a row while the other months of the
    future moved by more than 0.1 %. ``value`` is the length of the run so far. Nothing is found of a month that was
    collected alone."""
    together, mid = ["symbol", "cycle"], MID.fill_nan(None)
    level = (mid / mid.drop_nulls().first()).over(
        "con_id", order_by="timestamp"
    )  # months that are lacking move nothing
    levels = rows.with_columns(level=level)
    others = (pl.col("level").sum() - pl.col("level")) / (pl.col("level").count() - 1)
    return stale_beside_underlying(levels.with_columns(underlying_price=others.over(together).fill_nan(None)))


FUTURES_CHECKS = tuple(
    Check(name=name, table=FUTURES_SNAPSHOTS.name, action=action, find=find)
    for name, action, find in (
        ("crossed", Action.QUARANTINE, crossed),
        ("spike", Action.QUARANTINE, spike),
        ("duplicate", Action.QUARANTINE, duplicate),
        ("no_bid", Action.FLAG, no_bid),
        ("stale", Action.FLAG, stale),
        ("last_outside_range", Action.FLAG, last_outside_range),
    )
)
