"""``quality_report``: examines what the lake has of a trading date; asks the gateway nothing."""

from __future__ import annotations

from datetime import date
from typing import Annotated, ClassVar

import polars as pl
from pydantic import AfterValidator, Field

from v6.data.quality_reports import QUALITY_REPORTS
from v6.request_types.base import NO_GATEWAY, Fetched, Gateway, Job, Parameters, Part, RequestType


def _is_date(text: str) -> str:
    if date.fromisoformat(text).isoformat() != text:
        raise ValueError("write it as YYYY-MM-DD")
    return text


class QualityReportParameters(Parameters):
    """Which trading date; without it the newest one that has data."""

    day: Annotated[str, AfterValidator(_is_date)] | None = Field(
        None, description="trading date, YYYY-MM-DD; without it the newest one with data"
    )


class QualityReport(RequestType[QualityReportParameters]):
    """One report, and one row a finding beside it; a lake without data gives none."""

    name: ClassVar[str] = "quality_report"
    description: ClassVar[str] = (
        "The quality of a trading date: doubtful rows of all tables, of all symbols or of one, a page and a CSV."
    )
    parameters = QualityReportParameters
    result_table: ClassVar[str] = QUALITY_REPORTS.name
    default_priority: ClassVar[int] = 3
    concurrency: ClassVar[int] = 1
    attempts: ClassVar[int] = 3
    pacing: ClassVar[str] = NO_GATEWAY
    timeout_seconds: ClassVar[float] = 3600.0
    symbol_optional: ClassVar[bool] = True

    async def fetch(self, job: Job[QualityReportParameters], part: Part, gateway: Gateway) -> Fetched:
        """Examine the date."""
        del part, gateway
        asked, now = job.parameters.day, job.clock.now()
        day = None if asked is None else date.fromisoformat(asked)
        tables = dict(await job.derivations.examine(day, now, job.symbol))
        report = tables.pop(QUALITY_REPORTS.name, QUALITY_REPORTS.empty().drop("request_id", "known_at"))
        return Fetched(rows=report, side=tables, summary=_summary(report))


def _summary(report: pl.DataFrame) -> dict[str, object]:
    if report.is_empty():
        return {"rows_examined": 0}
    counts = report.select("rows_examined", "flagged", "quarantined").row(0, named=True)
    return {**counts, "day": report["date"][0].isoformat()}
