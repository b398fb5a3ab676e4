"""What can be made to fail: the kinds of faults, and one fault with its moment, its target and its values.

docs/simulated-gateway.md lists every kind with its values, and a test compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

from v6.simulator.fault_values import (
    REQUIRED,
    FaultError,
    Value,
    choice,
    choices,
    flag,
    instant,
    integer,
    number,
    seconds_range,
    text,
)
from v6.simulator.messages import IDENTIFIED_KINDS, MARKET_DATA, REQUEST_KINDS, RequestSeen

FARMS = ("market_data", "history", "contracts")
ANSWERS = ("silence", "error")
PRICES = ("bid", "ask", "last", "open", "high", "low", "close")


class Scope(StrEnum):
    """What a fault strikes."""

    REQUEST = "request"  # requests that fit, one by one
    SESSION = "session"  # open connections
    GATEWAY = "gateway"  # the whole gateway, for a time
    WINDOW = "window"  # the whole gateway, as long as it is armed
    MARKET = "market"  # what is listed or held


@dataclass(frozen=True, kw_only=True, slots=True)
class FaultKind:
    """One way to fail."""

    name: str
    scope: Scope
    meaning: str
    values: Mapping[str, Value] = field(default_factory=dict)
    requests: tuple[str, ...] = REQUEST_KINDS  # the kinds of requests it can strike


def _of_request(name: str, meaning: str, requests: tuple[str, ...] = IDENTIFIED_KINDS, **values: Value) -> FaultKind:
    return FaultKind(name=name, scope=Scope.REQUEST, meaning=meaning, values=values, requests=requests)


def _of(scope: Scope, name: str, meaning: str, **values: Value) -> FaultKind:
    return FaultKind(name=name, scope=scope, meaning=meaning, values=values)


_CODE = Value(integer(1), REQUIRED, "the error code")
_TEXT = Value(text, "", "the error's text; the gateway's own when left out")
_FARM_ANSWERS = Value(choice(*ANSWERS), "silence", "what requests get meanwhile: silence, or an error")
_ONE_QUOTE = (MARKET_DATA,)
_DELAY = "seconds, or the least and the most of them, drawn by request"

_KINDS = (
    _of_request(
        "error", "the request ends with an error", REQUEST_KINDS, code=_CODE, text=_TEXT,
        goes_on=Value(flag, False, "the answer follows the error"),
    ),
    _of_request("silence", "the request is never answered", REQUEST_KINDS),
    _of_request("slow", "the answer comes late", delay=Value(seconds_range, REQUIRED, _DELAY)),
    _of_request(
        "late_greeks", "option computations come late", _ONE_QUOTE, delay=Value(seconds_range, REQUIRED, _DELAY)
    ),
    _of_request("no_greeks", "option computations never come", _ONE_QUOTE),
    _of_request(
        "prices", "prices are sent as -1, NaN or another text", _ONE_QUOTE,
        value=Value(text, "-1", "what is sent in the price's place"),
        fields=Value(choices(*PRICES), ("bid", "ask"), "which prices"),
    ),
    _of_request(
        "data_type", "frozen or delayed data come, whatever was asked", _ONE_QUOTE,
        type=Value(choice("frozen", "delayed", "delayed_frozen"), REQUIRED, "which"),
    ),
    _of_request(
        "duplicate_ticks", "every tick comes several times", _ONE_QUOTE, copies=Value(integer(2), 2, "how often")
    ),
    _of_request(
        "shuffled_ticks", "each tick is held back for a time of its own: an older one may follow", _ONE_QUOTE,
        delay=Value(seconds_range, (0.0, 2.0), "least and most seconds, drawn by tick"),
    ),
    _of_request(
        "field_count", "answers have too many or too few fields",
        change=Value(number(-100, 100), -1.0, "fields added, or with a minus taken from the end"),
    ),
    _of_request(
        "torn_frame", "the first answer comes in two halves",
        then=Value(choice("go_on", "close", "hang"), "close", "after the first half: the rest, a close, or nothing"),
        delay=Value(seconds_range, (1.0, 1.0), "until the rest comes"),
    ),
    _of_request(
        "bad_length", "the first answer says a wrong length", length=Value(integer(0), 2**31, "the length it says")
    ),
    _of(Scope.SESSION, "notice", "a notice that belongs to no request", code=_CODE, text=_TEXT),
    _of(Scope.SESSION, "garbage", "bytes without sense", bytes=Value(integer(1), 64, "how many")),
    _of(
        Scope.SESSION, "disconnect", "the socket is closed",
        how=Value(choice("close", "reset"), "close", "in order (FIN) or not (RST)"),
    ),
    _of(
        Scope.SESSION, "half_open",
        "the gateway stops reading and answering, and closes nothing; with seconds it goes on afterwards",
        keeps_client_id=Value(flag, False, "the client id stays in use: 326"),
    ),
    _of(
        Scope.GATEWAY, "farm_down", "2103, 2105 or 2157; data of that kind stop; then 2104, 2106 or 2158",
        farm=Value(choice(*FARMS), "market_data", "which farm"), answers=_FARM_ANSWERS,
    ),
    _of(
        Scope.GATEWAY, "connectivity_lost", "1100 or 2110; all data stop; then 1101 (subscriptions are lost) or 1102",
        code=Value(choice("1100", "2110"), "1100", "the notice"),
        then=Value(choice("1101", "1102"), "1102", "the notice at the end"),
        answers=Value(choice("silence", "200"), "200", "what requests for a contract get meanwhile"),
    ),
    _of(
        Scope.GATEWAY, "competing_session", "10197 to every quote that is open or asked for; ticks stop",
        keeps_lines=Value(flag, True, "the subscriptions stay open and go on afterwards"),
    ),
    _of(
        Scope.GATEWAY, "nightly_reset", "1100 and all farms down, then a restart",
        closed_seconds=Value(number(), 5.0, "how long nobody listens at the end"),
    ),
    _of(Scope.GATEWAY, "restart", "all sockets are closed and nobody listens, for seconds"),
    _of(Scope.GATEWAY, "new_port", "1300, and from then on another port", port=Value(integer(0), 0, "0: a free one")),
    _of(Scope.WINDOW, "mute", "new connections are taken and never answered"),
    _of(Scope.WINDOW, "client_id_in_use", "326 to new connections", client_id=Value(integer(0), 0, "this id only")),
    _of(
        Scope.WINDOW, "message_limit", "another limit of messages",
        limit=Value(integer(1), 50, "messages a second"),
        mode=Value(choice("reject", "queue"), "reject", "above it: error 100, or a wait"),
    ),
    _of(
        Scope.MARKET, "position", "the account holds another number of a contract; 0 closes the position",
        quantity=Value(number(-1e9, 1e9), REQUIRED, "how many, short with a minus"),
        average_cost=Value(number(), 0.0, "what one cost"),
    ),
    _of(Scope.MARKET, "expire", "contracts that fit symbol, sec_type, expiry and con_id are listed no longer"),
)  # fmt: skip
KINDS: Mapping[str, FaultKind] = {kind.name: kind for kind in _KINDS}

COMMON: Mapping[str, Value] = {
    "at": Value(instant, None, "from this instant of the clock on"),
    "after_seconds": Value(number(), 0.0, "from so many clock seconds after the gateway's start (or now) on"),
    "after_messages": Value(integer(0), 0, "so many messages that fit pass first; the next is struck"),
    "seconds": Value(number(), None, "for so many clock seconds; without it for good"),
    "times": Value(integer(1), None, "so often at most; once for what strikes sessions, without limit for requests"),
    "probability": Value(number(0, 1), 1.0, "the chance of each message that fits"),
    "request": Value(choice(*REQUEST_KINDS), "", "only this kind of request"),
    "symbol": Value(text, "", "only this symbol"),
    "sec_type": Value(text, "", "only this type of contract: STK, OPT, …"),
    "expiry": Value(text, "", "only this expiry, YYYYMMDD or YYYYMM"),
    "con_id": Value(integer(1), 0, "only this contract"),
    "client": Value(integer(0), None, "only this client id"),
}
_TARGETS = ("request", "symbol", "sec_type", "expiry", "con_id")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One fault. ``values`` are those of its kind, every one of them set."""

    do: str
    at: datetime | None = None
    after_seconds: float = 0.0
    after_messages: int = 0
    seconds: float | None = None
    times: int | None = None
    probability: float = 1.0
    request: str = ""
    symbol: str = ""
    sec_type: str = ""
    expiry: str = ""
    con_id: int = 0
    client: int | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> FaultKind:
        """Which way it fails."""
        return KINDS[self.do]

    @property
    def waits_for_message(self) -> bool:
        """Whether a message has to come for it to strike, rather than its moment alone."""
        if self.kind.scope is Scope.REQUEST:
            return True
        if self.kind.scope in (Scope.MARKET, Scope.WINDOW):
            return False
        counts = self.after_messages > 0 or self.probability < 1
        return counts or any(getattr(self, name) for name in _TARGETS)

    @property
    def most_times(self) -> int | None:
        """How often it strikes at most."""
        if self.times is not None:
            return self.times
        return None if self.kind.scope in (Scope.REQUEST, Scope.WINDOW) else 1

    def fits(self, client: int, request: RequestSeen | None) -> bool:
        """Whether a message is one that it strikes."""
        if self.client not in (None, client):
            return False
        if request is None:
            return self.kind.scope is not Scope.REQUEST and not any(getattr(self, name) for name in _TARGETS)
        if self.kind.scope is Scope.REQUEST and request.kind not in self.kind.requests:
            return False
        return self.request in ("", request.kind) and self.fits_contract(
            request.symbol, request.sec_type, request.expiry, request.con_id
        )

    def fits_contract(self, symbol: str, sec_type: str, expiry: str, con_id: int) -> bool:
        """Whether a contract is one that it strikes."""
        return (
            self.symbol in ("", symbol)
            and self.sec_type in ("", sec_type)
            and expiry.startswith(self.expiry)
            and self.con_id in (0, con_id)
        )


def make_fault(written: Mapping[str, Any]) -> Fault:
    """A fault from the values a script or a client wrote. Raises FaultError, which names the value."""
    kind = KINDS.get(str(written.get("do", "")))
    if kind is None:
        raise FaultError("do", f"{written.get('do', '')!r} is no fault{_near(str(written.get('do', '')), KINDS)}")
    known = {**COMMON, **kind.values}
    for name in written:
        if name != "do" and name not in known:
            raise FaultError(name, f"{kind.name} has no such value{_near(name, known)}")
    read = {name: _read(name, value, written) for name, value in known.items()}
    fault = Fault(
        do=kind.name, values={name: read[name] for name in kind.values}, **{name: read[name] for name in COMMON}
    )
    _check(fault)
    return fault


def _read(name: str, value: Value, written: Mapping[str, Any]) -> Any:
    if name not in written:
        if value.default is REQUIRED:
            raise FaultError(name, f"{written['do']} needs it: {value.meaning}")
        return value.default
    try:
        return value.read(written[name])
    except ValueError as error:
        raise FaultError(name, f"{written[name]!r} is wrong: {error}") from error


def _check(fault: Fault) -> None:
    kind = fault.kind
    if fault.request and fault.request not in kind.requests:
        raise FaultError("request", f"{kind.name} strikes {', '.join(kind.requests)} only")
    if fault.at is not None and fault.after_seconds:
        raise FaultError("after_seconds", "give at or after_seconds, not both")
    if kind.name in ("restart", "nightly_reset", "farm_down", "connectivity_lost") and fault.seconds is None:
        raise FaultError("seconds", f"{kind.name} needs it: how long it lasts")
    if kind.name == "position" and not (fault.symbol or fault.con_id):
        raise FaultError("symbol", "position needs a symbol or a con_id")
    if kind.name == "expire" and not (fault.symbol or fault.con_id or fault.expiry):
        raise FaultError("symbol", "expire needs a symbol, an expiry or a con_id")


def _near(name: str, known: Mapping[str, Any]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f": did you mean {near[0]}?" if near else f": there are {', '.join(known)}"
