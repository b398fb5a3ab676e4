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
from v6.core.error_catalogue import ALL_KINDS
from v6.core.fair_queue import Claimant, Wait
from v6.core.gateway_calls import CallDeadlines, GatewayCalls
from v6.core.gateway_link import GatewayLink
from v6.core.gateway_notices import GatewayNotices
from v6.core.gateway_receiver import GatewayReceiver
from v6.core.gateway_session import CurrentSession, GatewaySession
from v6.core.heartbeat import OWN_WORK, Heartbeat
from v6.core.ib_records import contract_fields
from v6.core.loop_lag import LoopLag
from v6.core.outages import Outages
from v6.core.pacing import Pacing
from v6.core.pacing_record import PacingRecord
from v6.core.planned_windows import planned_reason
from v6.core.request_gateway import RequestGateway
from v6.core.session_opener import SessionOpener
from v6.core.session_state import SessionState, SessionStatus
from v6.errors import ErrorCategory, GatewayError, GatewayUnavailable
from v6.events import EventBus
from v6.request_types.base import Contract, MarketDataType

# What happens on the wire is reported as events; without a handler the library's own lines would go to stderr.
_LIBRARY_LOG = logging.getLogger("ib_async")
_LIBRARY_LOG.addHandler(logging.NullHandler())
_LIBRARY_LOG.setLevel(logging.INFO)  # at DEBUG it formats a line for every message

STABLE_SECONDS = 30.0  # a session that lived shorter counts as one more failed try
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
        self._client_ids = range(client_id, client_id + client_id_pool)
        self._account = ""
        self.pacing = Pacing(
            clock=clock,
            market_data_lines=market_data_lines,
            messages_per_second=messages_per_second,
            historical_slots=historical_slots,
            record=record,
            echo=self._ask_for_echo,
        )
        self._current = CurrentSession()
        self._status = SessionStatus(events, planned=lambda: planned_reason(region, clock.now()))
        self._breaker = breaker or CircuitBreaker()
        link = GatewayLink(
            current=self._current, status=self._status, pacing=self.pacing, breaker=self._breaker, clock=clock
        )
        self._loop_lag = LoopLag(clock, events)
        self._back_off = BackOff(clock, events, jitter)
        self._opener = SessionOpener(
            host=host, port=port, client_ids=self._client_ids, clock=clock, timeout_seconds=connect_timeout_seconds
        )
        self._heartbeat = Heartbeat(
            link,
            address=f"{host}:{port}",
            quiet_seconds=heartbeat_seconds,
            answer_seconds=connect_timeout_seconds,
            on_beat=self._look,
        )
        self._notices = GatewayNotices(
            link, opener=self._opener, competing_hold_seconds=competing_hold_seconds, events=events
        )
        self._calls = GatewayCalls(
            link,
            outages=Outages(self._status, clock=clock, events=events),
            market_data_type=self.market_data_type,
            deadlines=deadlines or CallDeadlines(),
        )
        self._calls.on_whole_quote = self._notices.whole_quote_came

    # --- life ---

    async def start(self) -> None:
        """Open the session. Raises GatewayUnavailable with what to do when there is none to be had."""
        self._current.is_stopped = False
        for client_id in self._client_ids:
            try:
                await self._start(client_id)
            except GatewayUnavailable:
                if not self._opener.is_client_id_taken() or client_id == self._client_ids[-1]:
                    raise
            else:
                return

    async def _start(self, client_id: int) -> None:
        self._status.move(SessionState.CONNECTING, f"connecting to {self.host}:{self.port} as client {client_id}")
        session = GatewaySession(self._receiver(), _StrictClient)
        try:
            await self._opener.open(session, client_id)
            self._know_account(session)
        except (GatewayUnavailable, asyncio.CancelledError) as error:
            self._status.move(SessionState.DISCONNECTED, self._opener.reason_of(error, client_id))
            raise
        self._current.session = session
        self.pacing.messages.opened()
        self._breaker.reset()
        self._notices.session_opened()
        session.lost.add_done_callback(lambda lost: self._end(session, lost.result()))
        self._status.move(SessionState.READY, f"account {self._account}")
        await self._calls.send(OWN_WORK, session, lambda client: client.reqMarketDataType(int(self.market_data_type)))

    def _receiver(self) -> GatewayReceiver:
        return GatewayReceiver(
            on_notice=self._notices.take,
            on_proof=self.pacing.messages.proven,
            is_answer_reliable=lambda: self._status.is_answer_reliable,
            clock=self.clock,
        )

    def _know_account(self, session: GatewaySession) -> None:
        """The account of the first session is that of all: somebody may log in to the gateway as another user."""
        account = session.client.getAccounts()[0]
        if self._account not in {"", account}:
            reason = (
                f"the gateway at {self.host}:{self.port} has account {account} now, and this worker began with "
                f"{self._account}: log in to the gateway as before, or start the worker anew on another lake"
            )
            session.close(reason)
            raise GatewayUnavailable(reason, category=ErrorCategory.SESSION)
        self._account = account

    async def run(self) -> None:
        """Keep the session open until cancelled or stopped; reconnect with exponential back-off and jitter."""
        measuring = asyncio.create_task(self._loop_lag.run(), name="loop-lag")
        try:
            await self._keep_open()
        finally:
            measuring.cancel()

    async def _keep_open(self) -> None:
        failures = 0
        while not self._current.is_stopped:
            if self._current.session is None:
                try:
                    await self.start()
                except GatewayError as error:
                    failures += 1
                    await self._back_off.wait(failures, str(error))
                    continue
            began = self.clock.machine_monotonic()
            await self._heartbeat.watch()
            failures = 0 if self.clock.machine_monotonic() - began >= STABLE_SECONDS else failures + 1
            if failures > 1:  # it was lost soon after it was opened, and not for the first time
                await self._back_off.wait(failures - 1, self._status.reason)

    def _ask_for_echo(self) -> None:
        self._heartbeat.ask_for_echo()

    def _look(self, now: float) -> None:
        """Clear what time has cleared, and let the breaker show."""
        self._notices.look(now)
        self._calls.report_breaker()

    async def gateway_time(self) -> datetime:
        """What time the gateway says it is, UTC, whole seconds. Raises GatewayError when it does not answer."""
        return await self._heartbeat.gateway_time()

    async def stop(self) -> None:
        """Close the session in order; what is in flight fails."""
        self._current.is_stopped = True
        session = self._current.session
        if session is not None:
            session.close("v6 closed the session")
            self._end(session, "v6 closed the session")
            await session.wait_closed()
        await self._heartbeat.stop()
        await self._calls.stop()
        await self.pacing.small_bars.close()

    def _end(self, session: GatewaySession, reason: str) -> None:
        if self._current.is_in_use(session):
            self._current.session = None
            self._status.move(SessionState.DISCONNECTED, reason)
            self.pacing.messages.forget()
        session.receiver.fail(ALL_KINDS, f"session lost: {reason}")

    # --- what it knows ---

    @property
    def state(self) -> SessionState:
        """The state of the session."""
        return self._status.state

    @property
    def reason(self) -> str:
        """Why it is in that state."""
        return self._status.reason

    @property
    def account(self) -> str:
        """The account of the session, empty before the first one."""
        return self._account

    def admits(self, pacing_class: str) -> str | None:
        """None when work of that kind may start now, else why not."""
        return self._status.admits(pacing_class)

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
            "breaker": str(self._breaker.state(self.clock.monotonic())),
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
            self._calls, Claimant(priority=priority, request_id=request_id), account=lambda: self._account
        )
