"""Option chains and contracts."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import polars as pl

from v6.data.contracts import ContractsTable
from v6.data.lake import Lake
from v6.data.option_snapshots import OptionSnapshotsTable
from v6.data.table import equals
from v6.readers.asked import checked, one_of
from v6.readers.quality import without_quarantined
from v6.readers.where import lake_of


@checked
def option_chain(
    symbol: str,
    *,
    expiry: date | None = None,
    complete: bool = False,
    clean: bool = False,
    as_of: datetime | None = None,
    lake: Lake | str | Path | None = None,
) -> pl.LazyFrame:
    """The last chain of a symbol: one row a contract, by expiry, strike and right.

    ``complete`` takes the last cycle of which every planned contract arrived and at most 1 % lack something,
    instead of the one that began last. ``clean`` leaves out what a quality report has quarantined. ``as_of``
    (machine time) is what was known at that moment. Columns are those of option_snapshots (docs/lake.md); no rows
    where nothing was collected.

    Raises:
        LakeError: the lake is not there or cannot be read.
    """
    table = OptionSnapshotsTable(lake_of(lake))
    if complete:
        chain = table.latest_complete_chain(symbol, as_of=as_of).filter(*equals(expiry=expiry))
    else:
        chain = table.latest_chain(symbol, expiry=expiry, as_of=as_of)
    return without_quarantined(chain, table) if clean else chain


@checked
def option_history(
    symbol: str | None = None,
    *,
    con_id: int | None = None,
    expiry: date | None = None,
    strike: float | None = None,
    right: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    clean: bool = False,
    lake: Lake | str | Path | None = None,
) -> pl.LazyFrame:
    """Every snapshot of one contract, or of all that fit, for start <= timestamp < end (UTC), in time order.

    ``right`` is C or P; ``clean`` leaves out what a quality report has quarantined.

    Raises:
        UsageError: there is no such right.
        LakeError: the lake is not there or cannot be read.
    """
    one_of(("C", "P"), "right", right)
    table = OptionSnapshotsTable(lake_of(lake))
    rows = table.history(symbol=symbol, con_id=con_id, expiry=expiry, strike=strike, right=right, start=start, end=end)
    return without_quarantined(rows, table) if clean else rows


@checked
def option_cycles(
    symbol: str | None = None, *, start: datetime | None = None, lake: Lake | str | Path | None = None
) -> pl.LazyFrame:
    """One row a collection cycle, newest first: contracts planned, there (``contracts``), lacking something, and the
    ``seconds`` between its first and last quote.

    Raises:
        LakeError: the lake is not there or cannot be read.
    """
    return OptionSnapshotsTable(lake_of(lake)).cycles(symbol, start=start)


@checked
def contracts(
    symbol: str | None = None,
    *,
    con_id: int | None = None,
    sec_type: str | None = None,
    expiry: date | None = None,
    as_of: datetime | None = None,
    lake: Lake | str | Path | None = None,
) -> pl.LazyFrame:
    """Every contract that was ever listed to us, with ``first_seen`` and ``last_seen`` (trading dates): those that
    expired or were delisted too.

    Raises:
        LakeError: the lake is not there or cannot be read.
    """
    return ContractsTable(lake_of(lake)).known(
        symbol=symbol, con_id=con_id, sec_type=sec_type, expiry=expiry, as_of=as_of
    )
