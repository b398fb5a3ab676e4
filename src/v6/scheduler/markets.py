"""Which calendar a product trades by, and which months of a future are listed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from v6.scheduler.trading_calendar import load_calendar

EQUITY_FUTURES = frozenset({"ES", "NQ", "RTY", "YM", "MES", "MNQ", "M2K", "MYM", "EMD"})
INDICES = frozenset({"SPX", "NDX", "RUT", "VIX", "XSP", "OEX", "DJX"})
FUTURES = ("FUT", "CONTFUT")
QUARTERLY = (3, 6, 9, 12)


def calendar_of(request_type: str, symbol: str, parameters: Mapping[str, Any]) -> str | None:
    """The calendar of what is asked; None where it must be named."""
    sec_type = parameters.get("sec_type", "STK")
    if request_type == "futures_snapshot" or sec_type in FUTURES:
        return "CME_EQUITY" if symbol in EQUITY_FUTURES else None
    if request_type == "option_chain" and (sec_type == "IND" or symbol in INDICES):
        return "CBOE_INDEX_OPTIONS"
    return None if sec_type == "CASH" else "XNYS"


def listed_months(symbol: str, day: date, count: int) -> list[str]:
    """The nearest ``count`` months (YYYYMM) of an equity index future that still trade on a day, the front first.

    They are quarterly.

    Raises:
        ValueError: the product's months are not known here.
    """
    if symbol not in EQUITY_FUTURES:
        raise ValueError(f"the listed months of {symbol} are not known: name them as YYYYMM")
    found: list[str] = []
    year, month = day.year, day.month
    while len(found) < count:
        if month in QUARTERLY and last_trading_day(year, month) >= day:
            found.append(f"{year}{month:02d}")
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    return found


def last_trading_day(year: int, month: int) -> date:
    """When a quarterly equity index future expires: CME's rule is the third Friday, or the business day before it."""
    first = date(year, month, 1)
    third_friday = first + timedelta(days=(4 - first.weekday()) % 7 + 14)
    days = (third_friday - timedelta(days=number) for number in range(7))
    return next((day for day in days if load_calendar("XNYS").session_of(day) is not None), third_friday)
