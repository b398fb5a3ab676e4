"""How a claimed request ended: values, never exceptions.

Done → SUCCESS; RetryAt → PENDING with an attempt spent; SnoozeUntil → PENDING with no attempt spent (waiting is not
failing); FailedBecause → FAILED; Cancelled → CANCELLED. Crashed, said by whoever recovers for a dead worker, counts a
crash and no attempt → PENDING, or FAILED as poison.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from v6.errors import ErrorCategory


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """The rows are in the result table. ``result`` is stored as result_data: rows written, table version, timings."""

    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryAt:
    """Something transient went wrong: run again at ``at`` (UTC). Spends an attempt."""

    at: datetime
    message: str
    category: ErrorCategory
    code: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SnoozeUntil:
    """The request was held back, by pacing, the session or a shutdown: run again at ``at`` (UTC). Spends nothing."""

    at: datetime
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedBecause:
    """The request cannot succeed, or has no attempts left."""

    message: str
    category: ErrorCategory
    code: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cancelled:
    """A person asked for it, and it was stopped before its rows were in the result table."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Crashed:
    """The worker died while it ran the request: run again at ``at`` (UTC), or never when ``at`` is None."""

    at: datetime | None
    reason: str


Outcome = Done | RetryAt | SnoozeUntil | FailedBecause | Cancelled | Crashed
