"""How far a load is: requests by state, rows, rate and time left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from v6.data.ib_request import IBRequest, RequestStatus


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadProgress:
    """One look at a load. Seconds are the machine's; rates count from this run's start."""

    counts: Mapping[str, int]
    total: int
    ended: int
    rows: int
    seconds: float
    requests_per_second: float
    worker: str | None

    @classmethod
    def of(
        cls,
        requests: Iterable[IBRequest],
        *,
        total: int,
        seconds: float,
        ended_at_start: int,
        worker: str | None,
    ) -> Self:
        """Count the requests; what had ended before this run began does not count into the rate."""
        found = list(requests)
        ended = [request for request in found if not request.status.is_open]
        return cls(
            counts=dict(Counter(str(request.status) for request in found)),
            total=total,
            ended=len(ended),
            rows=sum(int(r.result_data.get("rows", 0)) for r in ended if r.status is RequestStatus.SUCCESS),
            seconds=seconds,
            requests_per_second=(len(ended) - ended_at_start) / seconds if seconds > 0 else 0.0,
            worker=worker,
        )

    @property
    def seconds_left(self) -> float | None:
        """At this rate; None while there is none."""
        return (self.total - self.ended) / self.requests_per_second if self.requests_per_second > 0 else None

    def line(self) -> str:
        """The look as one line of text."""
        counts = ", ".join(f"{count} {status}" for status, count in sorted(self.counts.items()))
        left = "" if self.seconds_left is None else f", about {_span(self.seconds_left)} left"
        idle = "" if self.worker is not None or self.ended == self.total else "; no worker runs: start `v6 worker`"
        return (
            f"{self.ended:,} of {self.total:,} requests ({counts or 'none'}), {self.rows:,} rows, "
            f"{60 * self.requests_per_second:,.1f} requests/min{left}{idle}"
        )


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
