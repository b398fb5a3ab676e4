"""What everything that speaks to the gateway shares."""

from __future__ import annotations

from dataclasses import dataclass

from v6.clock import Clock
from v6.core.circuit_breaker import CircuitBreaker
from v6.core.gateway_session import CurrentSession
from v6.core.pacing import Pacing
from v6.core.session_state import SessionStatus


@dataclass(frozen=True, kw_only=True, slots=True)
class GatewayLink:
    """The way to the gateway: the socket in use, the session's state, the limits, and the breaker."""

    current: CurrentSession
    status: SessionStatus
    pacing: Pacing
    breaker: CircuitBreaker
    clock: Clock
