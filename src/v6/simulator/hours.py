"""Trading hours as IB writes them: ``20261124:0400-20261124:2000;20261126:CLOSED``."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from v6.simulator.calendar import NEW_YORK, new_york_second
from v6.simulator.instruments import Instrument
from v6.simulator.prices import Prices
from v6.simulator.universe import Product

_DAYS = 6
_EVENING_HOURS = 4  # stocks trade so long after the regular close


def trading_hours(prices: Prices, product: Product, instrument: Instrument, first: date, *, liquid: bool) -> str:
    """The hours of six days; liquid hours are those of the regular session."""
    days = [first + timedelta(days=number) for number in range(_DAYS)]
    return ";".join(_day(prices, product, instrument, day, liquid=liquid) for day in days)


def _day(prices: Prices, product: Product, instrument: Instrument, day: date, *, liquid: bool) -> str:
    if day not in prices.sessions:
        return f"{day:%Y%m%d}:CLOSED"
    position = prices.sessions.position(day)
    start, end = prices.sessions.opens[position], prices.sessions.closes[position]
    if product.sec_type == "FUT" and not liquid:
        start, end = prices.globex_hours(position)
    elif instrument.sec_type == "STK" and not liquid:
        start, end = new_york_second(day, 4), end + _EVENING_HOURS * 3_600
    return f"{_text(start)}-{_text(end)}"


def _text(second: int) -> str:
    return f"{datetime.fromtimestamp(second, NEW_YORK):%Y%m%d:%H%M}"
