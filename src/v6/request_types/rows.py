"""Rows from what the gateway sent: the columns that quotes of options and futures share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from v6.data.table_spec import TableSpec
from v6.request_types.base import MarketDataType, Quote

STAMPED_BY_WORKER = ("request_id", "known_at")
QUOTE_FIELDS = (
    "bid", "ask", "last", "bid_size", "ask_size", "last_size", "bid_at", "ask_at", "last_at",
    "volume", "open_interest", "open", "high", "low", "close",
)  # fmt: skip
# Fields that a quote should have: where one is null, ``missing`` says why.
EXPLAINED = ("bid", "ask", "last", "bid_size", "ask_size", "last_size", "volume", "open_interest")
NOT_SENT = "the gateway sent none"


def frame_of(spec: TableSpec, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as a frame with every column of the table but those that the worker stamps."""
    schema = {name: dtype for name, dtype in spec.schema.items() if name not in STAMPED_BY_WORKER}
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema, orient="row")


def quote_columns(quote: Quote) -> dict[str, Any]:
    """The columns of a quote and of its contract's texts."""
    contract = quote.contract
    return {
        "timestamp": quote.finished_at,
        "symbol": contract.symbol,
        "con_id": contract.con_id,
        "expiry": contract.expiry,
        **{name: getattr(quote, name) for name in QUOTE_FIELDS},
        "multiplier": contract.multiplier,
        "trading_class": contract.trading_class or None,
        "exchange": contract.exchange or None,
        "currency": contract.currency or None,
        "local_symbol": contract.local_symbol or None,
        "market_data_type_requested": type_name(quote.requested_type),
        "market_data_type": None if quote.received_type is None else type_name(quote.received_type),
    }


def type_name(kind: MarketDataType) -> str:
    """A market-data type as the tables spell it: live, frozen, delayed, delayed_frozen."""
    return MarketDataType(kind).name.lower()


def missing_fields(quote: Quote) -> dict[str, str]:
    """Why each expected field of a quote is null; empty where nothing is missing."""
    return {
        name: quote.missing.get(name) or quote.missing.get(name.removesuffix("_size")) or NOT_SENT
        for name in EXPLAINED
        if getattr(quote, name) is None
    }


def missing_json(missing: Mapping[str, str]) -> str | None:
    """The ``missing`` column: a JSON object, None where nothing is missing."""
    return json.dumps(dict(missing), sort_keys=True) if missing else None


def cycle_name(created_at: datetime, request_id: str) -> str:
    """The collection a request makes up: when it was asked and by which request, so that no two are the same."""
    return f"{created_at.isoformat(timespec='milliseconds')}/{request_id[:8]}"
