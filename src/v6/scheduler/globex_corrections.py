"""What CME Globex equity futures did that pandas_market_calendars' "CME Globex Equity" does not say.

- Until 2015-09-18 a regular session ended at 17:15 New York time; since 2015-09-21 it ends at 17:00
  (atas.net, "New changes on CME trading session").
- Until 2021-06-25 trading halted from 16:15 to 16:30 on days with a regular close; since 2021-06-28 it does not
  (CME Group, equity index trading hours; "Equity Index Later Close for CME Globex Trading Day", 2012, has the halt).
- Good Friday is closed but when the employment report falls on it, which is on the first Friday of April; the library
  lets 2024, 2025 and every year after 2026 trade until 09:15 (Barron's, 2025-04-18: "CME Globex trading platform will
  be closed on April 18").
- The days of mourning 2018-12-05 and 2025-01-09 ended at 09:30 (CME Group, press releases of 2018-12-02 and
  2024-12-30).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
EARLIER_CLOSE_FROM = date(2015, 9, 21)
NO_HALT_FROM = date(2021, 6, 28)
REGULAR_CLOSE = time(17, 0)
FORMER_CLOSE = time(17, 15)
HALT = time(16, 15), time(16, 30)
GOOD_FRIDAY_CLOSE = time(9, 15)
SPECIAL_CLOSES = {date(2018, 12, 5): time(9, 30), date(2025, 1, 9): time(9, 30)}

Halts = tuple[tuple[datetime, datetime], ...]


def corrected_globex_session(day: date, closes: datetime) -> tuple[datetime, Halts] | None:
    """The close (UTC) and the halts of a session that the library lists, None where there was none."""
    close = closes.astimezone(NEW_YORK).time()
    if close == GOOD_FRIDAY_CLOSE and not (day.month == 4 and day.day <= 7):
        return None
    if day in SPECIAL_CLOSES:
        return _at(day, SPECIAL_CLOSES[day]), ()
    is_regular = close == REGULAR_CLOSE
    if is_regular and day < EARLIER_CLOSE_FROM:
        closes = _at(day, FORMER_CLOSE)
    halts = ((_at(day, HALT[0]), _at(day, HALT[1])),) if is_regular and day < NO_HALT_FROM else ()
    return closes, halts


def _at(day: date, at: time) -> datetime:
    return datetime.combine(day, at, NEW_YORK).astimezone(UTC)
