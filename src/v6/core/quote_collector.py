"""Collects the ticks of one market-data request until its quote is complete.

One collector serves one request id and starts empty, so no tick of an earlier request can appear in its quote.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from v6.clock import Clock
from v6.errors import ErrorCategory, GatewayError
from v6.request_types.base import Completeness, Contract, Greeks, MarketDataType, Quote

# IB's tick types; the second of a pair is the delayed one.
PRICE_FIELDS = {
    **dict.fromkeys((1, 66), "bid"),
    **dict.fromkeys((2, 67), "ask"),
    **dict.fromkeys((4, 68), "last"),
    **dict.fromkeys((6, 72), "high"),
    **dict.fromkeys((7, 73), "low"),
    **dict.fromkeys((9, 75), "close"),
    **dict.fromkeys((14, 76), "open"),
}
SIZE_FIELDS = {
    **dict.fromkeys((0, 69), "bid_size"),
    **dict.fromkeys((3, 70), "ask_size"),
    **dict.fromkeys((5, 71), "last_size"),
    **dict.fromkeys((8, 74), "volume"),
}
SIZE_OF_PRICE = {"bid": "bid_size", "ask": "ask_size", "last": "last_size"}
RECEIVED_AT = {"bid": "bid_at", "ask": "ask_at", "last": "last_at"}
MODEL_COMPUTATIONS = frozenset({13, 83})
LAST_TRADE_TIMES = frozenset({45, 88})
IMPLIED_VOLATILITY = 24
CALL_OPEN_INTEREST, PUT_OPEN_INTEREST, FUTURES_OPEN_INTEREST = 27, 28, 86
COUNTS = frozenset({"volume", "open_interest"})  # nothing traded is a fact; a size of nothing is no quote
REPORTED_FIELDS = (
    *("bid", "ask", "last", "bid_size", "ask_size", "last_size", "volume", "open_interest"),
    *("open", "high", "low", "close", "implied_volatility", "model"),
)


def open_interest_tick(contract: Contract) -> int:
    """The tick type that carries this contract's own open interest."""
    if contract.sec_type in {"OPT", "FOP"}:
        return PUT_OPEN_INTEREST if contract.right.startswith("P") else CALL_OPEN_INTEREST
    return FUTURES_OPEN_INTEREST


class QuoteCollector:
    """The ticks of one request id, and when they make a quote."""

    def __init__(self, contract: Contract, completeness: Completeness, requested: MarketDataType, clock: Clock) -> None:
        self._completeness = completeness
        self._clock = clock
        self._open_interest_tick = open_interest_tick(contract)
        now = clock.now()
        self._quote = Quote(
            contract=contract, requested_type=requested, received_type=None, started_at=now, finished_at=now
        )
        self._values: dict[str, Any] = {}
        self._absent: dict[str, str] = {}
        self._note = ""
        self._failure: GatewayError | None = None
        self._changed = asyncio.Event()
        self._has_trade_time = False
        self._started_elapsed = clock.monotonic()

    @property
    def is_refused(self) -> bool:
        """Whether the gateway refused the request: then nothing streams and there is nothing to cancel.

        A competing session only takes the data away: the subscription may stay, and with it its line.
        """
        failure = self._failure
        is_taken_away = failure is not None and failure.code is not None and failure.category is ErrorCategory.SESSION
        return failure is not None and not is_taken_away

    @property
    def is_whole(self) -> bool:
        """Whether everything that is required has come, be it as "there is none"."""
        return self._has_answer_for(self._completeness.required)

    async def collect(self) -> Quote:
        """The quote, as complete as it got. Raises GatewayError when the request was refused."""
        terms = self._completeness
        with suppress(TimeoutError):
            async with self._clock.timeout(terms.wait_seconds):
                await self._until(lambda: self._has_answer_for(terms.required))
                with suppress(TimeoutError):
                    async with self._clock.timeout(terms.wanted_seconds):
                        await self._until(lambda: self._has_all(terms.required | terms.wanted))
        if self._failure is not None:
            raise self._failure
        return self._finish()

    async def _until(self, is_enough: Callable[[], bool]) -> None:
        while self._failure is None and not is_enough():
            self._changed.clear()
            await self._changed.wait()

    def _has_all(self, names: Iterable[str]) -> bool:
        return all(self._has(name) for name in names)

    def _has_answer_for(self, names: Iterable[str]) -> bool:
        """Whether each has come, be it as "there is none": that may still change while the wanted ones come."""
        return all(self._has(name) or name in self._absent for name in names)

    def _has(self, name: str) -> bool:
        value = self._values.get(name)
        if isinstance(value, Greeks):
            return value.iv is not None and value.delta is not None
        return value is not None

    def _finish(self) -> Quote:
        never = f"not sent within {self._clock.monotonic() - self._started_elapsed:.1f} s"
        missing = {
            name: self._absent.get(name) or self._note or never
            for name in REPORTED_FIELDS
            if self._values.get(name) is None
        }
        model = self._values.get("model")
        if model is not None and not self._has("model"):
            missing["model"] = "the gateway's model had no volatility or delta"
        return replace(self._quote, **self._values, finished_at=self._clock.now(), missing=missing)

    def started(self) -> None:
        """The request goes out now."""
        self._started_elapsed = self._clock.monotonic()
        self._quote = replace(self._quote, started_at=self._clock.now())

    def fail(self, failure: GatewayError) -> None:
        """The request ended without a quote."""
        self._failure = failure
        self._changed.set()

    def note(self, text: str) -> None:
        """Why something may never come."""
        self._note = text

    def market_data_type(self, received: int) -> None:
        """Which kind of data follows."""
        self._quote = replace(self._quote, received_type=MarketDataType(received))

    def price(self, tick_type: int, price: float, size: float) -> None:
        """A price, with its size where one belongs to it."""
        name = PRICE_FIELDS.get(tick_type)
        if name is None:
            return
        self._put(name, price if price > 0 else None, f"the gateway sent {price:g}: there is no {name}")
        if name in RECEIVED_AT and not (name == "last" and self._has_trade_time):
            self._values[RECEIVED_AT[name]] = self._clock.now() if price > 0 else None
        if name in SIZE_OF_PRICE and size > 0:
            self._put(SIZE_OF_PRICE[name], size, "")

    def size(self, tick_type: int, size: float) -> None:
        """A size or a count."""
        name = "open_interest" if tick_type == self._open_interest_tick else SIZE_FIELDS.get(tick_type)
        if name is None:
            return
        is_given = math.isfinite(size) and (size > 0 or (size == 0 and name in COUNTS))
        self._put(name, size if is_given else None, f"the gateway sent {size:g}: there is no {name}")

    def generic(self, tick_type: int, value: float) -> None:
        """A generic tick: the implied volatility of an underlying."""
        if tick_type == IMPLIED_VOLATILITY:
            self._put("implied_volatility", value if value > 0 else None, f"the gateway sent {value:g}")

    def text(self, tick_type: int, value: str) -> None:
        """A text tick: the time of the last trade, epoch seconds."""
        if tick_type in LAST_TRADE_TIMES and value.isdigit() and int(value) > 0:
            self._has_trade_time = True
            self._values["last_at"] = datetime.fromtimestamp(int(value), UTC)
            self._changed.set()

    def computation(self, tick_type: int, greeks: Greeks) -> None:
        """An option computation; only the model's is kept."""
        if tick_type in MODEL_COMPUTATIONS:
            self._put("model", greeks, "")

    def _put(self, name: str, value: object, reason: str) -> None:
        self._values[name] = value
        if value is None:
            self._absent[name] = reason
        else:
            self._absent.pop(name, None)
        self._changed.set()
