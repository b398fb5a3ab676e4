"""One round of maintenance over the tables of a lake; a table that fails does not keep the others from theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

from v6.clock import Clock
from v6.data.ib_request import REQUESTS
from v6.data.lake import READ_ERRORS, Lake
from v6.data.table import tables
from v6.data.table_spec import TableSpec
from v6.errors import LakeError, UsageError
from v6.maintenance.report import TableReport
from v6.maintenance.retention import keep_days
from v6.maintenance.table_upkeep import Policy, TableUpkeep
from v6.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Promises:
    """What maintenance must keep: rows by the setting ``retention``, and removed files so many hours for readers."""

    retention: str = ""
    reader_hours: float = 24.0
    queue_reader_hours: float = 1.0

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """What the settings promise."""
        return cls(
            retention=settings.retention,
            reader_hours=settings.reader_hours,
            queue_reader_hours=settings.queue_reader_hours,
        )


class Maintainer:
    """Maintains the tables of one lake. Any number of them, in any processes, may do so at once. Blocks."""

    def __init__(
        self, lake: Lake, clock: Clock, promises: Promises | None = None, specs: Sequence[TableSpec] | None = None
    ) -> None:
        """``specs`` replaces the package's own tables.

        Raises:
            SettingsError: the promised retention cannot be.
        """
        self._lake = lake
        self._clock = clock
        self._promises = promises or Promises()
        self._specs = _all_specs() if specs is None else list(specs)
        self._keep_days = keep_days(self._specs, self._promises.retention)

    def round(
        self, names: Sequence[str] = (), *, dry_run: bool = False, thorough: bool = False
    ) -> Iterator[TableReport]:
        """Maintain the tables that exist (of those named) and say what was done to each, as soon as it is done.

        Raises:
            UsageError: there is no table of a name.
        """
        chosen = self._chosen(names)
        for spec in chosen:
            if self._lake.exists(spec.name):
                yield self._maintain(spec, dry_run=dry_run, thorough=thorough)

    def _chosen(self, names: Sequence[str]) -> list[TableSpec]:
        known = {spec.name: spec for spec in self._specs}
        for name in names:
            if name not in known:
                raise UsageError(f"there is no table {name}: known are {', '.join(sorted(known))}")
        return [known[name] for name in names] or self._specs

    def _maintain(self, spec: TableSpec, *, dry_run: bool, thorough: bool) -> TableReport:
        began = self._clock.machine_monotonic()
        upkeep = TableUpkeep(self._lake, spec, self._clock, self._policy(spec, thorough=thorough or dry_run))
        try:
            self._lake.check_table(spec.name)  # what a torn commit had written is found again only while it lies there
            report = upkeep.plan() if dry_run else upkeep.maintain()
        except (LakeError, *READ_ERRORS) as error:
            report = TableReport(table=spec.name, error=" ".join(str(error).split()))
        return replace(report, seconds=round(self._clock.machine_monotonic() - began, 3))

    def _policy(self, spec: TableSpec, *, thorough: bool) -> Policy:
        hours = self._promises.reader_hours if spec.upkeep.for_readers else self._promises.queue_reader_hours
        return Policy(keep_days=self._keep_days.get(spec.name), reader_hours=hours, thorough=thorough)


def check_retention(setting: str) -> None:
    """Make sure that the setting ``retention`` can be kept. Raises SettingsError."""
    keep_days(_all_specs(), setting)


def queue_days(setting: str) -> int | None:
    """How many days the queue keeps finished requests; None for ever. Raises SettingsError."""
    return keep_days(_all_specs(), setting).get(REQUESTS.name)


def _all_specs() -> list[TableSpec]:
    return [REQUESTS, *(table.spec for table in tables().values())]
