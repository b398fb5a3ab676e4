"""When requests of limited types began: so many may begin in a period, whoever runs them and whenever he started."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from v6.data.ib_request import RequestStatus


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """So many claims in any window of that length."""

    claims: int
    period: timedelta

    def reason(self, request_type: str) -> str:
        """What a request of a type waits for while no more may begin."""
        return f"the limit of {self.claims} {request_type} in {self.period.total_seconds():g} s"


class RecentClaims:
    """The instants of the latest claims of each limited type. Pure bookkeeping, like the state that it is a part of."""

    def __init__(self, rates: Mapping[str, Rate] | None = None) -> None:
        self.rates = dict(rates or {})
        self._instants: dict[str, deque[datetime]] = {name: deque() for name in self.rates}

    def note(self, request_type: str, at: datetime) -> None:
        """A request of a type was claimed."""
        instants = self._instants.get(request_type)
        if instants is None:
            return
        instants.append(at)
        if len(instants) > self.rates[request_type].claims:  # older ones can no more be what limits
            instants.popleft()

    def room(self, request_type: str, now: datetime) -> int | None:
        """How many of a type may begin now; None where nothing limits them."""
        rate = self.rates.get(request_type)
        return None if rate is None else max(0, rate.claims - len(self._counted(request_type, rate, now)))

    def next_at(self, request_type: str, now: datetime) -> datetime | None:
        """When the next of a type may begin; None when it may now."""
        rate = self.rates.get(request_type)
        if rate is None or self.room(request_type, now):
            return None
        return min(self._counted(request_type, rate, now)) + rate.period

    def _counted(self, request_type: str, rate: Rate, now: datetime) -> list[datetime]:
        """Those within the period. What lies ahead, because the clock was set back, counts as of this look."""
        instants = self._instants[request_type]
        for place, at in enumerate(instants):
            instants[place] = min(at, now)
        return [at for at in instants if now - at < rate.period]

    def load(self, rows: pl.LazyFrame, now: datetime) -> None:
        """Take in the claims that a table's rows tell of, in place of all known so far."""
        if not self.rates:
            return
        since = now - max(rate.period for rate in self.rates.values())
        found = rows.filter(pl.col("request_type").is_in(list(self.rates)), pl.col("updated_at") >= since)
        for request_type, at in claims_in(found).sort("updated_at").collect().iter_rows():
            self.note(request_type, at)


def claims_in(rows: pl.LazyFrame) -> pl.LazyFrame:
    """request_type and updated_at of each claim: a PROCESSING row that follows no other one of its request."""
    is_claimed = pl.col("status") == str(RequestStatus.PROCESSING)
    ordered = rows.select("request_id", "revision", "request_type", "status", "updated_at").sort(
        "request_id", "revision"
    )
    return ordered.filter(is_claimed & ~is_claimed.shift(1).over("request_id").fill_null(value=False)).select(
        "request_type", "updated_at"
    )


def is_claim(status: RequestStatus, before: RequestStatus | None) -> bool:
    """Whether a row of that status, after one of another, tells of a claim."""
    return status is RequestStatus.PROCESSING and before is not RequestStatus.PROCESSING
