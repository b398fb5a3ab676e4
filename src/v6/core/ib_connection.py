"""The one session with the gateway: opens it, keeps it open, paces it and answers calls.

The only module that imports ib_async. It uses ib_async's socket client, which speaks the protocol, without the caches
that ib_async's ``IB`` lays over it (see gateway_receiver). The client's own throttle is off: pacing.py paces it all.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import ib_async

from v6.clock import Clock
from v6.core.circuit_breaker import BreakerState, CircuitBreaker
from v6.core.error_catalogue import ErrorAction, rule_for
from v6.core.gateway_receiver import CURRENT_TIME_CALL, POSITIONS_CALL, GatewayReceiver
from v6.core.ib_records import contract_fields, format_end
from v6.core.pacing import URGENT_SHARE, Claimant, LineLimiter, MessageLimiter, SlotLimiter, SmallBarLimiter
from v6.core.quote_collector import QuoteCollector
from v6.core.session_state import (
    ALL_KINDS,
    MARKET_DATA,
    GatewayNotice,
    Obstacle,
    ReconnectScheduled,
    SessionState,
    SessionStatus,
)
from v6.errors import ErrorCategory, GatewayError, GatewayUnavailable
from v6.events import EventBus
from v6.request_types.base import (
    Bar,
    Completeness,
    Contract,
    ContractDetails,
    MarketDataType,
    OptionParameters,
    Position,
    Quote,
)

# What happens on the wire is reported as events; without a handler the library's own lines would go to stderr.
logging.getLogger("ib_async").addHandler(logging.NullHandler())

SocketClient = Any  # ib_async.client.Client: its methods carry no types
NEW_CLIENT: Callable[[GatewayReceiver], SocketClient] = ib_async.Client

OWN_WORK = Claimant(priority=0, request_id="session")
GENERIC_TICKS = {
    "OPT": "100,101,106",
    "FOP": "100,101,106",
    "FUT": "101,106,588",
    "CONTFUT": "101,106,588",
    "STK": "101,106",
    "IND": "101,106",
}
SMALL_BAR_SIZES = frozenset({"1 secs", "5 secs", "10 secs", "15 secs", "30 secs"})
COMPETING_SESSION = "competing session"
BREAKER = "circuit breaker"
CLOSE_MACHINE_SECONDS = 1.0
BACKOFF_FIRST_SECONDS = 1.0
BACKOFF_CAP_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class CallDeadlines:
    """How long the gateway may take for an answer, clock seconds from when the question went out."""

    contract_details: float = 90.0  # broad ones are held back, up to about a minute
    option_parameters: float = 30.0
    history: float = 90.0
    positions: float = 30.0


class _Session:
    """One open socket: its client, its receiver, and the future that says that it is lost."""

    def __init__(self, receiver: GatewayReceiver) -> None:
        self.receiver = receiver
        self.client = NEW_CLIENT(receiver)
        self.client.MaxRequests = 0
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.client.apiError.connect(self._on_lost)
        self.client.apiEnd.connect(self._on_end)

    def _on_lost(self, message: str) -> None:
        if not self.lost.done():
            self.lost.set_result(message)

    def _on_end(self) -> None:
        self._on_lost("the gateway closed the connection")

    def close(self, reason: str) -> None:
        """Close the socket and tell whoever waits."""
        self._on_lost(reason)
        self.client.disconnect()

    async def wait_closed(self) -> None:
        """Until the socket is closed; a peer that takes nothing any more is cut off."""
        if self.client.conn.isConnected():
            is_closed = asyncio.Event()
            self.client.conn.disconnected.connect(lambda _message: is_closed.set())
            try:
                async with asyncio.timeout(CLOSE_MACHINE_SECONDS):
                    await is_closed.wait()
            except TimeoutError:
                self.client.conn.transport.abort()


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
        market_data_lines: int = 100,
        messages_per_second: int | None = None,
        historical_slots: int = 50,
        market_data_type: int = 1,
        connect_timeout_seconds: float = 10.0,
        heartbeat_seconds: float = 5.0,
        competing_hold_seconds: float = 300.0,
        deadlines: CallDeadlines | None = None,
        breaker: CircuitBreaker | None = None,
        jitter: random.Random | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.client_id = client_id
        self.market_data_type = MarketDataType(market_data_type)
        self.deadlines = deadlines or CallDeadlines()
        self.clock = clock
        self.messages = MessageLimiter(per_second=messages_per_second or max(1, market_data_lines // 2), clock=clock)
        self.lines = LineLimiter(lines=market_data_lines, urgent=market_data_lines // URGENT_SHARE)
        self.historical = SlotLimiter(slots=historical_slots, urgent=historical_slots // URGENT_SHARE)
        self.small_bars = SmallBarLimiter(clock=clock)
        self._events = events
        self._status = SessionStatus(events)
        self._breaker = breaker or CircuitBreaker()
        self._jitter = jitter or random.Random()
        self._connect_timeout = connect_timeout_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._competing_hold_seconds = competing_hold_seconds
        self._session: _Session | None = None
        self._account = ""
        self._is_stopped = False
        self._last_refusal: tuple[int, str] | None = None
        self._competing_until = 0.0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._positions: asyncio.Task[list[Position]] | None = None

    # --- life ---

    async def start(self) -> None:
        """Open the session. Raises GatewayUnavailable with what to do when there is none to be had."""
        self._status.move(SessionState.CONNECTING, f"connecting to {self.host}:{self.port}")
        self._last_refusal = None
        self._is_stopped = False
        session = _Session(
            GatewayReceiver(on_notice=self._on_notice, is_answer_reliable=lambda: not self._status.is_connectivity_lost)
        )
        try:
            await self._open(session)
        except (GatewayUnavailable, asyncio.CancelledError) as error:
            reason = str(error) or "given up while connecting"
            session.close(reason)
            await session.wait_closed()
            self._status.move(SessionState.DISCONNECTED, reason)
            raise
        self._session = session
        self._account = session.client.getAccounts()[0]
        self._breaker.reset()
        self._competing_until = 0.0
        session.lost.add_done_callback(lambda lost: self._end(session, lost.result()))
        self._status.move(SessionState.READY, f"account {self._account}")
        await self._send(OWN_WORK, session, lambda client: client.reqMarketDataType(int(self.market_data_type)))

    async def _open(self, session: _Session) -> None:
        opening = asyncio.create_task(
            session.client.connectAsync(self.host, self.port, self.client_id, None), name="gateway-open"
        )
        try:
            # A socket that answers is a matter of machine time, however fast the clock runs.
            async with self.clock.timeout(self._connect_timeout * self.clock.speed):
                ends: set[asyncio.Future[Any]] = {opening, session.lost}
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError as error:
            raise self._unavailable("does not answer the handshake") from error
        finally:
            opening.cancel()
            outcome = (await asyncio.gather(opening, return_exceptions=True))[0]
        if not session.client.isReady():
            cause = outcome if isinstance(outcome, Exception) else None
            what = "cannot be reached" if isinstance(cause, OSError) else "refused the session"
            raise self._unavailable(what) from cause

    def _unavailable(self, what: str) -> GatewayUnavailable:
        address = f"{self.host}:{self.port}"
        if self._last_refusal is not None and self._last_refusal[0] == 326:
            return GatewayUnavailable(
                f"client id {self.client_id} is in use at the gateway {address}: set V6_CLIENT_ID to another number",
                category=ErrorCategory.SESSION,
                code=326,
            )
        detail = f" ({self._last_refusal[0]}: {self._last_refusal[1]})" if self._last_refusal else ""
        return GatewayUnavailable(
            f"the gateway at {address} {what}{detail}: start IB Gateway or `v6 gateway`, "
            "or set V6_GATEWAY_HOST and V6_GATEWAY_PORT",
            category=ErrorCategory.SESSION if self._last_refusal else ErrorCategory.NETWORK,
            code=self._last_refusal[0] if self._last_refusal else None,
        )

    async def run(self) -> None:
        """Keep the session open until cancelled or stopped; reconnect with exponential back-off and jitter."""
        attempt = 0
        while not self._is_stopped:
            if self._session is None:
                attempt += 1
                try:
                    await self.start()
                except GatewayError as error:
                    await self._back_off(attempt, str(error))
                    continue
            attempt = 0
            await self._watch()

    async def _back_off(self, attempt: int, reason: str) -> None:
        longest = min(BACKOFF_CAP_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** min(attempt - 1, 10))
        seconds = longest * self._jitter.uniform(0.5, 1.0)
        self._events.emit(ReconnectScheduled(seconds=seconds, reason=reason))
        await self.clock.sleep(seconds)

    async def _watch(self) -> None:
        """Ask for the time every few seconds: a socket that is open on one side only shows in no other way."""
        while (session := self._session) is not None:
            pause = asyncio.create_task(
                self.clock.sleep(self._heartbeat_seconds * self.clock.speed), name="gateway-heartbeat-pause"
            )
            ends: set[asyncio.Future[Any]] = {session.lost, pause}
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                pause.cancel()
            if self._session is session:
                await self._beat(session)

    async def _beat(self, session: _Session) -> None:
        now = self.clock.monotonic()
        if self._competing_until <= now:
            self._status.clear(COMPETING_SESSION)
        is_probe = self._breaker.take_probe(now)
        try:
            await self._current_time(session)
        except GatewayError as error:
            session.close(f"the gateway at {self.host}:{self.port} does not answer any more ({error})")
            return
        if is_probe:
            self._breaker.succeed(probe=True)
        self._report_breaker()

    async def _current_time(self, session: _Session) -> None:
        with session.receiver.expect(CURRENT_TIME_CALL, "current time") as call:
            await self._send(OWN_WORK, session, lambda client: client.reqCurrentTime())
            try:
                async with self.clock.timeout(self._connect_timeout * self.clock.speed):
                    await call.answer
            except TimeoutError as error:
                raise GatewayError("no heartbeat", category=ErrorCategory.TIMEOUT) from error

    async def stop(self) -> None:
        """Close the session in order; what is in flight fails."""
        self._is_stopped = True
        session = self._session
        if session is not None:
            session.close("v6 closed the session")
            self._end(session, "v6 closed the session")
            await session.wait_closed()
        tasks = {*self._tasks, *([self._positions] if self._positions is not None else [])}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self, session: _Session, reason: str) -> None:
        if self._session is session:
            self._session = None
            self._status.move(SessionState.DISCONNECTED, reason)
        session.receiver.fail_all(lambda: GatewayError(f"session lost: {reason}", category=ErrorCategory.SESSION))

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
        """Limits in use, and per limit what waits for it by request."""
        limiters = (self.messages, self.lines, self.historical, self.small_bars)
        return {
            "state": str(self.state),
            "reason": self.reason,
            "lines_in_use": self.lines.in_use,
            "lines": self.lines.lines,
            "messages_last_second": self.messages.in_last_second(),
            "messages_per_second": self.messages.per_second,
            "historical_in_use": self.historical.in_use,
            "historical_slots": self.historical.slots,
            "breaker": str(self._breaker.state(self.clock.monotonic())),
            "waiting": {limiter.reason: limiter.waiting() for limiter in limiters if limiter.waiting()},
        }

    def gateway(self, priority: int, request_id: str) -> RequestGateway:
        """One request's view of the session."""
        return RequestGateway(self, Claimant(priority=priority, request_id=request_id))

    def _on_notice(self, call_id: int, code: int, text: str) -> None:
        action = rule_for(code, text).action
        self._events.emit(GatewayNotice(call_id=call_id, code=code, text=text, action=str(action)))
        self._status.notice(code, text)
        if code == 1101 and self._session is not None:
            self._session.receiver.fail_quotes(
                lambda: GatewayError(f"{code}: {text}", category=ErrorCategory.NETWORK, code=code)
            )
        elif code == 100:
            self.messages.hold(1.0)
        elif code == 10197:
            self._competing_until = self.clock.monotonic() + self._competing_hold_seconds
            obstacle = Obstacle(reason=f"{code}: {text}", kinds=frozenset({MARKET_DATA}), state=SessionState.HELD)
            self._status.block(COMPETING_SESSION, obstacle)
        elif action is ErrorAction.RECONNECT:
            self._last_refusal = (code, text)
            if self._session is not None:
                self._session.close(f"{code}: {text}")

    def _report_breaker(self) -> None:
        if self._breaker.state(self.clock.monotonic()) is BreakerState.CLOSED:
            self._status.clear(BREAKER)
        else:
            self._status.block(BREAKER, Obstacle(reason="calls go unanswered: circuit breaker open", kinds=ALL_KINDS))

    # --- calls ---

    def _current(self) -> _Session:
        if self._session is None:
            raise GatewayError(f"no session: {self._status.reason}", category=ErrorCategory.SESSION)
        return self._session

    async def _send(self, claimant: Claimant, session: _Session, send: Callable[[SocketClient], None]) -> None:
        async with self.messages.message(claimant):
            if self._session is not session:  # ids are the old session's: this call is over
                raise GatewayError(f"session lost: {self._status.reason}", category=ErrorCategory.SESSION)
            send(session.client)

    async def call(
        self,
        claimant: Claimant,
        what: str,
        send: Callable[[SocketClient, int], None],
        *,
        seconds: float,
        cancel: Callable[[SocketClient, int], None] | None = None,
    ) -> list[Any]:
        """Ask and wait for the whole answer; ``cancel`` is sent when nobody waits any more."""
        session = self._current()
        call_id = session.client.getReqId()
        with session.receiver.expect(call_id, what) as call:
            await self._send(claimant, session, lambda client: send(client, call_id))
            try:
                return await self._answer(call.answer, what, seconds)
            except (TimeoutError, asyncio.CancelledError, GatewayError) as error:
                if cancel is not None and (not isinstance(error, GatewayError) or error.code is None):
                    self._spawn(self._release(claimant, session, lambda client: cancel(client, call_id)))
                raise

    async def _answer(self, answer: asyncio.Future[list[Any]], what: str, seconds: float) -> list[Any]:
        try:
            async with self.clock.timeout(seconds):
                items = await answer
        except TimeoutError as error:
            self._breaker.fail(self.clock.monotonic())
            self._report_breaker()
            raise GatewayError(f"{what}: no answer within {seconds:g} s", category=ErrorCategory.TIMEOUT) from error
        self._breaker.succeed()
        return items

    async def stream(self, claimant: Claimant, contract: Contract, completeness: Completeness) -> Quote:
        """Stream one contract until its quote is complete."""
        session = self._current()
        key = contract.con_id or contract
        collector = QuoteCollector(contract, completeness, self.market_data_type, self.clock)
        call_id = session.client.getReqId()
        await self.lines.acquire(key, claimant)
        is_streaming = False
        try:
            with session.receiver.stream(call_id, collector):
                await self._send(
                    claimant, session, lambda client: self._start_stream(client, call_id, contract, collector)
                )
                is_streaming = True
                return await collector.collect()
        finally:
            if is_streaming and not collector.has_failed:
                self._spawn(self._end_stream(claimant, session, call_id, key))
            else:
                self.lines.release(key)

    def _start_stream(self, client: SocketClient, call_id: int, contract: Contract, collector: QuoteCollector) -> None:
        ticks = GENERIC_TICKS.get(contract.sec_type, "")
        client.reqMktData(call_id, to_ib(contract), ticks, False, False, [])
        collector.started()

    async def _end_stream(self, claimant: Claimant, session: _Session, call_id: int, key: object) -> None:
        try:
            await self._release(claimant, session, lambda client: client.cancelMktData(call_id))
        finally:
            self.lines.release(key)

    async def _release(self, claimant: Claimant, session: _Session, send: Callable[[SocketClient], None]) -> None:
        """Send a cancel, in its turn; a session that is gone has nothing to cancel."""
        releasing = Claimant(priority=claimant.priority, request_id=claimant.request_id, releases=True)
        async with self.messages.message(releasing):
            if self._session is session and session.client.isConnected():
                send(session.client)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="gateway-release")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @asynccontextmanager
    async def history_slot(
        self, claimant: Claimant, contract: Contract, bar_size: str, what_to_show: str, identity: object
    ) -> AsyncIterator[None]:
        """Hold one of the open historical requests, after the rules for small bars."""
        if bar_size in SMALL_BAR_SIZES:
            series = (contract.con_id or contract, contract.exchange, what_to_show)
            async with self.small_bars.request(
                series=series, identity=(series, identity), what_to_show=what_to_show, claimant=claimant
            ):
                pass
        async with self.historical.slot(claimant):
            yield

    async def positions(self, claimant: Claimant) -> list[Position]:
        """All positions; those who ask at once share one answer, for it carries no request id."""
        if self._positions is None or self._positions.done():
            self._positions = asyncio.create_task(self._ask_positions(claimant), name="gateway-positions")
            self._positions.add_done_callback(_note_outcome)
        return await asyncio.shield(self._positions)

    async def _ask_positions(self, claimant: Claimant) -> list[Position]:
        session = self._current()
        with session.receiver.expect(POSITIONS_CALL, "positions") as call:
            await self._send(claimant, session, lambda client: client.reqPositions())
            try:
                return await self._answer(call.answer, "positions", self.deadlines.positions)
            finally:
                self._spawn(self._release(claimant, session, lambda client: client.cancelPositions()))


def _note_outcome(task: asyncio.Task[list[Position]]) -> None:
    """Whoever waited has the outcome; where all have gone away nobody needs it."""
    if not task.cancelled():
        task.exception()


def to_ib(contract: Contract) -> ib_async.Contract:
    """A contract as the client takes it."""
    return ib_async.Contract(**contract_fields(contract))


class RequestGateway:
    """The session as one request sees it: every call is paced by that request's priority."""

    def __init__(self, connection: IBConnectionManager, claimant: Claimant) -> None:
        self._connection = connection
        self._claimant = claimant

    @property
    def account(self) -> str:
        """The account the session belongs to."""
        return self._connection.account

    async def contract_details(self, contract: Contract) -> Sequence[ContractDetails]:
        """Every contract that fits; raises GatewayError 200 when none does."""
        return await self._connection.call(
            self._claimant,
            f"contract details of {_label(contract)}",
            lambda client, call_id: client.reqContractDetails(call_id, to_ib(contract)),
            seconds=self._connection.deadlines.contract_details,
        )

    async def option_parameters(self, underlying: ContractDetails) -> Sequence[OptionParameters]:
        """The expiries and strikes listed on an underlying, per exchange and trading class."""
        asked = underlying.contract
        exchange = asked.exchange if asked.sec_type in {"FUT", "CONTFUT"} else ""
        return await self._connection.call(
            self._claimant,
            f"option parameters of {_label(asked)}",
            lambda client, call_id: client.reqSecDefOptParams(
                call_id, asked.symbol, exchange, asked.sec_type, asked.con_id
            ),
            seconds=self._connection.deadlines.option_parameters,
        )

    async def quote(self, contract: Contract, completeness: Completeness) -> Quote:
        """Stream one contract until the quote is complete, then cancel."""
        return await self._connection.stream(self._claimant, contract, completeness)

    async def historical_bars(
        self,
        contract: Contract,
        *,
        end: datetime | None,
        duration: str,
        bar_size: str,
        what_to_show: str,
        regular_hours: bool,
    ) -> Sequence[Bar]:
        """One page of bars that end at ``end`` (UTC; None is now)."""
        connection = self._connection
        identity = (format_end(end), duration, bar_size, regular_hours)

        def send(client: SocketClient, call_id: int) -> None:
            client.reqHistoricalData(
                *(call_id, to_ib(contract), format_end(end), duration, bar_size, what_to_show),
                *(int(regular_hours), 2, False, []),
            )

        async with connection.history_slot(self._claimant, contract, bar_size, what_to_show, identity):
            return await connection.call(
                self._claimant,
                f"history of {_label(contract)}",
                send,
                seconds=connection.deadlines.history,
                cancel=lambda client, call_id: client.cancelHistoricalData(call_id),
            )

    async def positions(self) -> Sequence[Position]:
        """All positions of the account."""
        return await self._connection.positions(self._claimant)


def _label(contract: Contract) -> str:
    parts = (contract.sec_type, contract.symbol, contract.expiry or contract.contract_month, contract.strike)
    return " ".join(str(part) for part in (*parts, contract.right) if part)
