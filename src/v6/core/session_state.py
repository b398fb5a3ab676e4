"""The state of the session with the gateway, why it is so, and what may run in it.

disconnected ──▶ connecting ──▶ ready ◀──▶ degraded   a farm or the connectivity is lost, or calls go unanswered
     ▲               │            ▲ │
     │               │            │ └────▶ held       another session of this user has the market data
     └───────────────┴── socket closed ───────┘
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from v6.events import Event, EventBus


class SessionState(StrEnum):
    """Where the session stands."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    READY = "ready"
    DEGRADED = "degraded"
    HELD = "held"


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionChanged(Event):
    """The session went from one state to another, or the reason changed."""

    name: ClassVar[str] = "session.changed"

    previous: SessionState
    state: SessionState
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class GatewayNotice(Event):
    """The gateway sent an error or a notice. ``call_id`` is -1 where it belongs to no call."""

    name: ClassVar[str] = "gateway.notified"
    level: ClassVar[str] = "debug"

    call_id: int
    code: int
    text: str
    action: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ReconnectScheduled(Event):
    """The session could not be opened; the next try comes after ``seconds`` (clock time)."""

    name: ClassVar[str] = "reconnect.scheduled"
    level: ClassVar[str] = "warning"

    seconds: float
    reason: str


MARKET_DATA = "market_data"
HISTORY = "history"
ACCOUNT = "account"
ALL_KINDS = frozenset({MARKET_DATA, HISTORY, ACCOUNT})
# What a farm's failure takes away; without contract definitions neither quotes nor bars can be asked for.
_KINDS_BY_FARM_CODE = {
    2103: frozenset({MARKET_DATA}),
    2105: frozenset({HISTORY}),
    2157: frozenset({MARKET_DATA, HISTORY}),
}
_FARM_CODE_BY_RESUME = {2104: 2103, 2106: 2105, 2158: 2157}
_CONNECTIVITY_LOST = frozenset({1100, 2110})
_CONNECTIVITY_BACK = frozenset({1101, 1102})
CONNECTIVITY = "connectivity"


@dataclass(frozen=True, kw_only=True, slots=True)
class Obstacle:
    """Something that holds back some kinds of work."""

    reason: str
    kinds: frozenset[str]
    state: SessionState = SessionState.DEGRADED


class SessionStatus:
    """Keeps the state and its obstacles, and reports every change."""

    def __init__(self, events: EventBus) -> None:
        self._events = events
        self._socket = SessionState.DISCONNECTED
        self._socket_reason = "not connected yet"
        self._obstacles: dict[str, Obstacle] = {}
        self._reported = (self.state, self.reason)

    @property
    def state(self) -> SessionState:
        """The state now."""
        if self._socket is not SessionState.READY:
            return self._socket
        states = {obstacle.state for obstacle in self._obstacles.values()}
        for state in (SessionState.HELD, SessionState.DEGRADED):
            if state in states:
                return state
        return SessionState.READY

    @property
    def reason(self) -> str:
        """Why it is so, as one line."""
        if self._socket is SessionState.READY and self._obstacles:
            return "; ".join(obstacle.reason for obstacle in self._obstacles.values())
        return self._socket_reason

    @property
    def is_connectivity_lost(self) -> bool:
        """Between 1100 and 1101 or 1102: the gateway has lost IB's servers, and its answers mean little."""
        return CONNECTIVITY in self._obstacles

    def move(self, state: SessionState, reason: str) -> None:
        """The socket was opened, is ready or was lost; obstacles belong to one session."""
        self._socket = state
        self._socket_reason = reason
        self._obstacles.clear()
        self._report()

    def block(self, key: str, obstacle: Obstacle) -> None:
        """Something stands in the way until ``clear`` with the same key."""
        self._obstacles[key] = obstacle
        self._report()

    def clear(self, key: str) -> None:
        """That obstacle is gone."""
        if self._obstacles.pop(key, None) is not None:
            self._report()

    def notice(self, code: int, text: str) -> None:
        """Take a connectivity notice of the gateway; others change nothing."""
        farm = text.rpartition(":")[2].strip()
        if code in _CONNECTIVITY_LOST:
            self.block(CONNECTIVITY, Obstacle(reason=f"{code}: {text}", kinds=ALL_KINDS))
        elif code in _CONNECTIVITY_BACK:
            self.clear(CONNECTIVITY)
        elif code in _KINDS_BY_FARM_CODE:
            kinds = _KINDS_BY_FARM_CODE[code]
            self.block(f"farm {code} {farm}", Obstacle(reason=f"{code}: {text}", kinds=kinds))
        elif code in _FARM_CODE_BY_RESUME:
            self.clear(f"farm {_FARM_CODE_BY_RESUME[code]} {farm}")

    def admits(self, kind: str) -> str | None:
        """None when work of that kind may run now, else why not."""
        if self._socket is not SessionState.READY:
            return f"session {self._socket}: {self._socket_reason}"
        reasons = [obstacle.reason for obstacle in self._obstacles.values() if kind in obstacle.kinds]
        return f"session {self.state}: {'; '.join(reasons)}" if reasons else None

    def _report(self) -> None:
        current = (self.state, self.reason)
        if current == self._reported:
            return
        previous, self._reported = self._reported[0], current
        self._events.emit(SessionChanged(previous=previous, state=current[0], reason=current[1]))
