"""What a check is: a name, the table it looks at, what it does with a row, and a pure function that finds the rows."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

FOUND: dict[str, pl.DataType] = {
    "timestamp": pl.Datetime("us", "UTC"),
    "symbol": pl.String(),
    "con_id": pl.Int64(),
    "row_request_id": pl.String(),
    "series": pl.String(),
    "value": pl.Float64(),
    "detail": pl.String(),
}


class Action(StrEnum):
    """What a finding means for readers: a flag is a note, a quarantined row is left out by those who ask for clean."""

    FLAG = "flag"
    QUARANTINE = "quarantine"


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One check. ``find`` takes the rows of one trading date (of bars, with ``day`` false for the days before it) and
    gives a frame of ``FOUND``; its docstring says what is found, in which unit ``value`` is, and when nothing is."""

    name: str
    table: str
    action: Action
    find: Callable[[pl.DataFrame], pl.DataFrame]

    @property
    def description(self) -> str:
        """What it finds, on one line."""
        return " ".join((inspect.getdoc(self.find) or "").split())


def found(rows: pl.DataFrame, *, value: pl.Expr, detail: pl.Expr, series: pl.Expr | None = None) -> pl.DataFrame:
    """The rows that a check doubts, as it reports them."""
    return rows.select(
        "timestamp",
        "symbol",
        "con_id",
        row_request_id="request_id",
        series=(pl.lit(None, pl.String) if series is None else series),
        value=value.cast(pl.Float64),
        detail=detail,
    )


def number(name: str, digits: int = 4) -> pl.Expr:
    """A column as text within a detail; nothing where it is null."""
    return pl.col(name).round(digits).cast(pl.String).fill_null("nothing")
