"""How far the demo is: the states of its requests from the queue, contracts from the gateway's journal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from v6.data.ib_request import REQUESTS, IBRequest, RequestStatus
from v6.data.lake import Lake
from v6.data.queue_log import current, requests_of

OPTION_VOLUME = "100"  # the generic tick that is asked for with options alone


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """One look at the demo. Rates in contracts a second since the first; seconds are the machine's."""

    requests: tuple[IBRequest, ...]
    rows: int
    contracts_planned: int
    contracts_asked: int
    seconds: float
    contracts_per_second: float

    @property
    def counts(self) -> dict[str, int]:
        """Requests by status."""
        return dict(Counter(str(request.status) for request in self.requests))

    @property
    def ended(self) -> int:
        """Requests that have ended."""
        return sum(not request.status.is_open for request in self.requests)

    def has_ended(self, types: Collection[str]) -> bool:
        """Whether all requests of these types have."""
        return not any(request.request_type in types and request.status.is_open for request in self.requests)

    @property
    def seconds_left(self) -> float | None:
        """What the contracts that are still to be asked will take; None while nothing is known."""
        left = self.contracts_planned - self.contracts_asked
        return left / self.contracts_per_second if left > 0 and self.contracts_per_second else None

    def line(self) -> str:
        """The look as one line of text."""
        counts = ", ".join(f"{n} {status}" for status, n in sorted(self.counts.items()))
        left = self.seconds_left
        return (
            f"{self.seconds:5.1f} s: {counts}; {self.rows:,} rows; "
            f"{self.contracts_asked:,} of {self.contracts_planned:,} contracts, {self.contracts_per_second:.1f}/s"
            + ("" if left is None else f", about {left:.0f} s left")
        )


class JournalTail:
    """Counts what a gateway's journal says from now on: option contracts listed, and market data asked for them.

    A lake that knows the day's contracts already lists none: then as many are planned as were asked for so far.
    """

    def __init__(self, path: Path) -> None:
        self.planned = 0
        self.asked = 0
        self._options: set[int] = set()
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def read(self) -> None:
        """Take in the whole lines that are new."""
        if not self._path.exists():
            return
        with self._path.open("rb") as journal:
            journal.seek(self._offset)
            whole, newline, _ = journal.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        for line in whole.splitlines():
            self._count(json.loads(line))

    def _count(self, entry: dict[str, object]) -> None:
        values = entry["values"]
        if entry["kind"] == "contract_details" and isinstance(values, list) and "OPT" in values[:5]:
            self._options.add(int(str(entry["con_id"])))
        elif entry["kind"] == "request_market_data" and isinstance(values, list):
            self.asked += OPTION_VOLUME in str(values[0]).split(",")
        self.planned = max(len(self._options), self.asked)


def requests_now(lake: Lake, request_ids: Collection[str], since: date) -> tuple[IBRequest, ...]:
    """The states of these requests, all born on or after a UTC date."""
    fits = (pl.col("date") >= since) & pl.col("request_id").is_in(list(request_ids))
    return tuple(requests_of(current(lake.scan(REQUESTS).filter(fits)).collect()))


def rows_of(request: IBRequest) -> int:
    """The rows that a request brought."""
    return int(request.result_data.get("rows", 0)) if request.status is RequestStatus.SUCCESS else 0
