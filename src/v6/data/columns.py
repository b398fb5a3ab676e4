"""Columns that several tables share, so that a name means the same everywhere."""

from __future__ import annotations

import polars as pl

from v6.data.table_spec import UTC_MICROSECONDS, Column

TIMESTAMP = Column(
    name="timestamp",
    dtype=UTC_MICROSECONDS,
    description="when the row's market was observed: the instant at which its quote was complete (clock time)",
    unit="UTC",
)
DATE = Column(name="date", dtype=pl.Date, description="the exchange's trading date")
SYMBOL = Column(name="symbol", dtype=pl.String, description="IB's symbol; of an option or future, of its underlying")
CON_ID = Column(name="con_id", dtype=pl.Int64, description="IB's contract id; negative in imported rows that had none")

PROVENANCE = (
    Column(name="request_id", dtype=pl.String, description="the request in ib_requests that brought the row"),
    Column(
        name="known_at",
        dtype=UTC_MICROSECONDS,
        description="when the row was handed to the lake (machine time): the instant that as-of readers compare with",
        unit="UTC",
    ),
)

CONTRACT_TEXTS = (
    Column(
        name="trading_class",
        dtype=pl.String,
        description="IB's trading class, such as SPY or SPXW",
        null_means="the gateway gave none",
    ),
    Column(
        name="exchange",
        dtype=pl.String,
        description="where the data came from: SMART, CME, …",
        null_means="the gateway gave none",
    ),
    Column(name="currency", dtype=pl.String, description="currency of the prices", null_means="the gateway gave none"),
    Column(
        name="local_symbol",
        dtype=pl.String,
        description="the exchange's own name of the contract",
        null_means="the gateway gave none",
    ),
)

CYCLE = Column(
    name="cycle",
    dtype=pl.String,
    description="the collection this row belongs to: one and the same text in all rows collected together",
)
CYCLE_CONTRACTS = Column(
    name="cycle_contracts",
    dtype=pl.Int32,
    description="how many contracts of this symbol the cycle planned to bring",
    unit="contracts",
    null_means="the plan was not recorded: the cycle never counts as complete",
)


def price(name: str, description: str, null_means: str) -> Column:
    """A price per unit of the underlying, in the row's currency."""
    return Column(name=name, dtype=pl.Float64, description=description, unit="currency", null_means=null_means)


def number(name: str, description: str, unit: str, null_means: str) -> Column:
    """A float that may be null. Sizes are floats because IB sends decimals."""
    return Column(name=name, dtype=pl.Float64, description=description, unit=unit, null_means=null_means)


def instant(name: str, description: str, null_means: str) -> Column:
    """An instant that may be null."""
    return Column(name=name, dtype=UTC_MICROSECONDS, description=description, unit="UTC", null_means=null_means)


WHY_MISSING = "it did not come; the reason is in missing"

QUOTE = (
    price("bid", "best bid", WHY_MISSING),
    price("ask", "best ask", WHY_MISSING),
    price("last", "price of the last trade", WHY_MISSING),
    number("bid_size", "size at the bid", "contracts", WHY_MISSING),
    number("ask_size", "size at the ask", "contracts", WHY_MISSING),
    number("last_size", "size of the last trade", "contracts", WHY_MISSING),
    instant("bid_at", "when the bid was received (clock time)", "there is no bid"),
    instant("ask_at", "when the ask was received (clock time)", "there is no ask"),
    instant(
        "last_at",
        "when the last trade was, as the gateway says, else when its price was received (clock time)",
        "there is no last trade",
    ),
    number("volume", "volume of the session so far", "contracts", WHY_MISSING),
    number("open_interest", "open contracts, as of the exchange's last count", "contracts", WHY_MISSING),
    price("open", "first price of the session", "the gateway sent none"),
    price("high", "highest price of the session so far", "the gateway sent none"),
    price("low", "lowest price of the session so far", "the gateway sent none"),
    price("close", "the previous session's close", "the gateway sent none"),
)

DATA_QUALITY = (
    Column(
        name="market_data_type_requested",
        dtype=pl.String,
        description="the market-data type asked for: live, frozen, delayed or delayed_frozen; unknown in imported rows",
    ),
    Column(
        name="market_data_type",
        dtype=pl.String,
        description="the market-data type that came back: live, frozen, delayed or delayed_frozen",
        null_means="nothing came back",
    ),
    Column(
        name="missing",
        dtype=pl.String,
        description="what is missing and why: a JSON object, field → reason",
        null_means="nothing is missing",
    ),
)
