"""Whether calls are worth trying: closed, open after repeated failures, half-open for one probe.

    closed ──failures in a row──▶ open ──cool-down over──▶ half-open ──probe succeeds──▶ closed
                                   ▲                            │
                                   └────────probe fails─────────┘

Pure policy: it does no I/O and is told the time (monotonic seconds).
"""

from __future__ import annotations

from enum import StrEnum


class BreakerState(StrEnum):
    """Where the breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitBreaker:
    """Opens after ``failures`` in a row, for ``cool_down_seconds``, doubled with each failed probe up to the cap."""

    def __init__(self, *, failures: int = 10, cool_down_seconds: float = 10.0, cap_seconds: float = 300.0) -> None:
        self._limit = failures
        self._first_cool_down = cool_down_seconds
        self._cap = cap_seconds
        self._cool_down = cool_down_seconds
        self._failures = 0
        self._opened_at: float | None = None
        self._is_probing = False

    def state(self, now: float) -> BreakerState:
        """The state at ``now``."""
        if self._opened_at is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self.seconds_left(now) > 0 else BreakerState.HALF_OPEN

    def seconds_left(self, now: float) -> float:
        """Until a probe may go; 0 when closed or half-open."""
        return 0.0 if self._opened_at is None else max(0.0, self._opened_at + self._cool_down - now)

    def take_probe(self, now: float) -> bool:
        """Whether the caller may send the one probe of this half-open phase."""
        if self.state(now) is not BreakerState.HALF_OPEN or self._is_probing:
            return False
        self._is_probing = True
        return True

    def succeed(self, *, probe: bool = False) -> None:
        """A call was answered. While open only the probe's answer counts: others were sent before."""
        if self._opened_at is not None and not probe:
            return
        self._failures = 0
        self._cool_down = self._first_cool_down
        self._opened_at = None
        self._is_probing = False

    def fail(self, now: float, *, probe: bool = False) -> None:
        """A call got no answer. While open only the probe's failure counts."""
        if probe:
            self._is_probing = False
            self._cool_down = min(self._cap, self._cool_down * 2)
            self._opened_at = now
        elif self._opened_at is None:
            self._failures += 1
            if self._failures >= self._limit:
                self._opened_at = now

    def reset(self) -> None:
        """Close: a new session starts without a past."""
        self.succeed(probe=True)
