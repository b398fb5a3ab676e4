"""What the gateway has lost: farms, its connection to IB, or the market data to a competing session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from v6.simulator.messages import BARS, DETAILS, HEAD, MARKET_DATA, PARAMETERS, RequestSeen

FARM_DOWN = {"market_data": 2103, "history": 2105, "contracts": 2157}
FARM_UP = {"market_data": 2104, "history": 2106, "contracts": 2158}
COMPETING = 10197
KINDS_OF_FARM = {
    "market_data": frozenset({MARKET_DATA}),
    "history": frozenset({BARS, HEAD}),
    "contracts": frozenset({DETAILS, PARAMETERS}),
}
ALL_KINDS = frozenset[str]().union(*KINDS_OF_FARM.values())
CONTRACT_KINDS = frozenset({MARKET_DATA, BARS, DETAILS, HEAD})
# Which kind of data a message to the client is.
_KIND_OF_MESSAGE = {
    **dict.fromkeys((1, 2, 21, 45, 46, 50, 57, 58, 81), MARKET_DATA),
    **dict.fromkeys((17, 88, 90), BARS),
    **dict.fromkeys((10, 52, 75, 76), DETAILS),
}
_ERROR_OF_KIND = {MARKET_DATA: 10182, BARS: 162, HEAD: 162, DETAILS: 200, PARAMETERS: 200}


@dataclass(frozen=True, kw_only=True, slots=True)
class Outage:
    """Data of some kinds do not come. ``answers`` maps kinds of requests to the code they get; others get nothing.

    Where it ``subscribes``, quotes that are asked for meanwhile are taken, and their ticks come when it ends.
    """

    kinds: frozenset[str]
    answers: Mapping[str, int]
    subscribes: bool = True

    @classmethod
    def of_farm(cls, farm: str, *, answers: str) -> Outage:
        """A farm is down."""
        kinds = KINDS_OF_FARM[farm]
        errors = {kind: _ERROR_OF_KIND[kind] for kind in kinds} if answers == "error" else {}
        return cls(kinds=kinds, answers=errors, subscribes=answers != "error")

    @classmethod
    def of_connectivity(cls, *, answers: str) -> Outage:
        """The gateway has lost IB; it may say of contracts that exist that they do not."""
        errors = dict.fromkeys(CONTRACT_KINDS, 200) if answers == "200" else {}
        return cls(kinds=ALL_KINDS, answers=errors, subscribes=answers != "200")

    @classmethod
    def of_competing_session(cls, *, keeps_lines: bool) -> Outage:
        """Another session of the user has the market data."""
        return cls(kinds=frozenset({MARKET_DATA}), answers={MARKET_DATA: COMPETING}, subscribes=keeps_lines)


class Outages:
    """Those in force. ``resumed`` counts their ends: subscriptions then send everything again."""

    def __init__(self) -> None:
        self.resumed = 0
        self._in_force: list[Outage] = []

    @property
    def any(self) -> bool:
        """Whether anything is lost."""
        return bool(self._in_force)

    def begin(self, outage: Outage) -> None:
        """Data stop."""
        self._in_force.append(outage)

    def end(self, outage: Outage) -> None:
        """They come again."""
        self._in_force.remove(outage)
        self.resumed += 1

    def holds_back(self, message: int) -> bool:
        """Whether a message to a client does not come now."""
        kind = _KIND_OF_MESSAGE.get(message)
        return any(kind in outage.kinds for outage in self._in_force)

    def met_by(self, request: RequestSeen) -> Outage | None:
        """The one that stands in a request's way."""
        return next((outage for outage in self._in_force if request.kind in outage.kinds), None)
