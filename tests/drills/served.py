"""What a simulated gateway served, read from its journals: fetches, each with the values that were sent for it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# Where each stored number stands in the messages: tick types of prices and sizes, places in the model's computation.
PRICE_TICKS = {1: "bid", 2: "ask", 4: "last", 6: "high", 7: "low", 9: "close", 14: "open"}
SIZE_TICKS = {0: "bid_size", 3: "ask_size", 5: "last_size", 8: "volume", 27: "open_interest", 28: "open_interest"}
SIZE_TICKS |= {86: "open_interest"}
SIZE_OF_PRICE = {"bid": "bid_size", "ask": "ask_size", "last": "last_size"}
MODEL = ("iv", "delta", "model_price", "pv_dividend", "gamma", "vega", "theta", "underlying_price")
BAR_FIELDS = ("open", "high", "low", "close", "volume", "wap", "trade_count")
CLIENT_WITHIN = 80  # the client stands among a line's first characters
FETCHES = {"request_market_data": "quote", "request_bars": "bars", "request_positions": "positions"}
WORDS = {"request_bars": ("end", "bar_size", "duration", "regular_hours", "what_to_show", "date_format")}


@dataclass(kw_only=True, slots=True)
class Fetch:
    """One request for data and what was sent for it, in clock time."""

    kind: str  # quote, bars or positions
    at: datetime
    con_id: int
    asked: dict[str, str]
    sent: dict[str, list[tuple[datetime, float]]] = field(default_factory=lambda: defaultdict(list))
    bars: list[dict[str, Any]] = field(default_factory=list)


@dataclass(kw_only=True, slots=True)
class Served:
    """Everything that was served to some clients."""

    fetches: list[Fetch] = field(default_factory=list)
    symbols: dict[int, str] = field(default_factory=dict)  # by contract id
    positions: dict[int, list[tuple[datetime, float, float]]] = field(default_factory=lambda: defaultdict(list))
    refusals: list[tuple[datetime, int]] = field(default_factory=list)  # when, with which code
    _open: dict[tuple[int, int], Fetch] = field(default_factory=dict)

    def of_kind(self, kind: str) -> list[Fetch]:
        """The fetches of one kind."""
        return [fetch for fetch in self.fetches if fetch.kind == kind]

    def quotes(self) -> dict[int, list[Fetch]]:
        """The quotes by contract, in time order."""
        found: dict[int, list[Fetch]] = defaultdict(list)
        for fetch in self.of_kind("quote"):
            found[fetch.con_id].append(fetch)
        return found

    def take(self, entry: dict[str, Any]) -> None:
        """One line of the journal."""
        kind, values, at = entry["kind"], entry["values"], datetime.fromisoformat(entry["time"])
        key = entry["client"], entry["req_id"]
        if kind in FETCHES:
            asked = dict(zip(WORDS.get(kind, ()), values, strict=False))
            self._open[key] = Fetch(kind=FETCHES[kind], at=at, con_id=entry["con_id"], asked=asked)
            self.fetches.append(self._open[key])
        elif kind == "error" and entry["req_id"] > 0:
            self.refusals.append((at, int(values[3])))
        elif kind == "contract_details":
            self.symbols[entry["con_id"]] = values[2]
        elif kind == "position":
            self.positions[entry["con_id"]].append((at, float(values[-2]), float(values[-1])))
            self.symbols[entry["con_id"]] = values[4]
        elif key in self._open and self._open[key].con_id == entry["con_id"]:  # a dead session's ids come again
            if kind == "bars":
                self._open[key].bars += _bars(values)
            for name, value in _numbers(kind, values):
                self._open[key].sent[name].append((at, value))


def read_journals(paths: Iterable[Path], clients: Collection[int] | None = None) -> Served:
    """The journals of one gateway or of several, in order; of these clients, else of all."""
    served = Served()
    wanted = None if clients is None else tuple(f'"client":{client},' for client in clients)
    for path in paths:
        with path.open() as file:
            for line in file:
                is_torn = not line.endswith("}\n")  # by the end of its gateway
                if not is_torn and (wanted is None or any(text in line[:CLIENT_WITHIN] for text in wanted)):
                    served.take(json.loads(line))
    return served


def _numbers(kind: str, values: Sequence[str]) -> Iterator[tuple[str, float]]:
    if kind == "tick_price" and int(values[3]) in PRICE_TICKS:
        name = PRICE_TICKS[int(values[3])]
        yield name, float(values[4])
        if name in SIZE_OF_PRICE:
            yield SIZE_OF_PRICE[name], float(values[5])
    elif kind == "tick_size" and int(values[3]) in SIZE_TICKS:
        yield SIZE_TICKS[int(values[3])], float(values[4])
    elif kind == "tick_generic" and int(values[3]) == 24:
        yield "implied_vol", float(values[4])
    elif kind == "tick_option_computation" and values[2] == "13":
        yield from zip(MODEL, map(float, values[4:]), strict=True)


def _bars(values: Sequence[str]) -> Iterator[dict[str, Any]]:
    count = int(values[4])
    for number in range(count):
        start, *numbers = values[5 + 8 * number : 13 + 8 * number]
        yield {"timestamp": _instant(start)} | dict(zip(BAR_FIELDS, map(float, numbers), strict=True))


def _instant(text: str) -> datetime:
    """Epoch seconds, or of a daily bar its date."""
    is_date = len(text) == 8
    return datetime.fromisoformat(text).replace(tzinfo=UTC) if is_date else datetime.fromtimestamp(int(text), UTC)
