"""``futures_snapshots``: one row a future and snapshot."""

from __future__ import annotations

from datetime import date, datetime
from typing import ClassVar

import polars as pl

from v6.data import columns
from v6.data.columns import WHY_MISSING, number
from v6.data.table import Table, during, equals, known_by
from v6.data.table_spec import Column, TableSpec


def _change(name: str, since: str) -> Column:
    meaning = f"last price against {since}, as a fraction: 0.01 is 1 %"
    return number(name, meaning, "1", "one of the two prices is not known; the reason is in missing")


FUTURES_SNAPSHOTS = TableSpec(
    name="futures_snapshots",
    description="Quotes of futures with their changes, one row a contract and snapshot.",
    columns=(
        columns.TIMESTAMP,
        columns.SYMBOL,
        columns.CON_ID,
        Column(name="expiry", dtype=pl.Date, description="the last trading day"),
        Column(
            name="contract_month",
            dtype=pl.String,
            description="the contract's month, YYYYMM",
            null_means="the gateway gave none",
        ),
        Column(name="is_front_month", dtype=pl.Boolean, description="true for the nearest expiry that still trades"),
        *columns.QUOTE,
        number(
            "implied_vol", "the underlying's 30-day implied volatility per year as a fraction", "1/year", WHY_MISSING
        ),
        _change("change_1h", "the price one hour before"),
        _change("change_4h", "the price four hours before"),
        _change("change_overnight", "the close of the last regular session, while and after the night that followed"),
        _change("change_daily", "the previous session's close"),
        number("underlying_price", "the index the future follows", "currency", "requests ask for the future alone"),
        number("multiplier", "currency units per point of one contract", "currency", "the gateway gave none"),
        *columns.CONTRACT_TEXTS,
        *columns.DATA_QUALITY,
        columns.CYCLE,
        *columns.PROVENANCE,
        columns.DATE,
    ),
    partition_by=("date",),
    sort_by=("symbol", "expiry", "timestamp"),
    key=("cycle", "con_id"),
)


class FuturesSnapshotsTable(Table):
    """Futures as collected."""

    spec: ClassVar[TableSpec] = FUTURES_SNAPSHOTS

    def latest(self, symbol: str, *, as_of: datetime | None = None) -> pl.LazyFrame:
        """The last row of each month of the newest trading date that has the symbol, nearest expiry first."""
        for _, day in self._days_newest_first():
            rows = day.filter(*equals(symbol=symbol), *known_by(as_of))
            if rows.select("con_id").head(1).collect().height:
                newest = rows.sort("known_at", "timestamp").unique("con_id", keep="last", maintain_order=True)
                return newest.sort("expiry")
        return self.spec.empty().lazy()

    def history(
        self,
        *,
        con_id: int | None = None,
        symbol: str | None = None,
        expiry: date | None = None,
        front_month: bool | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> pl.LazyFrame:
        """The rows of one contract, or of all that fit, in time order. With start and end only those days are read."""
        fits = equals(con_id=con_id, symbol=symbol, expiry=expiry, is_front_month=front_month)
        return self.scan().filter(*fits, *during(start, end)).sort("timestamp", "known_at")
