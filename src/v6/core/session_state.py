"""The state of the session with the gateway, why it is so, and what may run in it.

disconnected ──▶ connecting ──▶ ready ◀──▶ degraded   a farm or the connectivity is lost, or calls go unanswered
     ▲               │            ▲ │
     │               │            │ └────▶ held       another session of this user has the market data, or
     └───────────────┴── socket closed ───────┘       the session is gone within a planned window
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from v6.core.error_catalogue import HELD_BY, MAKES_REFUSALS_DOUBTFUL, ErrorAction, ErrorRule, Subject
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
class OutageEnded(Event):
    """Data can be had again after ``seconds`` (clock time) without; so many calls that were in flight were issued
    again."""

    name: ClassVar[str] = "outage.ended"
    level: ClassVar[str] = "warning"

    reason: str
    seconds: float
    issued_again: int


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Obstacle:
    """Something that holds back some kinds of work."""

    reason: str
    kinds: frozenset[str]
    state: SessionState = SessionState.DEGRADED
    makes_refusals_doubtful: bool = False


class SessionStatus:
    """Keeps the state and its obstacles, and reports every change. ``planned`` tells why a session may be gone now."""

    def __init__(self, events: EventBus, *, planned: Callable[[], str | None] = lambda: None) -> None:
        self._events = events
        self._planned = planned
        self._socket = SessionState.DISCONNECTED
        self._socket_reason = "not connected yet"
        self._obstacles: dict[str, Obstacle] = {}
        self._reported = (self.state, self.reason)
        self._changed = asyncio.Event()
        self.on_change: Callable[[], None] = lambda: None

    @property
    def state(self) -> SessionState:
        """The state now."""
        if self._socket is not SessionState.READY:
            return SessionState.HELD if self._planned() else self._socket
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
        planned = None if self._socket is SessionState.READY else self._planned()
        return f"{planned}; {self._socket_reason}" if planned else self._socket_reason

    @property
    def is_answer_reliable(self) -> bool:
        """False while the gateway's "no such contract" means little."""
        return not any(obstacle.makes_refusals_doubtful for obstacle in self._obstacles.values())

    def move(self, state: SessionState, reason: str) -> None:
        """The socket is being opened, is ready or was lost; obstacles belong to one session, from its opening on."""
        self._socket = state
        self._socket_reason = reason
        if state is not SessionState.READY:
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

    def notice(self, rule: ErrorRule, code: int, text: str) -> None:
        """Take a notice of the gateway about what it can reach; others change nothing."""
        subject = rule.subject
        if subject is None:
            return
        farm = text.rpartition(":")[2].strip() if subject.value.endswith("farm") else ""
        key = f"{subject} {farm}".strip()
        if rule.action in {ErrorAction.HOLD, ErrorAction.SNOOZE}:
            is_competing = subject is Subject.COMPETING_SESSION
            self.block(
                key,
                Obstacle(
                    reason=f"{code}: {text}",
                    kinds=HELD_BY[subject],
                    state=SessionState.HELD if is_competing else SessionState.DEGRADED,
                    makes_refusals_doubtful=subject in MAKES_REFUSALS_DOUBTFUL,
                ),
            )
        else:
            self.clear(key)

    def admits(self, kind: str) -> str | None:
        """None when work of that kind may run now, else why not."""
        if self._socket is not SessionState.READY:
            return f"session {self.state}: {self.reason}"
        reasons = [obstacle.reason for obstacle in self._obstacles.values() if kind in obstacle.kinds]
        return f"session {self.state}: {'; '.join(reasons)}" if reasons else None

    def obstacles(self) -> str | None:
        """What holds any kind of work back, as one line; None when nothing does."""
        return None if self.state is SessionState.READY else f"session {self.state}: {self.reason}"

    async def until_admitted(self, kind: str) -> None:
        """Wait until work of that kind may run."""
        while self.admits(kind) is not None:
            self._changed.clear()
            await self._changed.wait()

    def _report(self) -> None:
        current = (self.state, self.reason)
        if current == self._reported:
            return
        previous, self._reported = self._reported[0], current
        self._changed.set()
        self.on_change()
        self._events.emit(SessionChanged(previous=previous, state=current[0], reason=current[1]))
