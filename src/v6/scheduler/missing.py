"""What a schedule would have brought over a range of days and the ledger does not have."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from v6.data.coverage import HOLES, CoverageRow, CoverageState, CoverageTable, Interval, row_of
from v6.scheduler.schedule import Schedule
from v6.scheduler.series import intervals_of

MARGIN = timedelta(days=10)  # a slot comes at most a week after the sessions that it stands for
REASON = "asked by hand for a range"


def missing_of(
    schedule: Schedule, days: tuple[date, date], table: CoverageTable, *, now: datetime
) -> list[CoverageRow]:
    """One row for each interval of these trading dates that is over and neither there nor awaited. Blocks.

    Raises:
        SettingsError: the days lie outside those that the calendar knows.
    """
    stored = [row_of(row) for row in table.current(first=days[0], last=days[1]).collect().iter_rows(named=True)]
    done = {row.interval.key for row in stored if row.state not in HOLES}
    return [
        CoverageRow(interval=interval, state=CoverageState.NEVER_ASKED, reason=REASON, schedule_id=schedule.id)
        for interval in _expected(schedule, days)
        if interval.interval_end <= now and interval.key not in done
    ]


def _expected(schedule: Schedule, days: tuple[date, date]) -> list[Interval]:
    """Every interval of the schedule on these trading dates, each once."""
    first, last = (datetime.combine(day, time(), UTC) for day in days)
    slots = schedule.slots(first - timedelta(days=1), last + MARGIN)
    found = {interval.key: interval for slot in slots for interval in intervals_of(slot)}
    return [interval for interval in found.values() if days[0] <= interval.date <= days[1]]
