"""Values of statistics as rows of ``derived_statistics``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

import polars as pl

from v6.data.derived_statistics import DERIVED_STATISTICS
from v6.derivations.statistic import Inputs, Statistic, Value

STAMPED_BY_WORKER = ("request_id", "known_at")
SCHEMA = {name: dtype for name, dtype in DERIVED_STATISTICS.schema.items() if name not in STAMPED_BY_WORKER}

Row = dict[str, Any]


def rows_of(
    statistics: Sequence[Statistic[Inputs]], inputs: Inputs, *, symbol: str, day: date, at: datetime
) -> list[Row]:
    """Every value of these statistics; ``at`` is the last instant of the data."""
    same = {"timestamp": at, "symbol": symbol, "date": day}
    return [{**same, **_row(s.name, value)} for s in statistics for value in s.compute(inputs)]


def frame_of(rows: Iterable[Row]) -> pl.DataFrame:
    """The rows as a frame with every column but those that the worker stamps."""
    return pl.DataFrame(list(rows), schema=SCHEMA, orient="row")


def _row(statistic: str, value: Value) -> Row:
    return {
        "statistic": statistic,
        "tenor_days": value.tenor_days,
        "window_days": value.window_days,
        "strike": value.strike,
        "value": value.value,
        "n_observations": value.observations,
        "quality": value.quality,
    }
