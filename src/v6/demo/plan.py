"""What the demo asks for."""

from __future__ import annotations

from v6.data.ib_request import NewRequest, Priority

STOCKS = ("SPY", "QQQ", "IWM")
FUTURES = ("ES", "NQ", "RTY")
DAYS_TO_EXPIRY = 45
DAILY = {"bar_size": "1 day", "duration": "1 Y"}
FIVE_MINUTES = {"bar_size": "5 mins", "duration": "5 D"}


def planned_requests() -> list[NewRequest]:
    """Chains, futures, bars and positions: all go into the queue in one commit."""
    return [
        *(NewRequest(request_type="option_chain", symbol=s, parameters={"dte": DAYS_TO_EXPIRY}) for s in STOCKS),
        *(NewRequest(request_type="futures_snapshot", symbol=s) for s in FUTURES),
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
