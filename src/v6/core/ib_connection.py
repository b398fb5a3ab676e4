"""The one session with the gateway: opens it, keeps it open, paces it and answers calls.

The only module that imports ib_async. It uses ib_async's socket client, which speaks the protocol, without the caches
that ib_async's ``IB`` lays over it (see gateway_receiver). The client's own throttle is off: pacing.py paces it all.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import ib_async

from v6.clock import Clock
from v6.core.circuit_breaker import BreakerState, CircuitBreaker
from v6.core.error_catalogue import (
    ACCOUNT,
    ALL_KINDS,
    HELD_BY,
    HISTORY,
    MARKET_DATA,
    ErrorAction,
    ErrorRule,
    Subject,
    rule_for,
)
from v6.core.fair_queue import Claimant, Wait
from v6.core.gateway_receiver import CURRENT_TIME_CALL, POSITIONS_CALL, GatewayReceiver, SessionInterrupted
from v6.core.ib_records import contract_fields, format_end
from v6.core.loop_lag import LoopLag
from v6.core.outages import Outages
from v6.core.pacing import Pacing, free_admission
from v6.core.pacing_record import PacingRecord
from v6.core.planned_windows import planned_reason
from v6.core.quote_collector import QuoteCollector
from v6.core.session_state import GatewayNotice, Obstacle, ReconnectScheduled, SessionState, SessionStatus
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
Answer = TypeVar("Answer")

OWN_WORK = Claimant(priority=0, request_id="session")
GENERIC_TICKS = {
    "OPT": "100,101,106",
    "FOP": "100,101,106",
    "FUT": "101,106,588",
    "CONTFUT": "101,106,588",
    "STK": "101,106",
    "IND": "101,106",
}
BREAKER = "circuit breaker"
CLOSE_MACHINE_SECONDS = 1.0
BACKOFF_FIRST_SECONDS = 1.0
BACKOFF_CAP_SECONDS = 60.0
STABLE_SECONDS = 30.0  # a session that lived shorter counts as one more failed try
LOOK_MACHINE_SECONDS = 0.5
HEARTBEAT_ANSWER_MACHINE_SECONDS = 6.0
HELD_IN_PLACE_SECONDS = 60.0  # a call waits so long for the session to come back, then its request is snoozed
LONGEST_COMPETING_HOLD_SECONDS = 1800.0
LARGEST_FRAME_BYTES = 64 << 20
SLICE_BYTES = 1 << 13  # the client copies what is left for every message: small pieces keep that cheap
READ_MACHINE_SECONDS = 0.01  # so long at a time


@dataclass(frozen=True, kw_only=True, slots=True)
class CallDeadlines:
    """How long the gateway may take for an answer, clock seconds from when the question went out."""

    contract_details: float = 90.0  # broad ones are held back, up to about a minute
    option_parameters: float = 30.0
    history: float = 90.0
    positions: float = 30.0


Admission = Callable[[], AbstractAsyncContextManager[Callable[[], None]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One call: how it is sent, the kind of data it needs, what admits it, how it is cancelled when nobody waits."""

    what: str
    send: Callable[[SocketClient, int], None]
    kind: str
    seconds: float
    admission: Admission = free_admission
    cancel: Callable[[SocketClient, int], None] | None = None


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

    def reset(self) -> None:
        """The socket is closed: nothing more is read."""
        super().reset()  # type: ignore[no-untyped-call]
        self._unread: deque[bytes] = deque()


def _check_length(unread: bytes) -> None:
    """Raises ValueError when the message that begins here is longer than any can be."""
    length = int.from_bytes(unread[:4], "big") if len(unread) >= 4 else 0
    if length > LARGEST_FRAME_BYTES:
        raise ValueError(f"a message of {length} bytes")


class _Session:
    """One open socket: its client, its receiver, and the future that says that it is lost."""

    def __init__(self, receiver: GatewayReceiver) -> None:
        self.receiver = receiver
        self.client: SocketClient = _StrictClient(receiver, self._on_garbage)
        self.complaint = ""  # what it sent that cannot be read
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.client.apiError.connect(self._on_lost)
        self.client.apiEnd.connect(self._on_end)

    def _on_lost(self, message: str) -> None:
        if not self.lost.done():
            self.lost.set_result(message)

    def _on_end(self) -> None:
        self._on_lost("the gateway closed the connection")

    def _on_garbage(self, reason: str) -> None:
        self.complaint = f": {reason}"
        self.close(reason)

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
        self.deadlines = deadlines or CallDeadlines()
        self.clock = clock
        self.pacing = Pacing(
            clock=clock,
            market_data_lines=market_data_lines,
            messages_per_second=messages_per_second,
            historical_slots=historical_slots,
            record=record,
            echo=self._ask_for_echo,
        )
        self._client_ids = range(client_id, client_id + client_id_pool)
        self.on_send: Callable[[str], None] = lambda _request_id: None  # told whose message goes out
        self._events = events
        self._status = SessionStatus(events, planned=lambda: planned_reason(region, clock.now()))
        self._outages = Outages(self._status, clock=clock, events=events)
        self._loop_lag = LoopLag(clock, events)
        self._breaker = breaker or CircuitBreaker()
        self._jitter = jitter or random.Random()
        self._connect_timeout = connect_timeout_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._competing_first_hold = self._competing_hold = competing_hold_seconds
        self._competing_until = 0.0
        self._session: _Session | None = None
        self._account = ""
        self._is_stopped = False
        self._last_refusal: tuple[ErrorRule, str] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._positions: asyncio.Task[list[Position]] | None = None
        self._echo: asyncio.Task[None] | None = None

    # --- life ---

    async def start(self) -> None:
        """Open the session. Raises GatewayUnavailable with what to do when there is none to be had."""
        self._is_stopped = False
        for client_id in self._client_ids:
            try:
                await self._start(client_id)
            except GatewayUnavailable:
                if not self._is_client_id_taken() or client_id == self._client_ids[-1]:
                    raise
            else:
                return

    def _is_client_id_taken(self) -> bool:
        return self._last_refusal is not None and self._last_refusal[0].action is ErrorAction.NEXT_CLIENT_ID

    async def _start(self, client_id: int) -> None:
        self._status.move(SessionState.CONNECTING, f"connecting to {self.host}:{self.port} as client {client_id}")
        self._last_refusal = None
        session = _Session(
            GatewayReceiver(
                on_notice=self._on_notice,
                on_packet=self.pacing.messages.heard,
                on_proof=self.pacing.messages.proven,
                is_answer_reliable=lambda: self._status.is_answer_reliable,
                clock=self.clock,
            )
        )
        try:
            await self._open(session, client_id)
        except (GatewayUnavailable, asyncio.CancelledError) as error:
            reason = str(error) or "given up while connecting"
            if self._is_client_id_taken():
                reason = f"client id {client_id} is in use at {self.host}:{self.port}"
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

    async def _open(self, session: _Session, client_id: int) -> None:
        opening = asyncio.create_task(
            session.client.connectAsync(self.host, self.port, client_id, None), name="gateway-open"
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
            raise self._unavailable(f"{what}{session.complaint}") from cause

    def _unavailable(self, what: str) -> GatewayUnavailable:
        address = f"{self.host}:{self.port}"
        refusal = self._last_refusal
        if refusal is not None and refusal[0].action is ErrorAction.NEXT_CLIENT_ID:
            ids = f"{self._client_ids[0]} to {self._client_ids[-1]}"
            return GatewayUnavailable(
                f"client ids {ids} are in use at the gateway {address}: set V6_CLIENT_ID to another number",
                category=ErrorCategory.SESSION,
                code=refusal[0].code,
            )
        detail = f" ({refusal[0].code}: {refusal[1]})" if refusal else ""
        return GatewayUnavailable(
            f"the gateway at {address} {what}{detail}: start IB Gateway or `v6 gateway`, "
            "or set V6_GATEWAY_HOST and V6_GATEWAY_PORT",
            category=ErrorCategory.SESSION if refusal else ErrorCategory.NETWORK,
            code=refusal[0].code if refusal else None,
        )

    async def run(self) -> None:
        """Keep the session open until cancelled or stopped; reconnect with exponential back-off and jitter."""
        measuring = asyncio.create_task(self._loop_lag.run(), name="loop-lag")
        try:
            await self._keep_open()
        finally:
            measuring.cancel()

    async def _keep_open(self) -> None:
        failures = 0
        while not self._is_stopped:
            if self._session is None:
                try:
                    await self.start()
                except GatewayError as error:
                    failures += 1
                    await self._back_off(failures, str(error))
                    continue
            began = self.clock.machine_monotonic()
            await self._watch()
            failures = 0 if self.clock.machine_monotonic() - began >= STABLE_SECONDS else failures + 1
            if failures > 1:  # it was lost soon after it was opened, and not for the first time
                await self._back_off(failures - 1, self._status.reason)

    async def _back_off(self, attempt: int, reason: str) -> None:
        longest = min(BACKOFF_CAP_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** min(attempt - 1, 10))
        seconds = longest * self._jitter.uniform(0.5, 1.0)
        self._events.emit(ReconnectScheduled(seconds=seconds, reason=reason))
        await self.clock.sleep(seconds)

    async def _watch(self) -> None:
        """Look often whether anything came in: a socket that is open on one side only shows in no other way."""
        while (session := self._session) is not None:
            pause = asyncio.create_task(
                self.clock.sleep(LOOK_MACHINE_SECONDS * self.clock.speed), name="gateway-heartbeat-pause"
            )
            ends: set[asyncio.Future[Any]] = {session.lost, pause}
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                pause.cancel()
            if self._session is session:
                await self._beat(session)

    async def _beat(self, session: _Session) -> None:
        """Clear what time has cleared; after some quiet, or for the breaker's probe, ask for the time."""
        now = self.clock.monotonic()
        if self._competing_until <= now:
            self._status.clear(Subject.COMPETING_SESSION)
        is_probe = self._breaker.take_probe(now)
        quiet = now - session.receiver.heard_at
        if not is_probe and quiet < self._heartbeat_seconds * self.clock.speed:
            return
        try:
            await self._current_time(session)
        except GatewayError as error:
            session.close(f"the gateway at {self.host}:{self.port} does not answer any more ({error})")
            return
        if is_probe:
            self._breaker.succeed(probe=True)
        self._report_breaker()

    def _ask_for_echo(self) -> None:
        """The message limiter wants to know what has arrived."""
        if self._session is not None and (self._echo is None or self._echo.done()):
            self._echo = self._spawn(self._echo_of(self._session), name="gateway-echo")

    async def _echo_of(self, session: _Session) -> None:
        try:
            await self._current_time(session)
        except GatewayError as error:
            session.close(f"the gateway at {self.host}:{self.port} does not answer any more ({error})")

    async def gateway_time(self) -> datetime:
        """What time the gateway says it is, UTC, whole seconds. Raises GatewayError when it does not answer."""
        session = self._session
        seconds = None if session is None else await self._current_time(session)
        if seconds is None:
            raise GatewayError("there is no session with the gateway", category=ErrorCategory.SESSION)
        return datetime.fromtimestamp(seconds, UTC)

    async def _current_time(self, session: _Session) -> int | None:
        with session.receiver.expect(CURRENT_TIME_CALL, "current time", ACCOUNT) as call:
            async with self.pacing.messages.message(OWN_WORK, is_echo=True) as number:
                if self._session is not session:
                    return None
                session.client.reqCurrentTime()
                session.receiver.proof_of(CURRENT_TIME_CALL, number)
            seconds = min(self._connect_timeout, HEARTBEAT_ANSWER_MACHINE_SECONDS)
            try:
                async with self.clock.timeout(seconds * self.clock.speed):
                    answer = await call.answer
            except TimeoutError as error:
                raise GatewayError("no heartbeat", category=ErrorCategory.TIMEOUT) from error
            return int(answer[0])

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
        await self.pacing.small_bars.close()

    def _end(self, session: _Session, reason: str) -> None:
        if self._session is session:
            self._session = None
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
        for request_id, waits in self.pacing.waits().items():
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

    def waits(self, request_id: str) -> Sequence[Wait]:
        """What one request waits for at this moment, and for how long."""
        return self.pacing.waits().get(request_id, [])

    def gateway(self, priority: int, request_id: str) -> RequestGateway:
        """One request's view of the session."""
        return RequestGateway(self, Claimant(priority=priority, request_id=request_id))

    def _on_notice(self, call_id: int, code: int, text: str) -> None:
        rule = rule_for(code, text)
        self._events.emit(GatewayNotice(call_id=call_id, code=code, text=text, action=str(rule.action)))
        was_held = self._status.obstacles()
        self._status.notice(rule, code, text)
        if rule.action is ErrorAction.SLOW_DOWN:
            self.pacing.messages.hold(1.0)
        elif rule.subject is Subject.COMPETING_SESSION:
            self._hold_for_competing_session()
        elif rule.action in {ErrorAction.RESUME, ErrorAction.RESUBSCRIBE} and was_held is not None:
            self._issue_again(rule, f"{code}: {text}")
        elif rule.action in {ErrorAction.RECONNECT, ErrorAction.NEXT_CLIENT_ID}:
            self._last_refusal = (rule, text)
            if self._session is not None:
                self._session.close(f"{code}: {text}")

    def _hold_for_competing_session(self) -> None:
        """Ever longer while the other session stays: a quote that comes shows that it is gone."""
        now = self.clock.monotonic()
        if self._competing_until <= now:
            self._competing_until = now + self._competing_hold
            self._competing_hold = min(LONGEST_COMPETING_HOLD_SECONDS, 2 * self._competing_hold)

    def _issue_again(self, rule: ErrorRule, reason: str) -> None:
        """Data are back: answers that were due in between may never come."""
        if self._session is None or rule.subject is None:
            return
        receiver, kinds = self._session.receiver, HELD_BY[rule.subject]
        receiver.fail_calls(kinds, reason)
        if rule.action is ErrorAction.RESUBSCRIBE:
            receiver.fail_quotes(reason)

    def _report_breaker(self) -> None:
        if self._breaker.state(self.clock.monotonic()) is BreakerState.CLOSED:
            self._status.clear(BREAKER)
        else:
            self._status.block(BREAKER, Obstacle(reason="calls go unanswered: circuit breaker open", kinds=ALL_KINDS))

    # --- calls ---

    def _current(self) -> _Session:
        if self._session is None:
            raise SessionInterrupted(f"no session: {self._status.reason}")
        return self._session

    async def _issued(self, kind: str, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer of a call, asked again when the session was lost or broken under it.

        Raises:
            GatewayError: the call failed, or work of its kind was held for longer than a minute.
        """
        has_new_id = False
        while True:
            await self._until_admitted(kind)
            try:
                return await ask()
            except SessionInterrupted:
                if self._is_stopped:
                    raise
                self._outages.count_issued_again()
            except GatewayError as error:
                rule = None if error.code is None else rule_for(error.code, str(error))
                if has_new_id or rule is None or rule.action is not ErrorAction.NEW_ID:
                    raise
                has_new_id = True

    async def _until_admitted(self, kind: str) -> None:
        reason = self._status.admits(kind)
        if reason is None:
            return
        if self._is_stopped:
            raise GatewayError(reason, category=ErrorCategory.SESSION)
        try:
            async with self.clock.timeout(HELD_IN_PLACE_SECONDS):
                await self._status.until_admitted(kind)
        except TimeoutError as error:
            raise GatewayError(self._status.admits(kind) or reason, category=ErrorCategory.SESSION) from error

    async def _send(
        self, claimant: Claimant, session: _Session, send: Callable[[SocketClient], None], call_id: int | None = None
    ) -> None:
        async with self.pacing.messages.message(claimant) as number:
            if self._session is not session:  # ids are the old session's: this call is over
                raise SessionInterrupted(f"session lost: {self._status.reason}")
            self.on_send(claimant.request_id)
            send(session.client)
            if call_id is not None:
                session.receiver.proof_of(call_id, number)

    async def call(self, claimant: Claimant, question: Question) -> list[Any]:
        """Ask and wait for the whole answer."""

        async def ask() -> list[Any]:
            async with question.admission() as note_sent:
                return await self._ask(claimant, question, note_sent)

        return await self._issued(question.kind, ask)

    async def _ask(self, claimant: Claimant, question: Question, note_sent: Callable[[], None]) -> list[Any]:
        session = self._current()
        call_id = session.client.getReqId()
        with session.receiver.expect(call_id, question.what, question.kind) as call:
            await self._send(claimant, session, lambda client: question.send(client, call_id), call_id)
            note_sent()
            try:
                return await self._answer(call.answer, question.what, question.seconds)
            except (TimeoutError, asyncio.CancelledError, GatewayError) as error:
                cancel = question.cancel
                if cancel is not None and (not isinstance(error, GatewayError) or error.code is None):
                    self._spawn(self._release(claimant, session, lambda client: cancel(client, call_id)))
                raise

    async def _answer(self, answer: asyncio.Future[list[Any]], what: str, seconds: float) -> list[Any]:
        try:
            async with self.clock.timeout(seconds):
                items = await answer
        except TimeoutError as error:
            self._note_failure()
            raise GatewayError(f"{what}: no answer within {seconds:g} s", category=ErrorCategory.TIMEOUT) from error
        except SessionInterrupted:
            raise
        except GatewayError as error:
            if error.category is ErrorCategory.NETWORK:
                self._note_failure()
            raise
        self._breaker.succeed()
        return items

    def _note_failure(self) -> None:
        self._breaker.fail(self.clock.monotonic())
        self._report_breaker()

    async def stream(self, claimant: Claimant, contract: Contract, completeness: Completeness) -> Quote:
        """Stream one contract until its quote is complete."""
        return await self._issued(MARKET_DATA, lambda: self._stream(claimant, contract, completeness))

    async def _stream(self, claimant: Claimant, contract: Contract, completeness: Completeness) -> Quote:
        session = self._current()
        key = contract.con_id or contract
        collector = QuoteCollector(contract, completeness, self.market_data_type, self.clock)
        call_id = session.client.getReqId()
        await self.pacing.lines.acquire(key, claimant)
        is_streaming = False
        try:
            with session.receiver.stream(call_id, collector):
                await self._send(
                    claimant, session, lambda client: self._start_stream(client, call_id, contract, collector), call_id
                )
                is_streaming = True
                quote = await collector.collect()
        finally:
            if is_streaming and not collector.is_refused:
                self._spawn(self._end_stream(claimant, session, call_id, key))
            else:
                self.pacing.lines.release(key)
        if not collector.is_whole and (reason := self._status.admits(MARKET_DATA)) is not None:
            raise SessionInterrupted(f"the quote is not whole: {reason}")
        if collector.is_whole:
            self._competing_hold = self._competing_first_hold
        return quote

    def _start_stream(self, client: SocketClient, call_id: int, contract: Contract, collector: QuoteCollector) -> None:
        ticks = GENERIC_TICKS.get(contract.sec_type, "")
        client.reqMktData(call_id, to_ib(contract), ticks, False, False, [])
        collector.started()

    async def _end_stream(self, claimant: Claimant, session: _Session, call_id: int, key: object) -> None:
        try:
            await self._release(claimant, session, lambda client: client.cancelMktData(call_id))
        finally:
            self.pacing.lines.release(key)

    async def _release(self, claimant: Claimant, session: _Session, send: Callable[[SocketClient], None]) -> None:
        """Send a cancel, in its turn; a session that is gone has nothing to cancel."""
        if self._session is not session:
            return
        releasing = Claimant(priority=claimant.priority, request_id=claimant.request_id, releases=True)
        async with self.pacing.messages.message(releasing):
            if self._session is session and session.client.isConnected():
                send(session.client)

    def _spawn(self, work: Coroutine[Any, Any, None], *, name: str = "gateway-release") -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def positions(self, claimant: Claimant) -> list[Position]:
        """All positions; those who ask at once share one answer, for it carries no request id."""
        if self._positions is None or self._positions.done():
            asking = self._issued(ACCOUNT, lambda: self._ask_positions(claimant))
            self._positions = asyncio.ensure_future(asking)
            self._positions.set_name("gateway-positions")
            self._positions.add_done_callback(_note_outcome)
        return await asyncio.shield(self._positions)

    async def _ask_positions(self, claimant: Claimant) -> list[Position]:
        session = self._current()
        with session.receiver.expect(POSITIONS_CALL, "positions", ACCOUNT) as call:
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
        self._has_history = False

    @property
    def account(self) -> str:
        """The account the session belongs to."""
        return self._connection.account

    async def contract_details(self, contract: Contract) -> Sequence[ContractDetails]:
        """Every contract that fits; raises GatewayError 200 when none does."""
        question = Question(
            what=f"contract details of {_label(contract)}",
            send=lambda client, call_id: client.reqContractDetails(call_id, to_ib(contract)),
            kind=MARKET_DATA if contract.sec_type in {"OPT", "FOP"} else ACCOUNT,
            seconds=self._connection.deadlines.contract_details,
            admission=lambda: self._connection.pacing.contract_details(contract, self._claimant),
        )
        return await self._connection.call(self._claimant, question)

    async def option_parameters(self, underlying: ContractDetails) -> Sequence[OptionParameters]:
        """The expiries and strikes listed on an underlying, per exchange and trading class."""
        asked = underlying.contract
        exchange = asked.exchange if asked.sec_type in {"FUT", "CONTFUT"} else ""
        question = Question(
            what=f"option parameters of {_label(asked)}",
            send=lambda client, call_id: client.reqSecDefOptParams(
                call_id, asked.symbol, exchange, asked.sec_type, asked.con_id
            ),
            kind=MARKET_DATA,
            seconds=self._connection.deadlines.option_parameters,
        )
        return await self._connection.call(self._claimant, question)

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
        """One page of bars that end at ``end`` (UTC; None is now).

        The first page of a request is refused when IB's limits would hold it back for long; later ones wait.
        """
        connection = self._connection
        identity = (format_end(end), duration, bar_size, regular_hours)
        is_patient, self._has_history = self._has_history, True

        def send(client: SocketClient, call_id: int) -> None:
            client.reqHistoricalData(
                *(call_id, to_ib(contract), format_end(end), duration, bar_size, what_to_show),
                *(int(regular_hours), 2, False, []),
            )

        question = Question(
            what=f"history of {_label(contract)}",
            send=send,
            kind=HISTORY,
            seconds=connection.deadlines.history,
            admission=lambda: connection.pacing.history(
                contract,
                bar_size=bar_size,
                what_to_show=what_to_show,
                identity=identity,
                claimant=self._claimant,
                is_patient=is_patient,
            ),
            cancel=lambda client, call_id: client.cancelHistoricalData(call_id),
        )
        return await connection.call(self._claimant, question)

    async def positions(self) -> Sequence[Position]:
        """All positions of the account."""
        return await self._connection.positions(self._claimant)


def _label(contract: Contract) -> str:
    parts = (contract.sec_type, contract.symbol, contract.expiry or contract.contract_month, contract.strike)
    return " ".join(str(part) for part in (*parts, contract.right) if part)
