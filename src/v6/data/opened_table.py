"""A table object that serves many commits.

Every file that came after an object was opened makes its later commits a little dearer, until it is opened anew at a
newer checkpoint (docs/benchmarks.md, "One table object for long"). So whoever commits for months replaces its object
now and then.
"""

from __future__ import annotations

from v6.data.delta import DeltaTable

OBJECT_COMMITS = 32  # after so many versions what it costs to open anew is less than what has come on top by then


class OpenedTable:
    """A table object, and whether it should be opened anew."""

    def __init__(self, table: DeltaTable) -> None:
        self.table = table
        self._opened_at = int(table.version())

    @property
    def version(self) -> int:
        """The version that the object is at."""
        return int(self.table.version())

    def transaction_version(self, app_id: str) -> int:
        """The version of an app transaction at the object's version, 0 where there is none. It is read from the log.

        Raises:
            DeltaError: the log that the object was opened with is no longer there.
        """
        return int(self.table.transaction_version(app_id) or 0)

    def keep(self) -> None:
        """Count from here: it cannot be opened anew for now."""
        self._opened_at = self.version

    @property
    def is_old(self) -> bool:
        """Whether it has seen so many commits that a new object is cheaper."""
        return self.version - self._opened_at >= OBJECT_COMMITS
