"""The one session with the gateway: opens it, keeps it open, and hands out views of it.

The only module that imports ib_async. It uses ib_async's socket client, which speaks the protocol, without the caches
that ib_async's ``IB`` lays over it (see gateway_receiver). The client's own throttle is off: pacing.py paces it all.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import ib_async

from v6.clock import Clock
from v6.core.back_off import BackOff
from v6.core.circuit_breaker import CircuitBreaker
from v6.core.fair_queue import Claimant, Wait
from v6.core.gateway_calls import CallDeadlines, GatewayCalls
from v6.core.gateway_link import GatewayLink
from v6.core.gateway_receiver import GatewayReceiver
from v6.core.gateway_session import CurrentSession
from v6.core.ib_records import contract_fields
from v6.core.loop_lag import LoopLag
from v6.core.pacing import Pacing
from v6.core.pacing_record import PacingRecord
from v6.core.planned_windows import planned_reason
from v6.core.request_gateway import RequestGateway
from v6.core.session_keeper import SessionKeeper, SessionTimes
from v6.core.session_opener import GatewayAddress
from v6.core.session_state import SessionState, SessionStatus
from v6.events import EventBus
from v6.request_types.base import Contract, MarketDataType

# What happens on the wire is reported as events; without a handler the library's own lines would go to stderr.
_LIBRARY_LOG = logging.getLogger("ib_async")
_LIBRARY_LOG.addHandler(logging.NullHandler())
_LIBRARY_LOG.setLevel(logging.INFO)  # at DEBUG it formats a line for every message

LARGEST_FRAME_BYTES = 64 << 20
SLICE_BYTES = 1 << 13  # the client copies what is left for every message: small pieces keep that cheap
READ_MACHINE_SECONDS = 0.01  # so long at a time


class _StrictClient(ib_async.Client):
    """The socket client; what cannot be read ends the session instead of being passed over in silence."""

    def __init__(self, receiver: GatewayReceiver, on_garbage: Callable[[str], None]) -> None:
        super().__init__(receiver)  # type: ignore[no-untyped-call] # the library's methods carry no types
        self.MaxRequests = 0
        self._on_garbage = on_garbage
        self._on_packet = receiver.heard
        vars(self.decoder)["logger"] = self  # where it reports what it could not read

    def exception(self, message: str) -> None:
        """The decoder could not read a message, or a callback could not take it."""
        self._on_garbage(f"the gateway sent a message that cannot be read: {message[:200]}")

    def _onSocketHasData(self, data: bytes) -> None:  # noqa: N802 - the client's name
        self._on_packet()
        is_idle = not self._unread
        self._unread += [data[first : first + SLICE_BYTES] for first in range(0, len(data), SLICE_BYTES)]
        if is_idle:
            self._read_some()

    def _read_some(self) -> None:
        """Read for a few milliseconds; the rest in the loop's next rounds, so that a long answer blocks nobody."""
        loop = asyncio.get_running_loop()
        until = loop.time() + READ_MACHINE_SECONDS
        try:
            while self._unread:
                super()._onSocketHasData(self._unread.popleft())  # type: ignore[no-untyped-call]
                _check_length(self._data)
                if self._unread and loop.time() >= until:
                    loop.call_soon(self._read_some)
                    return
        except (ValueError, IndexError) as error:
            self._unread.clear()
            self._data = b""
            self._on_garbage(f"the gateway sent what is no message: {error}")

    @staticmethod
    def contract(contract: Contract) -> ib_async.Contract:
        """A contract as the client takes it."""
        return ib_async.Contract(**contract_fields(contract))

    def reset(self) -> None:
        """The socket is closed: nothing more is read."""
        super().reset()  # type: ignore[no-untyped-call]
        self._unread: deque[bytes] = deque()


def _check_length(unread: bytes) -> None:
    """Raises ValueError when the message that begins here is longer than any can be."""
    length = int.from_bytes(unread[:4], "big") if len(unread) >= 4 else 0
    if length > LARGEST_FRAME_BYTES:
        raise ValueError(f"a message of {length} bytes")


class IBConnectionManager:
    """Owns the session. ``gateway(...)`` gives one request's view of it."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        client_id: int,
        clock: Clock,
        events: EventBus,
        client_id_pool: int = 4,
        market_data_lines: int = 100,
        messages_per_second: int | None = None,
        historical_slots: int = 50,
        market_data_type: int = 1,
        connect_timeout_seconds: float = 10.0,
        heartbeat_seconds: float = 2.0,
        competing_hold_seconds: float = 300.0,
        region: str = "america",
        deadlines: CallDeadlines | None = None,
        breaker: CircuitBreaker | None = None,
        record: PacingRecord | None = None,
        jitter: random.Random | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.client_id = client_id
        self.market_data_type = MarketDataType(market_data_type)
        self.clock = clock
        self._loop_lag = LoopLag(clock, events)
        self._link = GatewayLink(
            current=CurrentSession(),
            status=SessionStatus(events, planned=lambda: planned_reason(region, clock.now())),
            pacing=Pacing(
                clock=clock,
                market_data_lines=market_data_lines,
                messages_per_second=messages_per_second,
                historical_slots=historical_slots,
                record=record,
                echo=self._ask_for_echo,
            ),
            breaker=breaker or CircuitBreaker(),
            clock=clock,
        )
        self._calls = GatewayCalls(
            self._link,
            events=events,
            market_data_type=self.market_data_type,
            deadlines=deadlines or CallDeadlines(),
        )
        self._keeper = SessionKeeper(
            self._link,
            self._calls,
            address=GatewayAddress(host=host, port=port, client_ids=range(client_id, client_id + client_id_pool)),
            make_client=_StrictClient,
            times=SessionTimes(
                connect_seconds=connect_timeout_seconds,
                heartbeat_seconds=heartbeat_seconds,
                competing_hold_seconds=competing_hold_seconds,
            ),
            events=events,
            back_off=BackOff(clock, events, jitter),
        )

    def _ask_for_echo(self) -> None:
        self._keeper.ask_for_echo()

    # --- life ---

    async def start(self) -> None:
        """Open the session. Raises GatewayUnavailable with what to do when there is none to be had."""
        await self._keeper.start()

    async def run(self) -> None:
        """Keep the session open until cancelled or stopped; reconnect with exponential back-off and jitter."""
        measuring = asyncio.create_task(self._loop_lag.run(), name="loop-lag")
        try:
            await self._keeper.keep_open()
        finally:
            measuring.cancel()

    async def stop(self) -> None:
        """Close the session in order; what is in flight fails."""
        await self._keeper.stop()
        await self._calls.stop()
        await self.pacing.small_bars.close()

    # --- what it knows ---

    @property
    def state(self) -> SessionState:
        """The state of the session."""
        return self._link.status.state

    @property
    def reason(self) -> str:
        """Why it is in that state."""
        return self._link.status.reason

    @property
    def account(self) -> str:
        """The account of the session, empty before the first one."""
        return self._keeper.account

    @property
    def pacing(self) -> Pacing:
        """The gateway's limits."""
        return self._link.pacing

    async def gateway_time(self) -> datetime:
        """What time the gateway says it is, UTC, whole seconds. Raises GatewayError when it does not answer."""
        return await self._keeper.gateway_time()

    def admits(self, pacing_class: str) -> str | None:
        """None when work of that kind may start now, else why not."""
        return self._link.status.admits(pacing_class)

    def usage(self) -> dict[str, Any]:
        """Limits in use, and what each request waits for."""
        waiting: dict[str, dict[str, Any]] = {}
        for request_id, waits in self._calls.waits().items():
            for wait in waits:
                waiting.setdefault(wait.reason, {})[request_id] = asdict(wait)
        return {
            "state": str(self.state),
            "reason": self.reason,
            **self.pacing.usage(),
            "breaker": str(self._link.breaker.state(self.clock.monotonic())),
            "loop_blocked_ms": self._loop_lag.worst_ms(),
            "waiting": waiting,
        }

    @property
    def on_send(self) -> Callable[[str], None]:
        """Called with the request id of each message that goes out."""
        return self._calls.on_send

    @on_send.setter
    def on_send(self, told: Callable[[str], None]) -> None:
        self._calls.on_send = told

    def waits(self, request_id: str) -> Sequence[Wait]:
        """What one request waits for at this moment, and for how long."""
        return self._calls.waits().get(request_id, [])

    def gateway(self, priority: int, request_id: str) -> RequestGateway:
        """One request's view of the session."""
        return RequestGateway(
            self._calls, Claimant(priority=priority, request_id=request_id), account=lambda: self.account
        )
