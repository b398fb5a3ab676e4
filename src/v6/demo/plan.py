"""What the demo asks for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from v6.data.ib_request import NewRequest, Priority

STOCKS = ("SPY", "QQQ", "IWM")
FUTURES = ("ES", "NQ", "RTY")
STUDIED = STOCKS[0]  # what statistics are derived of
DAYS_TO_EXPIRY = 45
DAILY = {"bar_size": "1 day", "duration": "1 Y"}
FIVE_MINUTES = {"bar_size": "5 mins", "duration": "5 D"}
MONTHS = 3  # of a futures curve
DERIVED = timedelta(days=92)  # before the day that is collected


@dataclass(frozen=True, kw_only=True, slots=True)
class Later:
    """A request that is inserted when all those of some types have ended."""

    after: frozenset[str]
    request: NewRequest


def planned_requests(today: date) -> list[NewRequest]:
    """Chains, futures, bars and positions: all go into the queue in one commit."""
    return [
        *(NewRequest(request_type="option_chain", symbol=s, parameters={"dte": DAYS_TO_EXPIRY}) for s in STOCKS),
        *(NewRequest(request_type="futures_snapshot", symbol=s) for s in FUTURES),
        NewRequest(request_type="futures_snapshot", symbol=FUTURES[0], parameters={"months": later_months(today)}),
        *(
            NewRequest(request_type="market_bars", symbol=s, parameters=p)
            for p in (DAILY, FIVE_MINUTES)
            for s in STOCKS
        ),
        NewRequest(request_type="position_update", symbol=""),
    ]


def urgent_request() -> NewRequest:
    """What is inserted while the chains are being collected."""
    return NewRequest(request_type="futures_snapshot", symbol=FUTURES[0], priority=Priority.IMMEDIATE)


def later_requests(today: date) -> list[Later]:
    """What is derived from the rows: the days before from their bars, then the day itself from its chain."""
    end = datetime.combine(today, time(), UTC)
    before = {"start": (end - DERIVED).isoformat(), "end": end.isoformat()}
    bars = frozenset({"market_bars", "futures_snapshot"})  # among these the urgent one
    return [
        Later(after=bars, request=NewRequest(request_type="derive_statistics", symbol=STUDIED, parameters=before)),
        Later(after=bars | {"option_chain"}, request=NewRequest(request_type="derive_statistics", symbol=STUDIED)),
    ]


def later_months(today: date) -> list[str]:
    """The contract months after the front one, YYYYMM: quarterly ones, those left out that may be about to expire."""
    quarters = (date(today.year + number // 4, 3 * (number % 4) + 3, 1) for number in range(MONTHS + 5))
    months = [f"{first:%Y%m}" for first in quarters if _third_friday(first) > today + timedelta(days=1)]
    return months[1:MONTHS]


def _third_friday(first: date) -> date:
    return first + timedelta(days=(4 - first.weekday()) % 7 + 14)
