"""The requests that derive statistics of a past range: one a symbol and calendar month."""

from __future__ import annotations

from datetime import datetime

from v6.data.ib_request import NewRequest
from v6.loading.ranges import Piece, months
from v6.loading.series import LoadRequest


def derivation_requests(
    symbol: str, start: datetime, end: datetime, *, priority: int, again_at: datetime | None = None
) -> list[LoadRequest]:
    """The requests that cover start <= trading date < end; with ``again_at`` also what was derived before."""
    return [_request(symbol, piece, priority, again_at) for piece in months(start, end)]


def _request(symbol: str, piece: Piece, priority: int, again_at: datetime | None) -> LoadRequest:
    again = "" if again_at is None else f" again {again_at.isoformat()}"
    key = f"load derive_statistics {symbol} {piece.start:%Y-%m}{again}"
    new = NewRequest(
        request_type="derive_statistics",
        symbol=symbol,
        priority=priority,
        parameters={"start": piece.start.isoformat(), "end": piece.end.isoformat()},
        idempotency_key=key,
    )
    return LoadRequest(new=new, key=key, until=piece.end)
