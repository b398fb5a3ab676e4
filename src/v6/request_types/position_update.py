"""``position_update``: what the account holds, all of it or one symbol."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import polars as pl

from v6.data.position_updates import POSITION_UPDATES
from v6.request_types.base import Fetched, Gateway, Job, Parameters, Part, Position, RequestType
from v6.request_types.rows import frame_of

ACCOUNT_ZONE = ZoneInfo("America/New_York")  # an account's holdings have no exchange: its day is New York's


class PositionUpdateParameters(Parameters):
    """A position update has no parameters: the symbol says what is asked, and none means all."""


class PositionUpdate(RequestType[PositionUpdateParameters]):
    """One row a holding; an account that holds nothing gives no rows."""

    name: ClassVar[str] = "position_update"
    description: ClassVar[str] = "All positions of the account, or those in one symbol."
    parameters = PositionUpdateParameters
    result_table: ClassVar[str] = POSITION_UPDATES.name
    default_priority: ClassVar[int] = 2
    concurrency: ClassVar[int] = 2
    pacing: ClassVar[str] = "account"
    timeout_seconds: ClassVar[float] = 60.0
    symbol_optional: ClassVar[bool] = True

    async def fetch(self, job: Job[PositionUpdateParameters], part: Part, gateway: Gateway) -> Fetched:
        """The account's holdings now."""
        del part
        positions = await gateway.positions()
        held = [p for p in positions if p.quantity and job.symbol in ("", p.contract.symbol)]
        now = job.clock.now()
        day = now.astimezone(ACCOUNT_ZONE).date()
        return Fetched(rows=_rows(held, job.symbol, now, day), summary={"positions": len(held)})


def _rows(positions: list[Position], scope: str, at: datetime, day: date) -> pl.DataFrame:
    return frame_of(POSITION_UPDATES, [_row(position, scope, at, day) for position in positions])


def _row(position: Position, scope: str, at: datetime, day: date) -> dict[str, Any]:
    contract = position.contract
    is_option = contract.right != ""
    return {
        "timestamp": at,
        "account": position.account,
        "symbol": contract.symbol,
        "con_id": contract.con_id,
        "sec_type": contract.sec_type,
        "expiry": contract.expiry,
        "strike": contract.strike if is_option else None,
        "right": contract.right or None,
        "quantity": position.quantity,
        "average_cost": position.average_cost,
        "multiplier": contract.multiplier,
        "trading_class": contract.trading_class or None,
        "exchange": contract.exchange or None,
        "currency": contract.currency or None,
        "local_symbol": contract.local_symbol or None,
        "scope": scope or None,
        "date": day,
    }
