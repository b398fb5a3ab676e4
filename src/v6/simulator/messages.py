"""Which message is what: the kind of a request, where its id and its contract stand. Field 0 is the message's id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MARKET_DATA, BARS, DETAILS, PARAMETERS = "market_data", "bars", "contract_details", "option_parameters"
HEAD, POSITIONS, ACCOUNT, TIME = "head_time_stamp", "positions", "account", "current_time"
REQUEST_KINDS = (MARKET_DATA, BARS, DETAILS, PARAMETERS, HEAD, POSITIONS, ACCOUNT, TIME)
IDENTIFIED_KINDS = (MARKET_DATA, BARS, DETAILS, PARAMETERS, HEAD)  # their answers carry the request's id


@dataclass(frozen=True, slots=True)
class RequestLayout:
    """Positions of the request id, and of the first of the contract's fields (its id)."""

    kind: str
    req_id: int | None = None
    contract: int | None = None


REQUESTS: Mapping[int, RequestLayout] = {
    1: RequestLayout(MARKET_DATA, 2, 3),
    20: RequestLayout(BARS, 1, 2),
    9: RequestLayout(DETAILS, 2, 3),
    78: RequestLayout(PARAMETERS, 1),
    87: RequestLayout(HEAD, 1, 2),
    50: RequestLayout("real_time_bars", 2, 3),
    61: RequestLayout(POSITIONS),
    74: RequestLayout("positions_multi", 2),
    6: RequestLayout(ACCOUNT),
    62: RequestLayout("account_summary", 2),
    76: RequestLayout("account_updates_multi", 2),
    92: RequestLayout("profit", 1),
    94: RequestLayout("profit_of_position", 1),
    49: RequestLayout(TIME),
    5: RequestLayout("open_orders"),
    16: RequestLayout("open_orders"),
    99: RequestLayout("completed_orders"),
    7: RequestLayout("executions", 2),
    8: RequestLayout("ids"),
    17: RequestLayout("managed_accounts"),
}
# Cancels, and the request each of them ends.
CANCELS: Mapping[int, RequestLayout] = {
    2: RequestLayout(MARKET_DATA, 2),
    25: RequestLayout(BARS, 2),
    90: RequestLayout(HEAD, 1),
    51: RequestLayout("real_time_bars", 2),
    63: RequestLayout("account_summary", 2),
    75: RequestLayout("positions_multi", 2),
    77: RequestLayout("account_updates_multi", 2),
    93: RequestLayout("profit", 1),
    95: RequestLayout("profit_of_position", 1),
    64: RequestLayout(POSITIONS),
}
# Answers: where the request id stands; None where there is none. From server version 166 on.
ANSWERS: Mapping[int, int | None] = {
    1: 2, 2: 2, 45: 2, 46: 2, 57: 2, 58: 2, 21: 1, 81: 1,
    4: 2, 10: 1, 52: 2, 75: 1, 76: 1,
    17: 1, 88: 1, 90: 1, 50: 2,
    71: 2, 72: 2, 73: 2, 74: 2, 63: 2, 64: 2, 94: 1, 95: 1, 55: 2,
    61: None, 62: None, 6: None, 7: None, 8: None, 54: None, 49: None, 53: None, 102: None, 15: None, 9: None,
}  # fmt: skip
TICKS = frozenset((1, 2, 21, 45, 46))


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestSeen:
    """A request as far as faults and recordings look at it; what a request does not name is empty or 0."""

    kind: str
    req_id: int = -1
    con_id: int = 0
    symbol: str = ""
    sec_type: str = ""
    expiry: str = ""


def request_seen(fields: Sequence[str]) -> RequestSeen | None:
    """What a client's message asks for; None for cancels, settings and what cannot be read."""
    layout = REQUESTS.get(_integer(fields, 0))
    if layout is None:
        return None
    req_id = -1 if layout.req_id is None else _integer(fields, layout.req_id)
    if layout.kind == PARAMETERS:
        return RequestSeen(kind=layout.kind, req_id=req_id, symbol=_text(fields, 2), con_id=_integer(fields, 5))
    if layout.contract is None:
        return RequestSeen(kind=layout.kind, req_id=req_id)
    first = layout.contract
    return RequestSeen(
        kind=layout.kind,
        req_id=req_id,
        con_id=_integer(fields, first),
        symbol=_text(fields, first + 1),
        sec_type=_text(fields, first + 2),
        expiry=_text(fields, first + 3),
    )


def cancelled_request(fields: Sequence[str]) -> tuple[str, int] | None:
    """Kind and id of the request that a message cancels; None when it is no cancel."""
    layout = CANCELS.get(_integer(fields, 0))
    if layout is None:
        return None
    return layout.kind, -1 if layout.req_id is None else _integer(fields, layout.req_id)


def _text(fields: Sequence[str], position: int) -> str:
    return fields[position] if position < len(fields) else ""


def _integer(fields: Sequence[str], position: int) -> int:
    text = _text(fields, position)
    return int(text) if text.lstrip("-").isdigit() else 0
