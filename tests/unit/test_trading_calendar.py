"""The calendars equal the exchanges' published hours, and both libraries agree but for what is explained."""

import itertools
import warnings
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from tests.unit.exchange_days import GLOBEX_DAYS, XNYS_DAYS

from v6.errors import SettingsError
from v6.scheduler.globex_corrections import CLOSED, EARLIER_CLOSE_FROM, NO_HALT_FROM, SPECIAL_CLOSES
from v6.scheduler.trading_calendar import Session, TradingCalendar, calendar_names, load_calendar

NEW_YORK = ZoneInfo("America/New_York")
FIRST, LAST = date(2015, 1, 1), date(2026, 12, 31)


def new_york(day: str, at: str) -> datetime:
    evening_before = at.startswith("-")
    hour, minute = map(int, at.removeprefix("-").split(":"))
    local = date.fromisoformat(day) - timedelta(days=1 if evening_before else 0)
    return datetime(local.year, local.month, local.day, hour, minute, tzinfo=NEW_YORK).astimezone(UTC)


def test_thirty_days_each_are_written_by_hand() -> None:
    assert len({day for day, *_ in XNYS_DAYS}) == len({day for day, *_ in GLOBEX_DAYS}) == 30
    assert all(day[-1] for day in [*XNYS_DAYS, *GLOBEX_DAYS])


@pytest.mark.parametrize(("day", "opens", "closes", "source"), XNYS_DAYS, ids=lambda value: str(value)[:10])
def test_new_york_trades_as_it_published(day: str, opens: str | None, closes: str | None, source: str) -> None:
    session = load_calendar("XNYS").session_of(date.fromisoformat(day))
    if opens is None or closes is None:
        assert session is None, source
    else:
        assert session is not None, source
        assert (session.opens, session.closes) == (new_york(day, opens), new_york(day, closes)), source


@pytest.mark.parametrize(("day", "opens", "closes", "halt", "source"), GLOBEX_DAYS, ids=lambda value: str(value)[:10])
def test_globex_trades_as_cme_published(
    day: str, opens: str | None, closes: str | None, halt: str | None, source: str
) -> None:
    session = load_calendar("CME_EQUITY").session_of(date.fromisoformat(day))
    if opens is None or closes is None:
        assert session is None, source
        return
    assert session is not None, source
    assert (session.opens, session.closes) == (new_york(day, opens), new_york(day, closes)), source
    halts = () if halt is None else (tuple(new_york(day, at) for at in halt.split("-")),)
    assert session.halts == halts, source


def sessions_of(calendar: TradingCalendar) -> list[Session]:
    return [session for session in calendar.sessions if FIRST <= session.day <= LAST]


def of_library(name: str) -> dict[date, tuple[datetime, datetime]]:
    import pandas_market_calendars

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both libraries warn of pandas 4
        table = pandas_market_calendars.get_calendar(name).schedule(FIRST.isoformat(), LAST.isoformat())
        rows = zip(table.index, table["market_open"], table["market_close"], strict=True)
        return {d.date(): (o.to_pydatetime(), c.to_pydatetime()) for d, o, c in rows}


def test_both_libraries_agree_on_every_session_of_new_york() -> None:
    ours = sessions_of(load_calendar("XNYS"))
    assert {s.day: (s.opens, s.closes) for s in ours} == of_library("NYSE")
    assert len(ours) == 3017
    assert sum((s.closes - s.opens) // timedelta(minutes=1) for s in ours) == 1_172_130


def test_globex_differs_from_its_library_only_where_that_is_explained() -> None:
    ours = {s.day: s for s in sessions_of(load_calendar("CME_EQUITY"))}
    theirs = of_library("CME Globex Equity")
    assert theirs.keys() - ours.keys() == CLOSED
    assert not ours.keys() - theirs.keys()
    moved = {day for day, session in ours.items() if session.closes != theirs[day][1]}
    later = {day for day in moved if ours[day].closes - theirs[day][1] == timedelta(minutes=15)}
    assert moved - later == set(SPECIAL_CLOSES)
    assert max(later) < EARLIER_CLOSE_FROM
    assert all(session.opens == theirs[day][0] for day, session in ours.items())
    assert max(day for day, session in ours.items() if session.halts) < NO_HALT_FROM


def test_every_difference_of_the_other_library_on_globex_is_explained() -> None:
    """exchange_calendars' CMES: no hour of rest, half days at 13:00 always, and some are missing."""
    theirs = minutes_of_cmes()
    ours = {s.day: s for s in sessions_of(load_calendar("CME_EQUITY"))}
    assert not theirs.keys() - ours.keys()
    reports = {date(2015, 4, 3), date(2021, 4, 2), date(2023, 4, 7), date(2026, 4, 3)}  # Good Fridays until 09:15
    assert {day for day in ours if day not in theirs} == reports | SPECIAL_CLOSES.keys()
    both = Counter((length_of(ours[day]), minutes) for day, minutes in theirs.items())
    whole, half, quarter_later = 23 * 60, 19 * 60, 19 * 60 + 15
    assert both.pop((half, half)) == 72  # the same
    assert both.pop((whole, 1440)) == 2812  # the hour from 17:00 to 18:00 counts as trading there
    assert both.pop((whole + 15, 1440)) == 180  # until 2015-09-18 the rest lasted 45 minutes
    assert both.pop((quarter_later, half)) == 19  # eves of holidays end at 13:15
    assert both.pop((quarter_later, 1440)) == 6  # the eve of 4 July
    assert both.pop((half, 1440)) == 5  # Juneteenth
    assert not both


def minutes_of_cmes() -> dict[date, int]:
    import exchange_calendars

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = exchange_calendars.get_calendar("CMES", start=FIRST.isoformat(), end=LAST.isoformat())
        lengths = (source.closes_nanos - source.opens_nanos) // 60_000_000_000
    return {stamp.date(): minutes for stamp, minutes in zip(source.sessions, lengths.tolist(), strict=True)}


def length_of(session: Session) -> int:
    return (session.closes - session.opens) // timedelta(minutes=1)


def test_sessions_follow_each_other_without_overlap() -> None:
    for name in calendar_names():
        sessions = load_calendar(name).sessions
        assert all(s.opens < s.closes for s in sessions)
        assert all(a.closes <= b.opens for a, b in itertools.pairwise(sessions))


def test_a_market_is_closed_at_its_close_and_in_its_halt() -> None:
    calendar = load_calendar("CME_EQUITY")
    assert calendar.is_open(new_york("2021-06-25", "16:14"))
    assert not calendar.is_open(new_york("2021-06-25", "16:15"))
    assert calendar.is_open(new_york("2021-06-25", "16:30"))
    assert not calendar.is_open(new_york("2021-06-25", "17:00"))
    assert calendar.is_open(new_york("2021-06-28", "16:15"))


@pytest.mark.parametrize(("sunday", "hours"), [("2026-03-08", 23), ("2026-11-01", 25)])
def test_the_weekend_of_a_clock_change_keeps_both_sides_at_their_local_times(sunday: str, hours: int) -> None:
    calendar = load_calendar("CME_EQUITY")
    at = datetime.fromisoformat(sunday).replace(hour=12, tzinfo=UTC)
    before, after = calendar.last_closed(at), calendar.next_session(at)
    assert before.closes.astimezone(NEW_YORK).hour == 17
    assert after.opens.astimezone(NEW_YORK).hour == 18
    assert after.opens - before.closes == timedelta(days=1, hours=hours + 1)


def test_seconds_open_leave_out_the_night_and_the_halt() -> None:
    calendar = load_calendar("CME_EQUITY")
    start, end = new_york("2021-06-24", "16:00"), new_york("2021-06-25", "17:00")
    assert calendar.seconds_open(start, end) == (24 - 0.5) * 3600  # two halts of a quarter, one hour closed


def test_what_a_calendar_does_not_know_is_said() -> None:
    with pytest.raises(SettingsError, match="'XNSY' is not known: it is one of ALWAYS"):
        load_calendar("XNSY")
    with pytest.raises(SettingsError, match="is known from 2000-01-03 to 2046-12-31 only"):
        load_calendar("XNYS").is_open(datetime(2050, 1, 1, tzinfo=UTC))
