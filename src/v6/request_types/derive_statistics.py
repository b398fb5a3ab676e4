"""``derive_statistics``: computes from the lake what its rows say; asks the gateway nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, timedelta
from typing import ClassVar, Self

import polars as pl
from pydantic import AwareDatetime, Field, model_validator

from v6.data.derived_statistics import DERIVED_STATISTICS
from v6.request_types.base import NO_GATEWAY, Fetched, Gateway, Job, Parameters, Part, RequestType

PART_DAYS = 5  # trading dates that land together: a killed worker repeats no more


class DeriveStatisticsParameters(Parameters):
    """Which trading dates; without any the newest one that has data."""

    start: AwareDatetime | None = Field(
        None, description="first trading date, as an instant on it, ISO 8601 with an offset or Z"
    )
    end: AwareDatetime | None = Field(
        None, description="the range ends before this instant, ISO 8601 with an offset or Z; without it now"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.end is not None and self.start is None:
            raise ValueError("end goes with start: say where the range begins")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError(f"start {self.start} is not before end {self.end}")
        return self


class DeriveStatistics(RequestType[DeriveStatisticsParameters]):
    """One row a statistic, tenor, window, strike and date, from all that the lake has of a symbol."""

    name: ClassVar[str] = "derive_statistics"
    description: ClassVar[str] = (
        "Statistics from stored bars, chains and futures of a symbol: a range of trading dates, or the newest one."
    )
    parameters = DeriveStatisticsParameters
    result_table: ClassVar[str] = DERIVED_STATISTICS.name
    default_priority: ClassVar[int] = 3
    concurrency: ClassVar[int] = 4
    attempts: ClassVar[int] = 3
    pacing: ClassVar[str] = NO_GATEWAY
    timeout_seconds: ClassVar[float] = 3600.0

    async def plan(self, job: Job[DeriveStatisticsParameters], gateway: Gateway) -> Sequence[Part]:
        """The trading dates that have data, some to a part, oldest first."""
        del gateway
        days = await job.derivations.days(job.symbol, *_asked_days(job))
        return [
            {"days": [day.isoformat() for day in days[first : first + PART_DAYS]]}
            for first in range(0, max(1, len(days)), PART_DAYS)
        ]

    async def fetch(self, job: Job[DeriveStatisticsParameters], part: Part, gateway: Gateway) -> Fetched:
        """The statistics of one part's dates."""
        del gateway
        days = [date.fromisoformat(text) for text in part["days"]]
        tables = dict(await job.derivations.derive(job.symbol, days)) if days else {}
        rows = tables.pop(DERIVED_STATISTICS.name, pl.DataFrame())
        return Fetched(rows=rows, side=tables, summary={"days": len(days)})


def _asked_days(job: Job[DeriveStatisticsParameters]) -> tuple[date | None, date]:
    """First and last trading date of the range: the last one whose midnight UTC lies before its end."""
    wanted = job.parameters
    end = (wanted.end or job.clock.now()).astimezone(UTC)
    first = None if wanted.start is None else wanted.start.astimezone(UTC).date()
    return first, (end - timedelta(microseconds=1)).date()
