"""A snapshot as the ticks of the wire, in parts that arrive together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from v6.simulator.instruments import OPTION_TYPES, Computation, Instrument, Snapshot
from v6.simulator.wire import Field

OPTION_VOLUME, OPEN_INTEREST, HISTORICAL_VOLATILITY, IMPLIED_VOLATILITY, FUTURES_INTEREST = 100, 101, 104, 106, 588
SILENT_TICKS = (105, 165, 221, 225, 232, 233, 236, 258, 293, 294, 295, 318, 375, 411, 456, 460, 586, 587, 595)
GENERIC_TICKS = frozenset(
    (OPTION_VOLUME, OPEN_INTEREST, HISTORICAL_VOLATILITY, IMPLIED_VOLATILITY, FUTURES_INTEREST, *SILENT_TICKS)
)
# Live tick types and their delayed twins.
DELAYED_TYPES = {
    0: 69, 1: 66, 2: 67, 3: 70, 4: 68, 5: 71, 6: 72, 7: 73, 8: 74, 9: 75, 14: 76, 45: 88,
    10: 80, 11: 81, 12: 82, 13: 83,
}  # fmt: skip
SIZE_OF_PRICE = {1: 0, 2: 3, 4: 5}


@dataclass(frozen=True, slots=True)
class Tick:
    """One tick message: its kind in the journal, its message id, and what follows the request id."""

    kind: str
    message: int
    values: tuple[Field, ...]

    def fields(self, req_id: int) -> list[Field]:
        """The whole message for a request."""
        versioned = [self.message, req_id] if self.message == 21 else [self.message, 6, req_id]
        return [*versioned, *self.values]


@dataclass(frozen=True, slots=True)
class Part:
    """Ticks that are sent together, under the name by which a change is noticed."""

    name: str
    ticks: tuple[Tick, ...]


def price_ticks(tick_type: int, price: float, size: int | None, *, delayed: bool) -> tuple[Tick, ...]:
    """A price, followed by its size where the price has one."""
    shown = DELAYED_TYPES[tick_type] if delayed else tick_type
    price_tick = Tick("tick_price", 1, (shown, price, size or 0, 0))
    if tick_type not in SIZE_OF_PRICE:
        return (price_tick,)
    size_type = SIZE_OF_PRICE[tick_type]
    return price_tick, Tick("tick_size", 2, (DELAYED_TYPES[size_type] if delayed else size_type, size or 0))


def computation_tick(tick_type: int, greeks: Computation, *, delayed: bool) -> Tick:
    """An option computation; what was not computed has the wire's marks for it."""
    first = (greeks.iv, greeks.delta, greeks.price, greeks.pv_dividend)
    values = (*first, greeks.gamma, greeks.vega, greeks.theta, greeks.underlying)
    marks = (-1, -2, -1, -1, -2, -2, -2, -1)
    shown = (mark if value is None else value for value, mark in zip(values, marks, strict=True))
    return Tick("tick_option_computation", 21, (DELAYED_TYPES[tick_type] if delayed else tick_type, 0, *shown))


def quote_parts(instrument: Instrument, snapshot: Snapshot, *, delayed: bool, shows_quotes: bool) -> list[Part]:
    """Prices, sizes, volume, the last trade's time and, for options, the computations."""
    bid, ask = (snapshot.bid, snapshot.ask) if shows_quotes else (None, None)
    quoted = snapshot.bid is not None or snapshot.ask is not None
    parts = []
    for name, tick_type, price, size in (
        ("bid", 1, bid, snapshot.bid_size),
        ("ask", 2, ask, snapshot.ask_size),
        ("last", 4, snapshot.last, snapshot.last_size),
        ("high", 6, snapshot.high, None),
        ("low", 7, snapshot.low, None),
        ("close", 9, snapshot.close, None),
        ("open", 14, snapshot.open, None),
    ):
        if price is not None:
            parts.append(Part(name, price_ticks(tick_type, price, size, delayed=delayed)))
        elif quoted and name in ("bid", "ask"):
            parts.append(Part(name, price_ticks(tick_type, -1.0, 0, delayed=delayed)))  # there is none: -1 and size 0
    parts += _trade_parts(snapshot, delayed=delayed)
    if instrument.sec_type not in OPTION_TYPES:
        return parts
    return parts + _computation_parts(snapshot, delayed=delayed, shows_quotes=shows_quotes)


def _trade_parts(snapshot: Snapshot, *, delayed: bool) -> list[Part]:
    parts = []
    if snapshot.volume is not None:
        parts.append(Part("volume", (Tick("tick_size", 2, (74 if delayed else 8, snapshot.volume)),)))
    if snapshot.last_time is not None:
        seconds = str(int(snapshot.last_time.timestamp()))
        parts.append(Part("last time", (Tick("tick_string", 46, (88 if delayed else 45, seconds)),)))
    return parts


def _computation_parts(snapshot: Snapshot, *, delayed: bool, shows_quotes: bool) -> list[Part]:
    computed = (
        ("bid greeks", 10, snapshot.bid_greeks if shows_quotes else None),
        ("ask greeks", 11, snapshot.ask_greeks if shows_quotes else None),
        ("last greeks", 12, snapshot.last_greeks),
        ("model greeks", 13, snapshot.model_greeks),
    )
    return [
        Part(name, (computation_tick(tick_type, greeks, delayed=delayed),))
        for name, tick_type, greeks in computed
        if greeks is not None
    ]


def generic_parts(
    instrument: Instrument,
    snapshot: Snapshot,
    wanted: frozenset[int],
    historical_volatility: Callable[[], float | None],
) -> list[Part]:
    """The generic ticks that were asked for and that the instrument has."""
    parts: list[Part] = []
    if OPTION_VOLUME in wanted:
        parts += _sizes(((29, snapshot.call_volume), (30, snapshot.put_volume)))
    if wanted & {OPEN_INTEREST, FUTURES_INTEREST}:
        parts += _sizes(_open_interest(instrument, snapshot))
    if IMPLIED_VOLATILITY in wanted and snapshot.implied_volatility is not None:
        parts.append(Part("implied volatility", (Tick("tick_generic", 45, (24, snapshot.implied_volatility)),)))
    realised = historical_volatility() if HISTORICAL_VOLATILITY in wanted else None
    if realised is not None:
        parts.append(Part("historical volatility", (Tick("tick_generic", 45, (23, realised)),)))
    return parts


def _open_interest(instrument: Instrument, snapshot: Snapshot) -> tuple[tuple[int, int | None], ...]:
    if instrument.sec_type in OPTION_TYPES:
        return ((27 if instrument.right == "C" else 28, snapshot.open_interest),)
    if instrument.sec_type in ("FUT", "CONTFUT"):
        return ((86, snapshot.open_interest),)
    return (27, snapshot.call_open_interest), (28, snapshot.put_open_interest)


def _sizes(pairs: Iterable[tuple[int, int | None]]) -> list[Part]:
    return [Part(f"size {kind}", (Tick("tick_size", 2, (kind, size)),)) for kind, size in pairs if size is not None]
