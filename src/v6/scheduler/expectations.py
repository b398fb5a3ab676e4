"""How fresh each table has to be: a symbol's rows grow every so often while its market is open.

Every schedule that runs within the session brings its own expectation; ``[[freshness]]`` in ``v6.toml`` adds others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from v6.errors import SettingsError
from v6.request_types.catalogue import Catalogue
from v6.scheduler.config_file import ConfigFile, complaints
from v6.scheduler.markets import calendar_of
from v6.scheduler.schedule import Schedule
from v6.scheduler.trading_calendar import TradingCalendar, calendar_names, load_calendar
from v6.scheduler.triggers import WhileOpen

SECTION = "freshness"
PERIODS = 2.0  # a collection may be late by a whole period
ALLOWANCE_MINUTES = 3.0  # and takes so long itself


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """Rows of ``symbol`` in ``table`` are never older than so many minutes of the session."""

    table: str
    symbol: str  # empty: of any symbol
    request_type: str
    minutes: float
    calendar_name: str
    schedule_id: str | None = None
    is_written: bool = False  # in v6.toml: it holds whether its schedule has begun or not
    may_bring_nothing: bool = False  # an answer without rows is an answer: the ledger tells

    @property
    def name(self) -> str:
        """How it is spoken of."""
        return f"{self.table} of {self.symbol}" if self.symbol else self.table

    @cached_property
    def calendar(self) -> TradingCalendar:
        """The market's calendar."""
        return load_calendar(self.calendar_name)


class FreshnessEntry(BaseModel):
    """One ``[[freshness]]`` as written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str = Field(description="a result table")
    symbol: str = Field("", description="its symbol; without one rows of any")
    minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        description="so old the newest row may be, in minutes of the session"
    )
    calendar: str | None = Field(None, description="the market's calendar; without it the symbol's own")


def load_expectations(config: ConfigFile, catalogue: Catalogue, schedules: Sequence[Schedule]) -> list[Expectation]:
    """Those of the file, and those of the schedules for whatever the file does not name, by table and symbol.

    Raises:
        SettingsError: at least one is bad; the text lists all that is wrong, each with file and line.
    """
    types_by_table = {kind.result_table: kind for kind in catalogue.types()}
    wrong: list[str] = []
    found: dict[tuple[str, str], Expectation] = {}
    for index, raw in enumerate(config.entries(SECTION)):
        expectation, problems = _read(raw, config, index, types_by_table)
        wrong += problems
        if expectation is not None:
            found[expectation.table, expectation.symbol] = expectation
    if wrong:
        raise SettingsError(f"{len(wrong)} things are wrong with freshness: " + "; ".join(wrong))
    for expectation in (e for schedule in schedules for e in _of_schedule(schedule, catalogue)):
        known = found.get((expectation.table, expectation.symbol))
        if known is None or (not known.is_written and known.minutes > expectation.minutes):
            found[expectation.table, expectation.symbol] = expectation
    named = [_scheduled(e, schedules, catalogue) if e.is_written else e for e in found.values()]
    return sorted(named, key=lambda e: (e.table, e.symbol))


def _scheduled(expectation: Expectation, schedules: Sequence[Schedule], catalogue: Catalogue) -> Expectation:
    """A written expectation with the schedule that its rows come from, where there is one."""
    fits = (
        e
        for schedule in schedules
        for e in _of_schedule(schedule, catalogue)
        if e.table == expectation.table and expectation.symbol in ("", e.symbol)
    )
    usual = min(fits, key=lambda e: e.minutes, default=expectation)
    return replace(expectation, schedule_id=usual.schedule_id)


def _read(
    raw: Mapping[str, Any], config: ConfigFile, index: int, types_by_table: Mapping[str, Any]
) -> tuple[Expectation | None, list[str]]:
    """One entry as an expectation, or all that is wrong with it."""
    wrong = [f"{config.place(SECTION, index, key)}: {text}" for key, text in _unknown_names(raw, types_by_table)]
    try:
        entry = FreshnessEntry.model_validate(raw)
    except ValidationError as error:
        return None, complaints(error, config, SECTION, index) + wrong
    if wrong:
        return None, wrong
    kind = types_by_table[entry.table]
    calendar = entry.calendar or calendar_of(kind.name, entry.symbol, {})
    if calendar is None:
        place = config.place(SECTION, index, "symbol")
        return None, [f"{place}: calendar is missing: that of {entry.symbol} is not known here"]
    return _expectation(entry, kind, calendar), []


def _unknown_names(raw: Mapping[str, Any], types_by_table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Key and complaint of the table and the calendar that there are not."""
    table, calendar = raw.get("table"), raw.get("calendar")
    if isinstance(table, str) and table not in types_by_table:
        yield "table", f"table {table!r} is no result table: it is one of {', '.join(sorted(types_by_table))}"
    if isinstance(calendar, str) and calendar not in calendar_names():
        yield "calendar", f"calendar {calendar!r} is not known: it is one of {', '.join(calendar_names())}"


def _expectation(entry: FreshnessEntry, kind: Any, calendar: str) -> Expectation:
    return Expectation(
        table=entry.table,
        symbol=entry.symbol,
        request_type=kind.name,
        minutes=entry.minutes,
        calendar_name=calendar,
        is_written=True,
        may_bring_nothing=kind.symbol_optional,
    )


def _of_schedule(schedule: Schedule, catalogue: Catalogue) -> list[Expectation]:
    if not isinstance(schedule.trigger, WhileOpen) or schedule.is_history:
        return []
    kind = catalogue.get(schedule.request_type)
    return [
        Expectation(
            table=kind.result_table,
            symbol=symbol,
            request_type=kind.name,
            minutes=schedule.trigger.minutes * PERIODS + ALLOWANCE_MINUTES,
            calendar_name=schedule.calendar_name,
            schedule_id=schedule.id,
            may_bring_nothing=kind.symbol_optional,
        )
        for symbol in schedule.symbols
    ]
