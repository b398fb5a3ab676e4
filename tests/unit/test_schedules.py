"""Schedules: cron and triggers give the right instants, slots their requests; bad files are refused all at once."""

import itertools
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from tests.unit.exchange_days import GLOBEX_DAYS, XNYS_DAYS

from v6.errors import SettingsError
from v6.request_types.catalogue import Catalogue
from v6.scheduler.capacity import capacity_of
from v6.scheduler.config_file import ConfigFile
from v6.scheduler.cron import Cron
from v6.scheduler.markets import listed_months
from v6.scheduler.schedule import Schedule
from v6.scheduler.schedule_file import ScheduleEntry, load_schedules
from v6.scheduler.trading_calendar import load_calendar
from v6.scheduler.triggers import Anchor, Daily, Weekly, WhileOpen

CATALOGUE = Catalogue.load()
NEW_YORK = ZoneInfo("America/New_York")
BERLIN = ZoneInfo("Europe/Berlin")
DOCS = Path(__file__).parents[2] / "docs" / "scheduler.md"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def schedules(text: str) -> list[Schedule]:
    return load_schedules(ConfigFile.parse(text, "v6.toml"), CATALOGUE)


def default(schedule_id: str) -> Schedule:
    return next(s for s in load_schedules(ConfigFile.read(None), CATALOGUE) if s.id == schedule_id)


@pytest.mark.parametrize(
    ("text", "after", "upto", "found"),
    [
        ("30 9 * * mon-fri", "2026-11-20", "2026-11-24", ["2026-11-20 14:30", "2026-11-23 14:30"]),
        ("0 12 1,15 * *", "2026-11-01", "2026-11-30", ["2026-11-01 17:00", "2026-11-15 17:00"]),
        ("0 0 13 * fri", "2026-11-01", "2026-11-14", ["2026-11-06 05:00", "2026-11-13 05:00"]),
        ("*/20 16 * nov 0", "2026-11-22", "2026-11-23", ["2026-11-22 21:00", "2026-11-22 21:20", "2026-11-22 21:40"]),
        ("0 12 29 2 *", "2026-01-01", "2029-01-01", ["2028-02-29 17:00"]),
    ],
)
def test_cron_comes_at_local_times(text: str, after: str, upto: str, found: list[str]) -> None:
    assert Cron.parse(text).instants(utc(after), utc(upto), NEW_YORK) == [utc(at) for at in found]


def test_a_local_time_that_is_skipped_runs_late_and_one_that_comes_twice_runs_once() -> None:
    cron = Cron.parse("30 2 * * *")
    spring = cron.instants(utc("2026-03-28 12:00"), utc("2026-03-29 12:00"), BERLIN)
    assert [at.astimezone(BERLIN).strftime("%H:%M") for at in spring] == ["03:30"]
    autumn = cron.instants(utc("2026-10-24 12:00"), utc("2026-10-25 12:00"), BERLIN)
    assert autumn == [utc("2026-10-25 00:30")]


@pytest.mark.parametrize("night", ["2026-03-29", "2026-10-25"])
def test_an_hour_of_any_follows_elapsed_time_through_both_nights(night: str) -> None:
    start = utc(f"{night} 00:00") - timedelta(hours=3)
    instants = Cron.parse("*/15 * * * *").instants(start, start + timedelta(hours=12), BERLIN)
    assert instants == [start + timedelta(minutes=15 * n) for n in range(1, 49)]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("* * * *", "has 4 fields, not 5"),
        ("61 * * * *", "minute '61' is not within 0 to 59"),
        ("1 25 0 * *", "hour '25' is not within 0 to 23, cron's day '0'"),
        ("* * * * mondays", "weekday 'mondays' cannot be read"),
        ("0 0 31 2,4 *", "never comes"),
        ("5-1 * * * *", "minute '5-1' is not within"),
        ("*/0 * * * *", "minute '*/0' is not within"),
    ],
)
def test_a_cron_that_is_wrong_is_named(text: str, named: str) -> None:
    with pytest.raises(ValueError, match=re.escape(named)):
        Cron.parse(text)


@pytest.mark.parametrize(("day", "opens", "closes"), [row[:3] for row in XNYS_DAYS])
def test_every_five_minutes_of_new_york_are_its_published_hours(
    day: str, opens: str | None, closes: str | None
) -> None:
    whole_day = datetime.fromisoformat(day).replace(tzinfo=NEW_YORK)
    windows = WhileOpen(minutes=5).windows(load_calendar("XNYS"), whole_day, whole_day + timedelta(days=1))
    if opens is None or closes is None:
        assert not windows
        return
    local = [window.at.astimezone(NEW_YORK) for window in windows]
    first, last = f"{local[0]:%H:%M}", f"{local[-1] + timedelta(minutes=5):%H:%M}"
    assert (first, last) == (opens, closes)
    assert all(b - a == timedelta(minutes=5) for a, b in itertools.pairwise(local))


@pytest.mark.parametrize(("day", "closes", "halt"), [(row[0], row[2], row[3]) for row in GLOBEX_DAYS])
def test_every_minute_of_globex_is_its_published_hours(day: str, closes: str | None, halt: str | None) -> None:
    evening = datetime.fromisoformat(day).replace(tzinfo=NEW_YORK) - timedelta(hours=6)
    windows = WhileOpen(minutes=1).windows(load_calendar("CME_EQUITY"), evening, evening + timedelta(hours=23.9))
    local = [window.at.astimezone(NEW_YORK) for window in windows]
    if closes is None:
        assert not [at for at in local if at.date() == date.fromisoformat(day)]
        return
    assert f"{local[-1] + timedelta(minutes=1):%H:%M}" == closes
    missing = int((local[-1] - local[0]) / timedelta(minutes=1)) + 1 - len(local)
    assert missing == (0 if halt is None else 15)


def test_history_of_every_hour_comes_when_the_hour_is_over_and_once_more_at_the_close() -> None:
    trigger = WhileOpen(minutes=60, looks_back=True)
    windows = trigger.windows(load_calendar("XNYS"), utc("2026-11-24 00:00"), utc("2026-11-25 00:00"))
    assert [f"{w.at:%H:%M}" for w in windows] == ["15:30", "16:30", "17:30", "18:30", "19:30", "20:30", "21:00"]
    assert windows[0].start == utc("2026-11-24 14:30")


def test_windows_do_not_depend_on_how_a_range_is_cut() -> None:
    start, end = utc("2026-11-23"), utc("2026-11-30")
    for schedule in load_schedules(ConfigFile.read(None), CATALOGUE):
        whole = [slot.key for slot in schedule.slots(start, end)]
        step = timedelta(hours=5, minutes=7)
        cuts = [start + n * step for n in range(34)]
        pieces = [
            slot.key
            for a, b in zip(cuts, [*cuts[1:], end], strict=True)
            if a < end
            for slot in schedule.slots(a, min(b, end))
        ]
        assert pieces == whole, schedule.id


def test_daily_and_weekly_triggers_count_from_the_real_close() -> None:
    calendar = load_calendar("XNYS")
    week = utc("2026-11-23"), utc("2026-11-30")
    closes = Daily(anchor=Anchor.CLOSE, minutes=15).windows(calendar, *week)
    assert [f"{w.at:%d %H:%M}" for w in closes] == ["23 21:15", "24 21:15", "25 21:15", "27 18:15"]
    before = Daily(anchor=Anchor.BEFORE_CLOSE, minutes=240).windows(calendar, *week)
    assert [f"{w.at:%d %H:%M}" for w in before] == ["23 17:00", "24 17:00", "25 17:00"]  # the half day is too short
    (weekly,) = Weekly(minutes=30).windows(calendar, *week)
    assert (weekly.at, weekly.start, weekly.end) == (
        utc("2026-11-27 18:30"),
        utc("2026-11-23 14:30"),
        utc("2026-11-27 18:00"),
    )


def test_a_slot_of_history_asks_for_its_own_session_however_late_it_runs() -> None:
    (slot, *_) = default("five-minute-bars").slots(utc("2026-11-27"), utc("2026-11-28"))
    assert slot.key == "slot/five-minute-bars/SPY/2026-11-27T18:20:00Z"
    assert slot.parameters() == {
        "bar_size": "5 mins",
        "start": "2026-11-27T14:30:00+00:00",
        "end": "2026-11-27T18:00:00+00:00",
    }
    CATALOGUE.check(slot.request())


def test_futures_are_asked_month_by_month() -> None:
    slots = default("futures-five-minute-bars").slots(utc("2026-12-17"), utc("2026-12-18"))
    assert [(slot.symbol, slot.month) for slot in slots][:2] == [("ES", "202612"), ("ES", "202703")]
    assert listed_months("ES", date(2026, 12, 18), 1) == ["202612"]
    assert listed_months("ES", date(2026, 12, 19), 1) == ["202703"]
    assert listed_months("ES", date(2026, 6, 18), 1) == ["202606"]
    assert listed_months("ES", date(2026, 6, 19), 1) == ["202609"]  # the third Friday is a holiday


def test_the_default_set_is_sound_and_fits_the_limits() -> None:
    found = load_schedules(ConfigFile.read(None), CATALOGUE)
    for schedule in found:
        for slot in schedule.slots(utc("2026-11-23"), utc("2026-11-24")):
            CATALOGUE.check(slot.request())
    assert capacity_of(found, market_data_lines=100).fits


def test_what_does_not_fit_is_shown_with_its_arithmetic() -> None:
    text = '[[schedules]]\nid = "a"\nrequest_type = "option_chain"\nsymbols = ["SPY"]\nevery_minutes = 1'
    capacity = capacity_of(schedules(text), market_data_lines=100)
    assert not capacity.fits
    assert "a 4,820 messages every 1 min = 80.3/s; together 80.3 of 50 messages/s (161%" in capacity.describe()
    assert capacity_of(schedules(text), market_data_lines=100, contracts={"a/SPY": 100}).fits


BAD = """
lake = "somewhere"

[[schedules]]
id = "chains"
request_type = "option_chane"
symbols = ["SPY"]
every_minutes = 5

[[schedules]]
id = "chains"
request_type = "option_chain"
symbols = ["SPY"]
cron = "0 0 31 2 *"
time_zone = "America/Nowhere"
calendar = "XNSY"

[[schedules]]
id = "two"
request_type = "option_chain"
symbols = ["SPY", "spy"]
every_minutes = 5
cron = "* * * * *"
prio = 3

[[schedules]]
id = "wide"
request_type = "option_chain"
symbols = ["SPY"]
every_minutes = "often"
parameters = { dtee = 4 }
"""


def test_everything_that_is_wrong_is_listed_at_once_with_file_and_line() -> None:
    with pytest.raises(SettingsError) as caught:
        schedules(BAD)
    text = str(caught.value)
    assert "\n" not in text
    for wanted in (
        "10 things are wrong",
        "v6.toml:6: request_type 'option_chane' is not known",
        "v6.toml:11: id 'chains' is taken by the schedule at v6.toml:5",
        "v6.toml:14: cron '0 0 31 2 *' never comes",
        "v6.toml:15: time zone 'America/Nowhere' is not known",
        "v6.toml:16: calendar 'XNSY' is not known",
        "v6.toml:21: symbol 'spy' is not one IB knows: write SPY",
        "v6.toml:23: it needs one trigger of",
        "v6.toml:24: there is no key 'prio': did you mean priority?",
        "v6.toml:30: every_minutes: ",
        "v6.toml:31: parameters.dtee is unknown",
    ):
        assert wanted in text


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ("every_minutes = -5", ["every_minutes: input should be greater than or equal to 0.05"]),
        ("every_minutes = 5\ndeadline_minutes = 0", ["deadline_minutes: input should be greater than 0"]),
        ("every_minutes = 5\npriority = 7", ["priority: input should be less than or equal to 3"]),
        ("every_minutes = 5\ncatch_up = 'some'", ["catch_up: input should be 'all', 'last' or 'none'"]),
        ("every_minutes = 5\nsymbols = ['SPY', 'SPY']", ["symbols: SPY stands there more than once"]),
        ("every_minutes = 5\nsymbols = ['SPY', '', 'qqq']", ["symbol is missing", "symbol 'qqq'"]),
        ("every_minutes = 5\nsymbols = []", ["symbols: list should have at least 1 item"]),
        ("every_minutes = 5\ncron = '* * *'", ["it needs one trigger of", "has 3 fields, not 5"]),
        ("every_minutes = 5\nclosed_market = true", ["closed_market goes with cron"]),
        ("", ["it needs one trigger of"]),
    ],
)
def test_each_value_that_is_wrong_is_named(lines: str, named: list[str]) -> None:
    symbols = "" if "symbols" in lines else "symbols = ['SPY']"
    with pytest.raises(SettingsError) as caught:
        schedules(f"[[schedules]]\nid = 'a'\nrequest_type = 'option_chain'\n{symbols}\n{lines}")
    for text in named:
        assert text in str(caught.value)


def test_months_that_are_not_known_are_named_beside_other_wrongs_and_without_an_id() -> None:
    text = (
        "[[schedules]]\nrequest_type = 'market_bars'\nsymbols = ['CL']\nmonths = 2\nminutes_after_close = 5\n"
        "calendar = 'CME_EQUITY'\nparameters = { sec_type = 'FUT', bar_size = '7 mins' }"
    )
    with pytest.raises(SettingsError) as caught:
        schedules(text)
    for named in (
        "v6.toml:1: id: field required",
        "v6.toml:4: the listed months of CL",
        "v6.toml:7: parameters.bar_size",
    ):
        assert named in str(caught.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("schedules = 3", "v6.toml:1: schedules must be tables"),
        ('[[schedules]]\nid = "a b"\nrequest_type = "option_chain"\nevery_minutes = 5', "v6.toml:2: id: "),
        ("[[schedules]]\nevery_minutes = 5", "v6.toml:1: id: field required"),
    ],
)
def test_files_of_another_form_are_refused(text: str, named: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(named)):
        schedules(text)


def test_no_schedules_at_all_are_none() -> None:
    assert schedules("schedules = []") == []


def test_every_key_is_documented() -> None:
    rows = {line.split("|")[1].strip() for line in DOCS.read_text().splitlines() if line.startswith("| `")}
    assert {f"`{name}`" for name in ScheduleEntry.model_fields} <= rows
    for name, info in ScheduleEntry.model_fields.items():
        assert f"| `{name}` | {info.description} |" in DOCS.read_text()
