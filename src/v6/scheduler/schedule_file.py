"""Reads schedules from ``v6.toml``, or the default set, and refuses bad ones: all at once, with file and line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from difflib import get_close_matches
from importlib.resources import files
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from v6.data.ib_request import NewRequest
from v6.errors import RequestError, SettingsError
from v6.request_types.catalogue import Catalogue
from v6.scheduler.config_file import ConfigFile, complaints
from v6.scheduler.cron import Cron
from v6.scheduler.markets import calendar_of, listed_months
from v6.scheduler.schedule import CatchUp, Overlap, Schedule
from v6.scheduler.trading_calendar import FIRST_DAY, load_calendar
from v6.scheduler.triggers import Anchor, ByCron, Daily, Trigger, Weekly, WhileOpen

SECTION = "schedules"
DEFAULTS = "default_schedules.toml"
UNNAMED = "unnamed"  # stands for an id that cannot be read while the rest is judged
DEFAULT_ZONE = "America/New_York"
Minutes = Annotated[float, Field(gt=0, le=7 * 24 * 60, allow_inf_nan=False)]
Period = Annotated[float, Field(ge=0.05, le=7 * 24 * 60, allow_inf_nan=False)]  # slots are told apart by the second
Offset = Annotated[float, Field(ge=0, le=7 * 24 * 60, allow_inf_nan=False)]


class ScheduleEntry(BaseModel):
    """One ``[[schedules]]`` as written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64, description="its name; letters, digits, dot, dash, _"
    )
    request_type: str = Field(description="what is asked: a request type")
    symbols: list[str] = Field(default=[""], min_length=1, description="one request a symbol; without it one for all")
    every_minutes: Period | None = Field(None, description="trigger: every so many minutes from the session's open")
    cron: str | None = Field(None, description="trigger: minute hour day month weekday, in time_zone")
    minutes_after_open: Offset | None = Field(None, description="trigger: so long after each open")
    minutes_before_close: Minutes | None = Field(None, description="trigger: so long before each close")
    minutes_after_close: Offset | None = Field(None, description="trigger: so long after each close")
    minutes_after_week: Offset | None = Field(None, description="trigger: so long after the week's last close")
    calendar: str | None = Field(None, description="the market's calendar; without it the symbols' own")
    time_zone: str = Field(DEFAULT_ZONE, description="of cron, and of the local times that are shown")
    closed_market: bool = Field(False, description="cron: also while the market is closed")
    priority: Annotated[int, Field(ge=1, le=3)] | None = Field(None, description="1, 2 or 3; without it the type's")
    parameters: dict[str, Any] = Field(default={}, description="the request type's parameters")
    months: Annotated[int, Field(ge=1, le=8)] | None = Field(
        None, description="bars of futures: the nearest so many listed months, each a request"
    )
    catch_up: CatchUp = Field(CatchUp.LAST, description="missed slots: all, last or none are run")
    overlap: Overlap = Field(Overlap.SKIP, description="while the last one is unfinished: skip or queue")
    deadline_minutes: Minutes | None = Field(None, description="it expires when not begun so long after its slot")


TRIGGERS = (
    "every_minutes",
    "cron",
    "minutes_after_open",
    "minutes_before_close",
    "minutes_after_close",
    "minutes_after_week",
)


def load_schedules(config: ConfigFile, catalogue: Catalogue) -> list[Schedule]:
    """The file's schedules; where it has none, the default set.

    Raises:
        SettingsError: at least one is bad; the text lists all that is wrong, each with file and line.
    """
    if SECTION not in config.values:
        config = default_config()
    wrong: list[str] = []
    found = []
    ids: dict[str, str] = {}
    for index, raw in enumerate(config.entries(SECTION)):
        place = config.place(SECTION, index, "id")
        name = str(raw.get("id"))
        if name in ids:
            wrong.append(f"{place}: id {name!r} is taken by the schedule at {ids[name]}")
        ids.setdefault(name, place)
        schedule, problems = _read(raw, config, index, catalogue)
        wrong += problems
        if schedule is not None:
            found.append(schedule)
    if wrong:
        raise SettingsError(f"{len(wrong)} things are wrong with the schedules: " + "; ".join(wrong))
    return found


def _read(
    raw: Mapping[str, Any], config: ConfigFile, index: int, catalogue: Catalogue
) -> tuple[Schedule | None, list[str]]:
    """One entry as a schedule, or what is wrong with it: what can be read is judged even when other keys cannot."""
    known = {key: value for key, value in raw.items() if key in ScheduleEntry.model_fields}
    wrong = [f"{config.place(SECTION, index, key)}: {_unknown_key(key)}" for key in raw if key not in known]
    unread = set[str]()
    try:
        entry = ScheduleEntry.model_validate(known)
    except ValidationError as error:
        wrong += complaints(error, config, SECTION, index)
        unread = {str(problem["loc"][0]) for problem in error.errors()}
        if "request_type" in unread:
            return None, wrong
        readable = {key: value for key, value in known.items() if key not in unread}
        entry = ScheduleEntry.model_validate({"id": UNNAMED, **readable})
    reader = _Reader(entry, catalogue, unread)
    schedule = reader.schedule()
    wrong += [f"{config.place(SECTION, index, key)}: {text}" for key, text in reader.wrong]
    return (None if wrong else schedule), wrong


def _unknown_key(key: str) -> str:
    near = get_close_matches(key, ScheduleEntry.model_fields, n=1)
    return f"there is no key {key!r}{f': did you mean {near[0]}?' if near else ''}"


def default_config() -> ConfigFile:
    """The schedules that ship."""
    return ConfigFile.parse(files("v6.scheduler").joinpath(DEFAULTS).read_text(encoding="utf-8"), DEFAULTS)


class _Reader:
    """Makes one entry a schedule, gathering what is wrong by key."""

    def __init__(self, entry: ScheduleEntry, catalogue: Catalogue, unread: Collection[str]) -> None:
        self._entry = entry
        self._unread = unread
        self._catalogue = catalogue
        self.wrong: list[tuple[str, str]] = []

    def schedule(self) -> Schedule | None:
        """The schedule, None when something is wrong with it."""
        entry = self._entry
        zone = self._zone()
        is_history = self._is_history()
        self._check_requests()
        calendar = self._calendar()
        self._check_trigger()
        trigger = self._trigger(zone, is_history=is_history)
        if self.wrong or zone is None or calendar is None or trigger is None:
            return None
        return Schedule(
            id=entry.id,
            request_type=entry.request_type,
            symbols=tuple(entry.symbols),
            trigger=trigger,
            calendar_name=calendar,
            zone=zone,
            is_history=is_history,
            asks_by_day=asks_by_day(self._catalogue, entry.request_type),
            priority=entry.priority,
            parameters=entry.parameters,
            months=entry.months,
            catch_up=entry.catch_up,
            overlap=entry.overlap,
            deadline_minutes=entry.deadline_minutes,
        )

    def _zone(self) -> ZoneInfo | None:
        try:
            return ZoneInfo(self._entry.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self.wrong.append(
                ("time_zone", f"time zone {self._entry.time_zone!r} is not known: America/New_York, UTC, …")
            )
            return None

    def _is_history(self) -> bool:
        try:
            return is_history(self._catalogue, self._entry.request_type)
        except RequestError as error:
            self.wrong.append(("request_type", str(error)))
            return False

    def _check_requests(self) -> None:
        entry = self._entry
        if any(key == "request_type" for key, _ in self.wrong) or "symbols" in self._unread:
            return
        twice = sorted(symbol for symbol, count in Counter(entry.symbols).items() if count > 1)
        if twice:
            self.wrong.append(("symbols", f"symbols: {', '.join(twice)} stands there more than once"))
        for symbol in entry.symbols:
            self._note("parameters", self._check_request, symbol)
            if entry.months is not None:
                self._note("months", lambda symbol: listed_months(symbol, FIRST_DAY, 1), symbol)

    def _check_request(self, symbol: str) -> None:
        entry = self._entry
        month = {} if entry.months is None else {"month": "209912"}
        parameters = {**entry.parameters, **month}
        self._catalogue.check(
            NewRequest(request_type=entry.request_type, symbol=symbol, priority=entry.priority, parameters=parameters)
        )

    def _note(self, key: str, check: Callable[[str], object], symbol: str) -> None:
        """What a check finds wrong with a symbol; what is wrong with all of them is said once."""
        try:
            check(symbol)
        except (RequestError, ValueError) as error:
            found = ("symbols" if str(error).startswith("symbol") else key, str(error))
            if found not in self.wrong:
                self.wrong.append(found)

    def _calendar(self) -> str | None:
        entry = self._entry
        try:
            name = entry.calendar or self._usual_calendar()
            load_calendar(name)
        except SettingsError as error:
            self.wrong.append(("calendar", str(error)))
            return None
        return name

    def _usual_calendar(self) -> str:
        entry = self._entry
        names = {s: calendar_of(entry.request_type, s, entry.parameters) for s in entry.symbols}
        unknown = [symbol for symbol, name in names.items() if name is None]
        if unknown:
            raise SettingsError(f"calendar is missing: that of {', '.join(unknown)} is not known here")
        if len(set(names.values())) > 1:
            raise SettingsError(f"the symbols trade by different calendars {sorted(map(str, set(names.values())))}: "
                                "make a schedule for each, or name one calendar")  # fmt: skip
        return str(next(iter(names.values())))

    def _check_trigger(self) -> None:
        given = [name for name in TRIGGERS if getattr(self._entry, name) is not None]
        if len(given) != 1 and not any(name in self._unread for name in TRIGGERS):
            text = f"it needs one trigger of {', '.join(TRIGGERS)}, and has {', '.join(given) or 'none'}"
            self.wrong.append((given[-1] if given else "id", text))
        if self._entry.closed_market and self._entry.cron is None:
            text = "closed_market goes with cron: the other triggers follow the sessions"
            self.wrong.append(("closed_market", text))

    def _trigger(self, zone: ZoneInfo | None, *, is_history: bool) -> Trigger | None:
        entry = self._entry
        by_cron = None if entry.cron is None else self._cron(entry.cron, zone or ZoneInfo("UTC"), is_history=is_history)
        if entry.every_minutes is not None:
            return WhileOpen(minutes=entry.every_minutes, looks_back=is_history)
        if entry.minutes_after_week is not None:
            return Weekly(minutes=entry.minutes_after_week)
        if entry.cron is not None:
            return by_cron
        anchors: Sequence[tuple[Anchor, float | None]] = (
            (Anchor.OPEN, entry.minutes_after_open),
            (Anchor.BEFORE_CLOSE, entry.minutes_before_close),
            (Anchor.CLOSE, entry.minutes_after_close),
        )
        return next((Daily(anchor=anchor, minutes=m) for anchor, m in anchors if m is not None), None)

    def _cron(self, text: str, zone: ZoneInfo, *, is_history: bool) -> Trigger | None:
        try:
            cron = Cron.parse(text)
        except ValueError as error:
            self.wrong.append(("cron", str(error)))
            return None
        return ByCron(cron=cron, zone=zone, closed_market=self._entry.closed_market, looks_back=is_history)


def is_history(catalogue: Catalogue, request_type: str) -> bool:
    """True where a type can be asked for the past, by start and end or by day. Raises RequestError."""
    return {"start", "end"} <= _fields(catalogue, request_type) or asks_by_day(catalogue, request_type)


def asks_by_day(catalogue: Catalogue, request_type: str) -> bool:
    """True where a type is asked for one trading date. Raises RequestError on an unknown type."""
    return "day" in _fields(catalogue, request_type)


def _fields(catalogue: Catalogue, request_type: str) -> Set[str]:
    fields: Mapping[str, Any] = catalogue.get(request_type).parameters.model_fields
    return fields.keys()
