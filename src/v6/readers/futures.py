"""Futures: quotes of single months, and a series over the months by a rule."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl

from v6.data.continuous_futures import ContinuousFutures, Roll, RollRule
from v6.data.futures_snapshots import FuturesSnapshotsTable
from v6.data.lake import Lake
from v6.readers.asked import checked
from v6.readers.where import lake_of

RULE = "volume/ratio"


@checked
def futures(symbol: str, *, as_of: datetime | None = None, lake: Lake | str | Path | None = None) -> pl.LazyFrame:
    """The last snapshot of each month of a future, nearest expiry first: the futures curve.

    Raises:
        LakeError: the lake is not there or cannot be read.
    """
    return FuturesSnapshotsTable(lake_of(lake)).latest(symbol, as_of=as_of)


@checked
def futures_history(
    symbol: str | None = None,
    *,
    con_id: int | None = None,
    front_month: bool | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    lake: Lake | str | Path | None = None,
) -> pl.LazyFrame:
    """Every snapshot that fits, for start <= timestamp < end (UTC), in time order.

    Raises:
        LakeError: the lake is not there or cannot be read.
    """
    return FuturesSnapshotsTable(lake_of(lake)).history(
        symbol=symbol, con_id=con_id, front_month=front_month, start=start, end=end
    )


@checked
def continuous_futures(
    symbol: str,
    rule: RollRule | str = RULE,
    *,
    bar_size: str = "1 day",
    start: datetime | None = None,
    end: datetime | None = None,
    as_of: datetime | None = None,
    lake: Lake | str | Path | None = None,
) -> pl.LazyFrame:
    """One series of bars over the single months by a rule such as ``volume/ratio`` (docs/futures.md).

    Raises:
        RequestError: the rule cannot be read, or a roll cannot be adjusted.
        LakeError: the lake is not there or cannot be read.
    """
    series = ContinuousFutures(lake_of(lake))
    return series.bars(symbol, _rule(rule), bar_size=bar_size, start=start, end=end, as_of=as_of)


@checked
def futures_rolls(
    symbol: str,
    rule: RollRule | str = RULE,
    *,
    bar_size: str = "1 day",
    as_of: datetime | None = None,
    lake: Lake | str | Path | None = None,
) -> list[Roll]:
    """Every roll of such a series, oldest first.

    Raises:
        RequestError: the rule cannot be read.
        LakeError: the lake is not there or cannot be read.
    """
    return ContinuousFutures(lake_of(lake)).rolls(symbol, _rule(rule), bar_size=bar_size, as_of=as_of)


def _rule(rule: RollRule | str) -> RollRule:
    return rule if isinstance(rule, RollRule) else RollRule.parse(rule)
