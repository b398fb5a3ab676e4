"""Which series and which intervals of the ledger a slot or a request stands for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from v6.data.coverage import Interval
from v6.scheduler.schedule import Slot
from v6.scheduler.trading_calendar import TradingCalendar
from v6.scheduler.triggers import WhileOpen

BAR_DEFAULTS = {"bar_size": "1 day", "what_to_show": "TRADES", "regular_hours": True, "sec_type": "STK"}
BAR_SERIES_PARTS = 5  # at least: number, unit, kind, hours, security type


def bar_series(parameters: Mapping[str, Any]) -> str:
    """The series of bars: ``5 mins TRADES regular STK``, with the month of a future."""
    values = {**BAR_DEFAULTS, **parameters}
    hours = "regular" if values["regular_hours"] else "all hours"
    parts = [values["bar_size"], values["what_to_show"], hours, values["sec_type"], values.get("month") or ""]
    return " ".join(str(part) for part in parts if part)


def bar_parameters(series: str) -> dict[str, Any] | None:
    """The parameters that ask for a series of bars: the reverse of ``bar_series``; None where it is a schedule's id."""
    parts = series.split(" ")
    if len(parts) < BAR_SERIES_PARTS:
        return None
    number, unit, what_to_show, *rest = parts
    regular = rest[0] == "regular"
    sec_type, *month = rest[1:] if regular else rest[2:]
    values = {
        "bar_size": f"{number} {unit}",
        "what_to_show": what_to_show,
        "regular_hours": regular,
        "sec_type": sec_type,
    }
    return {**values, "month": month[0]} if month else values


def intervals_of(slot: Slot) -> list[Interval]:
    """The intervals that a slot is to cover: history by sessions, anything else the slot's own."""
    schedule = slot.schedule
    if not schedule.is_history or isinstance(schedule.trigger, WhileOpen):
        end = slot.window.end
        return [_interval(slot, schedule.id, slot.window.start, end)]
    return session_intervals(
        schedule.request_type,
        slot.symbol,
        bar_series(slot.parameters()) if schedule.request_type == "market_bars" else schedule.id,
        calendar=schedule.calendar,
        start=slot.window.start,
        end=slot.window.end,
    )


def session_intervals(
    request_type: str, symbol: str, series: str, *, calendar: TradingCalendar, start: datetime, end: datetime
) -> list[Interval]:
    """One interval for each session that trades within [start, end)."""
    return [
        Interval(
            request_type=request_type,
            symbol=symbol,
            series=series,
            timestamp=session.opens,
            interval_end=session.closes,
            date=session.day,
        )
        for session in calendar.between(start, end)
    ]


def _interval(slot: Slot, series: str, start: datetime, end: datetime) -> Interval:
    schedule = slot.schedule
    session = schedule.calendar.next_session(start)
    day = session.day if session.opens <= start else slot.at.astimezone(schedule.zone).date()
    return Interval(
        request_type=schedule.request_type,
        symbol=slot.symbol,
        series=series if slot.month is None else f"{series} {slot.month}",
        timestamp=start,
        interval_end=end,
        date=day,
    )
