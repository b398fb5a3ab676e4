"""What makes two requests the same, whatever their ids: from the strictest reading to the most lenient one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import UTC, datetime

from v6.simulator.bar_requests import end_instant
from v6.simulator.messages import CANCELS, REQUESTS
from v6.simulator.session import RequestRefused
from v6.simulator.wire import FieldError, FieldReader

MARKET_DATA, DETAILS, BARS, HEAD = 1, 9, 20, 87
NEVER = datetime.max.replace(tzinfo=UTC)
UNSET = frozenset({"", "0", "0.0", "2147483647", "9223372036854775807"})
# Requests that the simulated gateway refuses and a real one serves: where the request's id stands.
OTHER_REQUESTS: Mapping[int, int | None] = {
    10: 2, 22: 1, 52: 2, 54: 2, 55: 2, 80: None, 81: 1, 82: None, 83: 1, 84: 1, 85: None, 86: 1, 88: 1, 91: None, 96: 1,
    97: 1, 104: 1,
}  # fmt: skip

Key = tuple[Hashable, ...]
Contract = tuple[Hashable, ...]


def is_request(number: int) -> bool:
    """Whether a client's message asks for something."""
    return number in REQUESTS or number in OTHER_REQUESTS


def request_id(fields: Sequence[str]) -> int | None:
    """The id of a request or a cancel; None where it carries none."""
    number = int(fields[0])
    layout = REQUESTS.get(number) or CANCELS.get(number)
    position = OTHER_REQUESTS.get(number) if layout is None else layout.req_id
    if position is None or position >= len(fields) or not fields[position].lstrip("-").isdigit():
        return None
    return int(fields[position])


def keys_of(fields: Sequence[str], data_type: int) -> list[Key]:
    """What a request asks for, the strictest reading first; ``data_type`` is the market-data type in force."""
    number = int(fields[0])
    layout = REQUESTS.get(number)
    position = OTHER_REQUESTS.get(number) if layout is None else layout.req_id
    exact: Key = (number, *(_plain(text) for place, text in enumerate(fields[1:], start=1) if place != position))
    try:
        return [exact, *_LENIENT[number](fields, data_type)]
    except (KeyError, FieldError):
        return [exact]


def end_of_bars(fields: Sequence[str]) -> datetime | None:
    """The end that a request for bars names, UTC; None where it is now, or no request for bars."""
    if fields[0] != str(BARS) or len(fields) <= 15 or not fields[15].strip():
        return None
    try:
        return end_instant(fields[15], "UTC", NEVER)
    except RequestRefused:
        return None


def _plain(text: str) -> str:
    """A field without the ways in which clients write nothing, and whole numbers."""
    if text in UNSET or text.lower().startswith("1.797693134862315"):
        return ""
    return text.removesuffix(".0")


def _contract(reader: FieldReader) -> Contract:
    query = reader.contract()
    if query.con_id:
        return (query.con_id,)
    multiplier = _plain(query.multiplier)
    named = (query.symbol.upper(), query.sec_type, query.expiry, query.strike, query.right[:1], multiplier)
    return (*named, query.exchange, query.primary_exchange, query.currency, query.local_symbol, query.trading_class)


def _quote(fields: Sequence[str], data_type: int) -> list[Key]:
    reader = FieldReader(fields[3:])
    contract = _contract(reader)
    if reader.flag():  # the contract it is to be hedged by
        reader.skip(3)
    ticks = frozenset(name.strip() for name in reader.text().split(",") if name.strip())
    is_snapshot = reader.flag()
    head = (MARKET_DATA, contract)
    return [(*head, ticks, is_snapshot, data_type), (*head, is_snapshot, data_type), (*head, is_snapshot), head]


def _details(fields: Sequence[str], data_type: int) -> list[Key]:
    del data_type
    reader = FieldReader(fields[3:])
    return [(DETAILS, _contract(reader), reader.flag())]


def _bars(fields: Sequence[str], data_type: int) -> list[Key]:
    del data_type
    reader = FieldReader(fields[2:])
    contract = _contract(reader)
    reader.skip()  # whether expired ones count
    end, bar_size, duration, regular, shown = (reader.text() for _ in range(5))
    return [(BARS, contract, bool(end.strip()), bar_size, duration.upper(), regular, shown.upper())]


def _head(fields: Sequence[str], data_type: int) -> list[Key]:
    del data_type
    reader = FieldReader(fields[2:])
    contract = _contract(reader)
    reader.skip()
    regular, shown = reader.text(), reader.text()
    return [(HEAD, contract, regular, shown.upper())]


_LENIENT: Mapping[int, Callable[[Sequence[str], int], list[Key]]] = {
    MARKET_DATA: _quote,
    DETAILS: _details,
    BARS: _bars,
    HEAD: _head,
}
