"""The calendars equal the exchanges' published hours, and both libraries agree but for what is explained."""

import itertools
import warnings
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from tests.unit.exchange_days import GLOBEX_DAYS, XNYS_DAYS

from v6.errors import SettingsError
from v6.scheduler.globex_corrections import NO_HALT_FROM
from v6.scheduler.trading_calendar import Session, TradingCalendar, calendar_names, load_calendar

NEW_YORK = ZoneInfo("America/New_York")
DOCS = Path(__file__).parents[2] / "docs" / "calendars.md"
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


def words_of(opens: datetime, closes: datetime, halts: Sequence[tuple[datetime, datetime]] = ()) -> str:
    """New York's times as docs/calendars.md writes them."""

    def span(start: datetime, end: datetime) -> str:
        return f"{start.astimezone(NEW_YORK):%H:%M}–{end.astimezone(NEW_YORK):%H:%M}"

    return ", halt ".join([span(opens, closes), *(span(*halt) for halt in halts)])


def differences(library: dict[date, tuple[datetime, datetime]]) -> set[tuple[int, str, str, str, str]]:
    """Every kind of difference from a library: days, first, last, what it says, what we say."""
    theirs = {day: words_of(*hours) for day, hours in library.items()}
    ours = {s.day: words_of(s.opens, s.closes, s.halts) for s in sessions_of(load_calendar("CME_EQUITY"))}
    kinds: dict[tuple[str, str], list[date]] = {}
    for day in sorted(theirs.keys() | ours.keys()):
        pair = theirs.get(day, "closed"), ours.get(day, "closed")
        if pair[0] != pair[1]:
            kinds.setdefault(pair, []).append(day)
    return {(len(days), str(days[0]), str(days[-1]), *pair) for pair, days in kinds.items()}


def explained(table: str) -> set[tuple[int, str, str, str, str]]:
    """The rows of one table of differences in docs/calendars.md; each must say why."""
    _, _, rest = DOCS.read_text(encoding="utf-8").partition(f"<!-- differences: {table} -->")
    rows = [line.strip("|").split("|") for line in rest.partition("<!--")[0].splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in row] for row in rows[1:]]
    assert all(len(row) == 6 and len(row[5]) > 10 for row in cells)
    return {(int(row[0]), row[1], row[2], row[3], row[4]) for row in cells}


def of_cmes() -> dict[date, tuple[datetime, datetime]]:
    import exchange_calendars

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = exchange_calendars.get_calendar("CMES", start=FIRST.isoformat(), end=LAST.isoformat())
        rows = zip(source.sessions, source.opens_nanos.tolist(), source.closes_nanos.tolist(), strict=True)
        return {
            d.date(): (datetime.fromtimestamp(o // 10**9, UTC), datetime.fromtimestamp(c // 10**9, UTC))
            for d, o, c in rows
        }


@pytest.mark.parametrize("table", ["CME Globex Equity", "CMES"])
def test_every_difference_of_a_library_on_globex_is_explained_in_the_docs(table: str) -> None:
    library = of_cmes() if table == "CMES" else of_library(table)
    assert differences(library) == explained(table)


def test_the_corrections_of_globex_are_the_days_that_differ() -> None:
    ours = {s.day for s in sessions_of(load_calendar("CME_EQUITY"))}
    assert len(ours) == 3100
    assert of_library("CME Globex Equity").keys() - ours == {date(2024, 3, 29), date(2025, 4, 18)}
    halted = [s.day for s in sessions_of(load_calendar("CME_EQUITY")) if s.halts]
    assert max(halted) < NO_HALT_FROM


def test_on_good_fridays_globex_trades_only_when_the_employment_report_comes() -> None:
    days = ("2027-03-26", "2028-04-14", "2029-03-30", "2034-04-07", "2037-04-03", "2046-03-23")
    traded = [day for day in days if load_calendar("CME_EQUITY").session_of(date.fromisoformat(day)) is not None]
    assert traded == ["2034-04-07", "2037-04-03"]  # the first Fridays of April


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
