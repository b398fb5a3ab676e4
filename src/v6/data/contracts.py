"""``contracts``: the contract master. What the gateway listed, by day, so that expired contracts stay known."""

from __future__ import annotations

from datetime import date, datetime
from typing import ClassVar

import polars as pl

from v6.data import columns
from v6.data.columns import number
from v6.data.table import Table, equals, known_by
from v6.data.table_spec import UTC_MICROSECONDS, Column, TableSpec

NOT_GIVEN = "the gateway gave none"


def _text(name: str, description: str) -> Column:
    return Column(name=name, dtype=pl.String, description=description, null_means=NOT_GIVEN)


CONTRACTS = TableSpec(
    name="contracts",
    description="Contract details as the gateway listed them, one row a contract, question and trading date.",
    columns=(
        Column(
            name="timestamp", dtype=UTC_MICROSECONDS, description="when the gateway listed it (clock time)", unit="UTC"
        ),
        columns.SYMBOL,
        columns.CON_ID,
        Column(name="sec_type", dtype=pl.String, description="IB's kind of contract: STK, IND, FUT, OPT, FOP"),
        Column(name="expiry", dtype=pl.Date, description="the last trading day", null_means="it does not expire"),
        Column(
            name="strike", dtype=pl.Float64, description="strike price", unit="currency", null_means="it is no option"
        ),
        Column(name="right", dtype=pl.String, description="C for a call, P for a put", null_means="it is no option"),
        number("multiplier", "units of the underlying in one contract", "1", NOT_GIVEN),
        *columns.CONTRACT_TEXTS,
        _text("primary_exchange", "where a stock is listed"),
        _text("contract_month", "the month of a future or option, YYYYMM"),
        number("min_tick", "smallest step of the price", "currency", NOT_GIVEN),
        _text("long_name", "the name of the company, fund or index"),
        Column(
            name="under_con_id",
            dtype=pl.Int64,
            description="contract id of the underlying",
            null_means="it has no underlying, or the gateway gave none",
        ),
        _text("under_symbol", "symbol of the underlying"),
        _text("time_zone_id", "time zone of the hours"),
        _text("trading_hours", "all trading hours of the next days, IB's text"),
        _text("liquid_hours", "regular trading hours of the next days, IB's text"),
        Column(name="asked", dtype=pl.String, description="the question that it is an answer to"),
        Column(name="answer_size", dtype=pl.Int64, description="how many contracts the answer had", unit="contracts"),
        *columns.PROVENANCE,
        columns.DATE,
    ),
    partition_by=("date",),
    sort_by=("symbol", "sec_type", "expiry", "strike", "right"),
    key=("date", "asked", "con_id"),
    configuration={"delta.dataSkippingStatsColumns": "symbol,con_id,expiry,known_at,asked"},
)


class ContractsTable(Table):
    """Contracts as listed. A contract that is asked for on many days has as many rows."""

    spec: ClassVar[TableSpec] = CONTRACTS

    def prepare(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows that are not stored yet: an answer is kept once a day."""
        rows = super().prepare(frame).unique(self.spec.key, keep="first", maintain_order=True)
        if rows.is_empty():
            return rows
        days, asked = rows["date"].unique().to_list(), rows["asked"].unique().to_list()
        stored = self.scan().filter(pl.col("date").is_in(days), pl.col("asked").is_in(asked))
        return rows.join(stored.select(self.spec.key).collect(), on=self.spec.key, how="anti", maintain_order="left")

    def answer(self, asked: str, day: date) -> pl.DataFrame:
        """What the gateway answered to a question on a trading date; no rows unless all of the answer is stored."""
        rows = self.scan().filter(pl.col("date") == day, pl.col("asked") == asked).collect()
        whole = rows.unique("con_id", keep="last", maintain_order=True)
        return whole if whole.filter(pl.col("answer_size") > whole.height).is_empty() else whole.clear()

    def known(
        self,
        *,
        con_id: int | None = None,
        symbol: str | None = None,
        sec_type: str | None = None,
        expiry: date | None = None,
        as_of: datetime | None = None,
    ) -> pl.LazyFrame:
        """One row a contract, as last listed, with ``first_seen`` and ``last_seen`` (trading dates): also those that
        have expired or were delisted."""
        fits = equals(con_id=con_id, symbol=symbol, sec_type=sec_type, expiry=expiry)
        rows = self.scan().filter(*fits, *known_by(as_of)).sort("date", "known_at")
        last = rows.unique("con_id", keep="last", maintain_order=True)
        seen = rows.group_by("con_id").agg(first_seen=pl.col("date").min(), last_seen=pl.col("date").max())
        listed = last.drop("asked", "answer_size", "date").join(seen, on="con_id")
        return listed.sort("symbol", "sec_type", "expiry", "strike", "right", "con_id")
