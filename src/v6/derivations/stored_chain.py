"""Reads a symbol's chain of a trading date from a lake: of every expiry its last collection that is whole."""

from __future__ import annotations

from datetime import date

import polars as pl

from v6.data.lake import Lake
from v6.data.option_snapshots import OPTION_SNAPSHOTS
from v6.derivations.chain import Chain

WHOLE_SHARE = 0.9  # of the contracts that the largest collection of the expiry has
COLUMNS = (
    *("timestamp", "con_id", "expiry", "strike", "right", "trading_class", "is_adjusted", "cycle", "known_at"),
    *("bid", "ask", "volume", "open_interest", "underlying_price", "multiplier"),
)


def stored_chain(lake: Lake, symbol: str, day: date) -> Chain | None:
    """The chain of a date; None where none was collected.

    Of each expiry, the rows of the cycle that began last of those that have at least nine in ten of the contracts of
    the date's largest cycle of that expiry; contracts that a corporate action changed are left out.

    Raises:
        LakeError: the table cannot be read.
    """
    return chain_of(lake.scan(OPTION_SNAPSHOTS), symbol, day)


def chain_of(rows: pl.LazyFrame, symbol: str, day: date) -> Chain | None:
    """As ``stored_chain``, from rows of the table."""
    rows = rows.filter(pl.col("date") == day, pl.col("symbol") == symbol)
    rows = rows.filter(pl.col("is_adjusted").fill_null(value=False).not_())
    chosen = _last_whole_cycles(rows).collect()
    if chosen.is_empty():
        return None
    cycles = chosen["cycle"].unique().to_list()
    wanted = rows.filter(pl.col("cycle").is_in(cycles)).select(COLUMNS).join(
        chosen.lazy(), on=["expiry", "cycle"], how="semi"
    )  # fmt: skip
    last = wanted.sort("timestamp", "known_at").unique("con_id", keep="last", maintain_order=True)
    return Chain.of(last.sort("expiry", "strike", "right", "con_id").collect(), day=day)


def _last_whole_cycles(rows: pl.LazyFrame) -> pl.LazyFrame:
    """expiry and cycle of the collections that count."""
    cycles = rows.group_by("expiry", "cycle").agg(contracts=pl.col("con_id").n_unique(), began=pl.col("known_at").min())
    whole = pl.col("contracts") >= WHOLE_SHARE * pl.col("contracts").max().over("expiry")
    newest = cycles.filter(whole).sort("began", "cycle").unique("expiry", keep="last", maintain_order=True)
    return newest.select("expiry", "cycle")
