"""How long rows are kept: days by table, machine time, from the tables' own defaults and the setting ``retention``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

import polars as pl

from v6.data.delta import DataFile, Partition
from v6.data.ib_request import REQUESTS
from v6.data.table_spec import TableSpec
from v6.errors import SettingsError

MOST_DAYS = 100_000
SLACK = timedelta(days=1)  # a file with few old rows is not written anew for each of them


def keep_days(specs: Iterable[TableSpec], setting: str) -> dict[str, int]:
    """Days by table for those whose rows are not kept for ever; ``setting`` is ``TABLE=DAYS, …`` and 0 is for ever.

    Raises:
        SettingsError: the setting names a table that is not there or cannot lose rows; the text names it.
    """
    known = {spec.name: spec for spec in specs}
    days = {name: spec.upkeep.keep_days for name, spec in known.items() if spec.upkeep.keep_days is not None}
    for entry in filter(None, (part.strip() for part in setting.replace(",", " ").split())):
        name, _, number = entry.partition("=")
        if name not in known:
            raise SettingsError(f"retention names {name}, which is no table: known are {', '.join(sorted(known))}")
        if not may_lose_rows(known[name]):
            raise SettingsError(f"retention: the rows of {name} are kept for ever, for its newest ones say how it is")
        if not number.isdecimal() or int(number) > MOST_DAYS:
            raise SettingsError(
                f"retention: {entry!r} must be TABLE=DAYS, such as ib_requests=90, at most {MOST_DAYS:,}; 0 is for ever"
            )
        days[name] = int(number)
    return {name: number for name, number in days.items() if number}


def may_lose_rows(spec: TableSpec) -> bool:
    """True where old rows say nothing about how things are now: days of results, states and requests, and bars."""
    return "date" in spec.partition_by or (bool(spec.partition_by) and "known_at" in spec.schema)


def by_day(spec: TableSpec) -> bool:
    """True where whole days go."""
    return "date" in spec.partition_by


def expired_days(
    parts: Mapping[Partition, list[DataFile]], before: datetime
) -> Iterator[tuple[Partition, list[DataFile]]]:
    """The days of whose files none has a row that was written since an instant (machine time)."""
    limit = before.timestamp() * 1000
    for partition, files in parts.items():
        if max(file.modified_ms for file in files) < limit:
            yield partition, files


def files_with_old_rows(files: Iterable[DataFile], before: datetime) -> Iterator[DataFile]:
    """The files of which some rows were known before an instant, by more than a day."""
    for file in files:
        first = file.statistics.get("min.known_at")
        if first is not None and first < before - SLACK:
            yield file


def since(rows: pl.DataFrame, moment: datetime) -> pl.DataFrame:
    """The rows known since an instant (machine time)."""
    return rows.filter(pl.col("known_at") >= moment)


def is_queue(spec: TableSpec) -> bool:
    """The queue keeps what is open, however old."""
    return spec.name == REQUESTS.name
