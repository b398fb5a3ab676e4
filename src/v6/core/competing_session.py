"""How long market data is left alone after error 10197: another live session of this user has it.

Pure policy: it is told the time (monotonic clock seconds).
"""

from __future__ import annotations

LONGEST_HOLD_SECONDS = 1800.0


class CompetingHold:
    """Ever longer while the other session stays; a whole quote shows that it is gone."""

    def __init__(self, first_seconds: float) -> None:
        self._first = self._next = first_seconds
        self._until = 0.0

    def begin(self, now: float) -> None:
        """The other session was met; while the hold lasts, further notices of it change nothing."""
        if self._until <= now:
            self._until = now + self._next
            self._next = min(LONGEST_HOLD_SECONDS, 2 * self._next)

    def is_over(self, now: float) -> bool:
        """Whether market data may be tried again."""
        return self._until <= now

    def end(self) -> None:
        """A new session with the gateway begins without a hold."""
        self._until = 0.0

    def forget(self) -> None:
        """Market data came: the next hold is short again."""
        self._next = self._first
