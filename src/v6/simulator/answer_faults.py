"""What faults make of a message on its way to the client."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from v6.simulator.faults import Fault
from v6.simulator.messages import TICKS
from v6.simulator.ticks import DELAYED_TYPES

PRICE_TYPES = {"bid": 1, "ask": 2, "last": 4, "high": 6, "low": 7, "close": 9, "open": 14}
SIZE_TYPES = {"bid": 0, "ask": 3, "last": 5}
TYPE_NUMBERS = {"frozen": 2, "delayed": 3, "delayed_frozen": 4}
PRICE, SIZE, COMPUTATION, TEXT, DATA_TYPE, ERROR = 1, 2, 21, 46, 58, 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """A message to a client; with a kind it goes into the journal."""

    texts: Sequence[str]
    kind: str = ""
    req_id: int = -1
    con_id: int = 0

    @property
    def number(self) -> int:
        """The message's id."""
        return int(self.texts[0])

    def with_text(self, position: int, text: str) -> Message:
        """With one field replaced."""
        return replace(self, texts=[*self.texts[:position], text, *self.texts[position + 1 :]])


Delivery = tuple[float, Message]
"""A message and for how many clock seconds it is held back."""


class Effect:
    """A fault as it strikes one request."""

    def __init__(self, fault: Fault, draw: random.Random) -> None:
        self.fault = fault
        self.is_spent = False
        self._draw = draw
        self.delay = draw.uniform(*fault.values["delay"]) if "delay" in fault.values else 0.0

    def on(self, message: Message) -> list[Delivery]:
        """What is sent in place of a message."""
        change = _CHANGES.get(self.fault.do)
        return [(0.0, message)] if change is None else change(self, message)

    def redraw(self) -> float:
        """A delay of its own for one tick."""
        return self._draw.uniform(*self.fault.values["delay"])


def _slow(effect: Effect, message: Message) -> list[Delivery]:
    return [(effect.delay, message)]


def _late_greeks(effect: Effect, message: Message) -> list[Delivery]:
    return [(effect.delay if message.number == COMPUTATION else 0.0, message)]


def _no_greeks(effect: Effect, message: Message) -> list[Delivery]:
    del effect
    return [] if message.number == COMPUTATION else [(0.0, message)]


def _prices(effect: Effect, message: Message) -> list[Delivery]:
    """A price of -1 comes with size 0, as the gateway sends it when there is none."""
    value, names = effect.fault.values["value"], effect.fault.values["fields"]
    types = {str(shown) for name in names for shown in _live_and_delayed(PRICE_TYPES[name])}
    sizes = {str(shown) for name in names if name in SIZE_TYPES for shown in _live_and_delayed(SIZE_TYPES[name])}
    if message.number == PRICE and message.texts[3] in types:
        changed = message.with_text(4, value)
        return [(0.0, changed.with_text(5, "0") if value == "-1" else changed)]
    if message.number == SIZE and message.texts[3] in sizes and value == "-1":
        return [(0.0, message.with_text(4, "0"))]
    return [(0.0, message)]


def _live_and_delayed(tick_type: int) -> tuple[int, int]:
    return tick_type, DELAYED_TYPES[tick_type]


def _data_type(effect: Effect, message: Message) -> list[Delivery]:
    wanted = TYPE_NUMBERS[effect.fault.values["type"]]
    if message.number == DATA_TYPE:
        return [(0.0, message.with_text(3, str(wanted)))]
    position = {PRICE: 3, SIZE: 3, TEXT: 3, COMPUTATION: 2}.get(message.number)
    if wanted < TYPE_NUMBERS["delayed"] or position is None:
        return [(0.0, message)]
    shown = int(message.texts[position])
    return [(0.0, message.with_text(position, str(DELAYED_TYPES.get(shown, shown))))]


def _duplicate_ticks(effect: Effect, message: Message) -> list[Delivery]:
    return [(0.0, message)] * (effect.fault.values["copies"] if message.number in TICKS else 1)


def _shuffled_ticks(effect: Effect, message: Message) -> list[Delivery]:
    return [(effect.redraw() if message.number in TICKS else 0.0, message)]


def _field_count(effect: Effect, message: Message) -> list[Delivery]:
    change = int(effect.fault.values["change"])
    if message.number == ERROR:
        return [(0.0, message)]
    texts = [*message.texts, *["0"] * change] if change > 0 else message.texts[: max(1, len(message.texts) + change)]
    return [(0.0, replace(message, texts=texts))]


_CHANGES: Mapping[str, Callable[[Effect, Message], list[Delivery]]] = {
    "slow": _slow,
    "late_greeks": _late_greeks,
    "no_greeks": _no_greeks,
    "prices": _prices,
    "data_type": _data_type,
    "duplicate_ticks": _duplicate_ticks,
    "shuffled_ticks": _shuffled_ticks,
    "field_count": _field_count,
}
