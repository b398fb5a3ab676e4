"""``option_snapshots``: one row an option contract and collection cycle."""

from __future__ import annotations

from datetime import date, datetime
from typing import ClassVar

import polars as pl

from v6.data import columns
from v6.data.columns import WHY_MISSING, number, price
from v6.data.table import Table, during, equals, known_by
from v6.data.table_spec import Column, TableSpec

MISSING_SHARE = 0.01  # the gateway's model leaves out a few far contracts: a chain with fewer than that is complete

OPTION_SNAPSHOTS = TableSpec(
    name="option_snapshots",
    description="Quotes, greeks, volume and open interest of option contracts, one row a contract and cycle.",
    columns=(
        columns.TIMESTAMP,
        columns.SYMBOL,
        columns.CON_ID,
        Column(name="expiry", dtype=pl.Date, description="the last trading day"),
        Column(name="strike", dtype=pl.Float64, description="strike price", unit="currency"),
        Column(name="right", dtype=pl.String, description="C for a call, P for a put"),
        *columns.QUOTE,
        number("iv", "implied volatility per year as a fraction: 0.2 is 20 %", "1/year", WHY_MISSING),
        number("delta", "change of the price per 1.00 of the underlying", "1", WHY_MISSING),
        number("gamma", "change of delta per 1.00 of the underlying", "1/currency", WHY_MISSING),
        number("theta", "change of the price per day", "currency/day", WHY_MISSING),
        number("vega", "change of the price per 1 % of volatility", "currency/%", WHY_MISSING),
        Column(
            name="greeks_source",
            dtype=pl.String,
            description="where iv and greeks come from: model (the gateway's), or the library that computed them",
            null_means="there are no greeks",
        ),
        price("model_price", "the option's price by the gateway's model", "the gateway sent no model"),
        number("pv_dividend", "present value of dividends by the gateway's model", "currency", "the model has none"),
        price("underlying_price", "the underlying's price that the greeks were computed from", WHY_MISSING),
        number("multiplier", "units of the underlying in one contract", "1", "the gateway gave none"),
        Column(
            name="is_adjusted",
            dtype=pl.Boolean,
            description="whether a corporate action changed what one contract stands for: told by class and multiplier",
            null_means="the row is older than this column",
        ),
        *columns.CONTRACT_TEXTS,
        *columns.DATA_QUALITY,
        columns.CYCLE,
        columns.CYCLE_CONTRACTS,
        *columns.PROVENANCE,
        columns.DATE,
    ),
    partition_by=("date",),
    sort_by=("symbol", "expiry", "strike", "right", "timestamp"),
    key=("cycle", "con_id"),
    # Each commit carries every file's statistics along: those of all 43 columns make an append twice as slow.
    configuration={"delta.dataSkippingStatsColumns": "timestamp,symbol,con_id,expiry,known_at,cycle"},
)


class OptionSnapshotsTable(Table):
    """Option chains as collected. A cycle is one collection of one symbol's chain, within one trading date."""

    spec: ClassVar[TableSpec] = OPTION_SNAPSHOTS

    def latest_chain(self, symbol: str, *, expiry: date | None = None, as_of: datetime | None = None) -> pl.LazyFrame:
        """The rows of the cycle that began last, whole or not; empty where the symbol was never collected.

        Of the newest trading date, it is the cycle whose first rows were known last. With ``expiry``, the last cycle
        that has this expiry, and only its rows; with ``as_of``, what was known then (machine time).
        """
        return self._last_cycle(symbol, expiry, as_of, pl.lit(value=True))

    def latest_complete_chain(
        self, symbol: str, *, missing_share: float = MISSING_SHARE, as_of: datetime | None = None
    ) -> pl.LazyFrame:
        """The rows of the last cycle that is complete; empty where there is none.

        Complete: every contract that the cycle planned (``cycle_contracts``) has a row, and at most ``missing_share``
        of them (a fraction) lack something (``missing`` is not null).
        """
        contracts = pl.col("con_id").n_unique()
        planned = pl.col("cycle_contracts").max()
        lacking = pl.col("con_id").filter(pl.col("missing").is_not_null()).n_unique()
        complete = (contracts >= planned) & (lacking <= missing_share * planned)
        return self._last_cycle(symbol, None, as_of, complete)

    def last_cycles(self) -> pl.DataFrame:
        """Of the newest trading date, each symbol's last cycle: symbol, cycle, began (machine time), and its contracts
        ``planned``, there (``contracts``) and ``lacking`` something; empty where no chain was ever collected."""
        contracts = pl.col("con_id").n_unique()
        for _, day in self._days_newest_first():
            cycles = day.group_by("symbol", "cycle").agg(
                began=pl.col("known_at").min(),
                planned=pl.col("cycle_contracts").max(),
                contracts=contracts,
                lacking=pl.col("con_id").filter(pl.col("missing").is_not_null()).n_unique(),
            )
            newest = cycles.sort("began", "cycle").unique("symbol", keep="last", maintain_order=True)
            return newest.sort("symbol").collect()
        schema = {"symbol": pl.String, "cycle": pl.String, "planned": pl.Int64, "contracts": pl.Int64}
        return pl.DataFrame(schema={**schema, "lacking": pl.Int64})

    def cycles(self, symbol: str | None = None, *, start: datetime | None = None) -> pl.LazyFrame:
        """One row a cycle and symbol, newest first: how many contracts were planned, came, and lack something, and
        ``seconds`` between its first and its last quote."""
        at, con_id = pl.col("timestamp"), pl.col("con_id")
        rows = self.scan().filter(*equals(symbol=symbol), *during(start, None))
        found = rows.group_by("symbol", "cycle").agg(
            date=pl.col("date").max(),
            first_quote_at=at.min(),
            last_quote_at=at.max(),
            seconds=(at.max() - at.min()).dt.total_microseconds() / 1e6,
            planned=pl.col("cycle_contracts").max(),
            contracts=con_id.n_unique(),
            lacking=con_id.filter(pl.col("missing").is_not_null()).n_unique(),
        )
        return found.sort("first_quote_at", "symbol", descending=[True, False])

    def history(
        self,
        *,
        con_id: int | None = None,
        symbol: str | None = None,
        expiry: date | None = None,
        strike: float | None = None,
        right: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> pl.LazyFrame:
        """The rows of one contract, or of all that fit, in time order. With start and end only those days are read."""
        fits = equals(con_id=con_id, symbol=symbol, expiry=expiry, strike=strike, right=right)
        return self.scan().filter(*fits, *during(start, end)).sort("timestamp", "known_at")

    def _last_cycle(self, symbol: str, expiry: date | None, as_of: datetime | None, accepted: pl.Expr) -> pl.LazyFrame:
        for _, day in self._days_newest_first():
            rows = day.filter(*equals(symbol=symbol, expiry=expiry), *known_by(as_of))
            cycles = rows.group_by("cycle").agg(accepted=accepted.first(), began=pl.col("known_at").min())
            last = cycles.filter("accepted").sort("began", "cycle").tail(1).select("cycle").collect()
            if last.height:
                return rows.filter(pl.col("cycle") == last.item()).sort("expiry", "strike", "right")
        return self.spec.empty().lazy()
