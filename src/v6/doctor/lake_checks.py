"""The lake: folder, disk, tables and when they last grew."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from v6.clock import Clock
from v6.data.lake import Lake
from v6.data.lake_repair import all_tables
from v6.data.table_summary import TableSummary, summarise, wrong_file
from v6.doctor.finding import Finding, ok, problem, skipped, warning
from v6.errors import LakeError

FULL_SOON_DAYS = 14.0
LONG_DAYS = 3653.0
LEAST_FREE_BYTES = 2**30
FULL_BYTES = 8 * 2**20  # less, and a commit can fail
DAY = timedelta(days=1)


def lake_checks(lake: Lake, clock: Clock) -> Iterator[Finding]:
    """Folder, disk and each table."""
    try:
        lake.check_usable()
    except LakeError as error:
        yield problem("lake", str(error), "correct --lake or V6_LAKE, or the folder's permissions")
        yield skipped("tables", "the lake cannot be used")
        return
    yield ok("lake", f"{lake.url} can be written")
    if lake.is_local:
        yield disk_check(Path(lake.url), clock)
    names = all_tables(lake)
    if not names:
        yield warning("tables", "there are none yet", "submit a request and run `v6 worker`, or try `v6 demo`")
    for name in names:
        yield _table(lake, name)


def disk_check(folder: Path, clock: Clock) -> Finding:
    """Free space, and how many days it lasts at the last day's rate (machine time)."""
    free = shutil.disk_usage(folder).free
    since = (clock.machine_now() - DAY).timestamp()
    grown = 0
    for path in folder.rglob("*"):
        try:
            found = path.stat()
        except FileNotFoundError:  # vacuumed while we look
            continue
        if path.is_file() and found.st_mtime >= since:
            grown += found.st_size
    seen = f"{_size(free)} free; {_size(grown)} written in the last day"
    if free < FULL_BYTES:
        return problem("disk", f"full: {seen}", "make room, run `v6 maintain`, or move the lake to a larger disk")
    days = free / grown if grown else float("inf")
    if free < LEAST_FREE_BYTES or days < FULL_SOON_DAYS:
        when = "" if days == float("inf") else f", full in {days:.1f} days at this rate"
        return warning("disk", f"{seen}{when}", "make room, run `v6 maintain`, or move the lake to a larger disk")
    lasts = f"{days:,.0f} days" if days < LONG_DAYS else "more than ten years"
    return ok("disk", f"{seen}, enough for {lasts} at this rate")


def _table(lake: Lake, name: str) -> Finding:
    check = f"table {name}"
    advice = "run `v6 doctor --tables`: it says what is broken and can repair it"
    try:
        found, wrong = summarise(lake, name), wrong_file(lake, name)
    except LakeError as error:
        return problem(check, str(error), advice)
    if wrong is not None:
        return problem(check, wrong, advice)
    return ok(check, f"{found.rows:,} rows in {found.files:,} files, last changed {_when(found)}")


def _when(found: TableSummary) -> str:
    return "never" if found.updated_at is None else f"{found.updated_at:%Y-%m-%d %H:%M:%S} UTC"


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
