"""Checks of the ledger: what was expected of a date and is not there."""

from __future__ import annotations

import polars as pl

from v6.data.coverage import COVERAGE, CoverageState
from v6.quality.check import Action, Check, found


def gap(rows: pl.DataFrame) -> pl.DataFrame:
    """An interval that was expected and failed, was never asked, is lost, or is still open. ``value`` is its length in
    seconds."""
    whole = [CoverageState.FETCHED, CoverageState.EMPTY]
    wrong = rows.filter(~pl.col("state").is_in([str(state) for state in whole]))
    seconds = (pl.col("interval_end") - pl.col("timestamp")).dt.total_seconds()
    detail = pl.format("{}: {}", "state", pl.col("reason").fill_null("no reason recorded"))
    series = pl.concat_str("request_type", pl.lit(" "), "series")
    numbered = wrong.with_columns(con_id=pl.lit(None, pl.Int64))
    return found(numbered, value=seconds, detail=detail, series=series)


COVERAGE_CHECKS = (Check(name="gap", table=COVERAGE.name, action=Action.FLAG, find=gap),)
