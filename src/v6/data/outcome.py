"""How a claimed request ended: four values, never exceptions.

Done → SUCCESS; RetryAt → PENDING with an attempt spent; SnoozeUntil → PENDING with no attempt spent (waiting is not
failing); FailedBecause → FAILED.
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


Outcome = Done | RetryAt | SnoozeUntil | FailedBecause
