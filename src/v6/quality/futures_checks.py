"""Checks of futures_snapshots."""

from __future__ import annotations

import polars as pl

from v6.data.futures_snapshots import FUTURES_SNAPSHOTS
from v6.quality.check import Action, Check, found, number
from v6.quality.quotes import MID, crossed, duplicate, last_outside_range, no_bid, stale

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
