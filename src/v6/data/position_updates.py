"""``position_updates``: what the account held, one row a holding and update."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

import polars as pl

from v6.data import columns
from v6.data.columns import number
from v6.data.table import Table, equals, known_by
from v6.data.table_spec import Column, TableSpec

POSITION_UPDATES = TableSpec(
    name="position_updates",
    description="Holdings of the account, one row a contract and update. An update that finds nothing leaves no row.",
    columns=(
        Column(
            name="timestamp",
            dtype=columns.TIMESTAMP.dtype,
            description="when the gateway had reported all positions (clock time)",
            unit="UTC",
        ),
        Column(name="account", dtype=pl.String, description="the account that holds the position"),
        columns.SYMBOL,
        columns.CON_ID,
        Column(name="sec_type", dtype=pl.String, description="IB's security type: STK, OPT, FUT, …"),
        Column(
            name="expiry",
            dtype=pl.Date,
            description="last trading day of the contract",
            null_means="it does not expire",
        ),
        number("strike", "strike price", "currency", "it is no option"),
        Column(name="right", dtype=pl.String, description="C for a call, P for a put", null_means="it is no option"),
        Column(name="quantity", dtype=pl.Float64, description="units held, negative when short", unit="units"),
        Column(
            name="average_cost",
            dtype=pl.Float64,
            description="average cost of one unit times the multiplier, as IB reports it",
            unit="currency",
        ),
        number("multiplier", "units of the underlying in one contract", "1", "the gateway gave none"),
        *columns.CONTRACT_TEXTS,
        Column(
            name="scope",
            dtype=pl.String,
            description="the one symbol that the update asked for",
            null_means="it asked for all positions",
        ),
        *columns.PROVENANCE,
        columns.DATE,
    ),
    partition_by=("date",),
    sort_by=("account", "symbol", "con_id"),
    key=("request_id", "account", "con_id"),
)


class PositionUpdatesTable(Table):
    """Holdings as reported."""

    spec: ClassVar[TableSpec] = POSITION_UPDATES

    def latest(self, *, as_of: datetime | None = None) -> pl.LazyFrame:
        """What is held: the last update of all positions, where a later update of one symbol replaces that symbol."""
        rows = self.scan().filter(*known_by(as_of))
        updates = rows.group_by("request_id", "scope").agg(known=pl.col("known_at").max())
        by_age = updates.sort("known", "request_id").collect()
        whole = by_age.filter(pl.col("scope").is_null()).tail(1)
        later = by_age.filter(pl.col("scope").is_not_null())
        if whole.height:
            later = later.filter(pl.col("known") > whole["known"].item())
        later = later.unique("scope", keep="last", maintain_order=True)
        from_whole = pl.col("request_id").is_in(whole["request_id"].to_list()) & ~pl.col("symbol").is_in(
            later["scope"].to_list()
        )
        from_later = pl.col("request_id").is_in(later["request_id"].to_list())
        return rows.filter(from_whole | from_later).sort("account", "symbol", "con_id")

    def history(self, *, symbol: str | None = None, con_id: int | None = None) -> pl.LazyFrame:
        """Every reported holding that fits, in time order."""
        return self.scan().filter(*equals(symbol=symbol, con_id=con_id)).sort("timestamp", "account", "con_id")
