"""One series of bars to load, and the requests that bring it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from v6.data.ib_request import NewRequest
from v6.loading.ranges import Piece, pieces


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """What is loaded: symbol, bar size in IB's words, and whatever else a ``market_bars`` request takes."""

    symbol: str
    bar_size: str
    more: tuple[tuple[str, Any], ...] = ()  # further parameters, sorted by name

    def requests(
        self, start: datetime, end: datetime, *, priority: int, cut_at: datetime | None = None
    ) -> list[LoadRequest]:
        """The requests that cover start <= t < end; nothing is asked from ``cut_at`` on."""
        found = pieces(start, end, self.bar_size)
        if cut_at is not None:
            found = [replace(piece, end=min(piece.end, cut_at)) for piece in found]
        return [self._request(piece, priority) for piece in found]

    def _request(self, piece: Piece, priority: int) -> LoadRequest:
        parameters = {
            "bar_size": self.bar_size,
            "start": piece.start.isoformat(),
            "end": piece.end.isoformat(),
            **dict(self.more),
        }
        key = f"load market_bars {self.symbol} {json.dumps(parameters, sort_keys=True, separators=(',', ':'))}"
        new = NewRequest(
            request_type="market_bars",
            symbol=self.symbol,
            priority=priority,
            parameters=parameters,
            idempotency_key=key,
        )
        return LoadRequest(new=new, key=key, until=piece.end)


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadRequest:
    """A request of a load. What was asked for after ``until`` had passed is complete and never asked again."""

    new: NewRequest
    key: str
    until: datetime
