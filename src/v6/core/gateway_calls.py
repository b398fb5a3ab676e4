"""Calls in the session: admitted, paced, sent, answered; asked again when the session was lost or broken under them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

from v6.core.circuit_breaker import BreakerState
from v6.core.error_catalogue import ACCOUNT, ALL_KINDS, MARKET_DATA, ErrorAction, rule_for
from v6.core.fair_queue import Claimant, Wait
from v6.core.gateway_link import GatewayLink
from v6.core.gateway_receiver import POSITIONS_CALL, SessionInterrupted
from v6.core.gateway_session import GatewaySession, SocketClient, note_outcome
from v6.core.outages import Outages
from v6.core.pacing import free_admission
from v6.core.quote_collector import QuoteCollector
from v6.core.session_state import Obstacle
from v6.errors import ErrorCategory, GatewayError
from v6.events import EventBus
from v6.request_types.base import Completeness, Contract, MarketDataType, Position, Quote

Answer = TypeVar("Answer")
Admission = Callable[[], AbstractAsyncContextManager[Callable[[], None]]]

GENERIC_TICKS = {
    "OPT": "100,101,106",
    "FOP": "100,101,106",
    "FUT": "101,106,588",
    "CONTFUT": "101,106,588",
    "STK": "101,106",
    "IND": "101,106",
}
BREAKER = "circuit breaker"
HELD_IN_PLACE_SECONDS = 60.0  # a call waits so long for the session to come back, then its request is snoozed


@dataclass(frozen=True, kw_only=True, slots=True)
class CallDeadlines:
    """How long the gateway may take for an answer, clock seconds from when the question went out."""

    contract_details: float = 90.0  # broad ones are held back, up to about a minute
    option_parameters: float = 30.0
    history: float = 90.0
    positions: float = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One call: how it is sent, the kind of data it needs, what admits it, how it is cancelled when nobody waits."""

    what: str
    send: Callable[[SocketClient, int], None]
    kind: str
    seconds: float
    admission: Admission = free_admission
    cancel: Callable[[SocketClient, int], None] | None = None


class GatewayCalls:
    """Every question that v6 asks goes through here, whichever session is in use."""

    def __init__(
        self,
        link: GatewayLink,
        *,
        events: EventBus,
        market_data_type: MarketDataType,
        deadlines: CallDeadlines,
    ) -> None:
        self.pacing = link.pacing
        self.deadlines = deadlines
        self.on_send: Callable[[str], None] = lambda _request_id: None  # told whose message goes out
        self.on_whole_quote: Callable[[], None] = lambda: None
        self._current = link.current
        self._status = link.status
        self._outages = Outages(link.status, clock=link.clock, events=events)
        self._breaker = link.breaker
        self._clock = link.clock
        self.market_data_type = market_data_type
        self._tasks: set[asyncio.Task[Any]] = set()
        self._positions: asyncio.Task[list[Position]] | None = None
        self._held: dict[object, tuple[str, str, float]] = {}  # request, kind of data, since when

    async def _issued(self, claimant: Claimant, kind: str, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer of a call, asked again when the session was lost or broken under it.

        Raises:
            GatewayError: the call failed, or work of its kind was held for longer than a minute.
        """
        has_new_id = False
        while True:
            await self._until_admitted(claimant, kind)
            try:
                return await ask()
            except SessionInterrupted:
                if self._current.is_stopped:
                    raise
                self._outages.count_issued_again()
            except GatewayError as error:
                rule = None if error.code is None else rule_for(error.code, str(error))
                if has_new_id or rule is None or rule.action is not ErrorAction.NEW_ID:
                    raise
                has_new_id = True

    async def _until_admitted(self, claimant: Claimant, kind: str) -> None:
        reason = self._status.admits(kind)
        if reason is None:
            return
        if self._current.is_stopped:
            raise GatewayError(reason, category=ErrorCategory.SESSION)
        ticket = object()
        self._held[ticket] = (claimant.request_id, kind, self._clock.monotonic())
        try:
            async with self._clock.timeout(HELD_IN_PLACE_SECONDS):
                await self._status.until_admitted(kind)
        except TimeoutError as error:
            raise GatewayError(self._status.admits(kind) or reason, category=ErrorCategory.SESSION) from error
        finally:
            del self._held[ticket]

    def waits(self) -> dict[str, list[Wait]]:
        """What each request waits for: a place within a limit, or the session."""
        found = {request_id: list(waits) for request_id, waits in self.pacing.waits().items()}
        now = self._clock.monotonic()
        held: dict[tuple[str, str], list[float]] = {}
        for request_id, kind, since in self._held.values():
            held.setdefault((request_id, kind), []).append(now - since)
        for (request_id, kind), seconds in held.items():
            reason = self._status.admits(kind) or "the session was held"
            wait = Wait(reason=reason, steps=len(seconds), waited_seconds=round(max(seconds), 3))
            found.setdefault(request_id, []).append(wait)
        return found

    async def send(
        self,
        claimant: Claimant,
        session: GatewaySession,
        send: Callable[[SocketClient], None],
        call_id: int | None = None,
    ) -> None:
        """Send one message in its turn. Raises SessionInterrupted when that session is no longer in use."""
        async with self.pacing.messages.message(claimant) as number:
            if not self._current.is_in_use(session):  # ids are the old session's: this call is over
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

        return await self._issued(claimant, question.kind, ask)

    async def _ask(self, claimant: Claimant, question: Question, note_sent: Callable[[], None]) -> list[Any]:
        session = self._current.get(self._status.reason)
        call_id = session.client.getReqId()
        with session.receiver.expect(call_id, question.what, question.kind) as call:
            await self.send(claimant, session, lambda client: question.send(client, call_id), call_id)
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
            async with self._clock.timeout(seconds):
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
        self._breaker.fail(self._clock.monotonic())
        self.report_breaker()

    async def stream(
        self, claimant: Claimant, contract: Contract, completeness: Completeness, on_line: Callable[[], None]
    ) -> Quote:
        """Stream one contract until its quote is complete; ``on_line`` is told when it has its line."""

        async def ask() -> Quote:
            return await self._stream(claimant, contract, completeness, on_line)

        return await self._issued(claimant, MARKET_DATA, ask)

    async def _stream(
        self, claimant: Claimant, contract: Contract, completeness: Completeness, on_line: Callable[[], None]
    ) -> Quote:
        session = self._current.get(self._status.reason)
        key = contract.con_id or contract
        collector = QuoteCollector(contract, completeness, self.market_data_type, self._clock)
        call_id = session.client.getReqId()
        await self.pacing.lines.acquire(key, claimant)
        on_line()
        is_streaming = False
        try:
            with session.receiver.stream(call_id, collector):
                await self.send(
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
            self.on_whole_quote()
        return quote

    def _start_stream(self, client: SocketClient, call_id: int, contract: Contract, collector: QuoteCollector) -> None:
        ticks = GENERIC_TICKS.get(contract.sec_type, "")
        client.reqMktData(call_id, client.contract(contract), ticks, False, False, [])
        collector.started()

    async def _end_stream(self, claimant: Claimant, session: GatewaySession, call_id: int, key: object) -> None:
        try:
            await self._release(claimant, session, lambda client: client.cancelMktData(call_id))
        finally:
            self.pacing.lines.release(key)

    async def _release(self, claimant: Claimant, session: GatewaySession, send: Callable[[SocketClient], None]) -> None:
        """Send a cancel, in its turn; a session that is gone has nothing to cancel."""
        if not self._current.is_in_use(session):
            return
        releasing = Claimant(priority=claimant.priority, request_id=claimant.request_id, releases=True)
        async with self.pacing.messages.message(releasing):
            if self._current.is_in_use(session) and session.client.isConnected():
                send(session.client)

    def _spawn(self, work: Coroutine[Any, Any, None], *, name: str = "gateway-release") -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def positions(self, claimant: Claimant) -> list[Position]:
        """All positions; those who ask at once share one answer, for it carries no request id."""
        if self._positions is None or self._positions.done():
            asking = self._issued(claimant, ACCOUNT, lambda: self._ask_positions(claimant))
            self._positions = asyncio.ensure_future(asking)
            self._positions.set_name("gateway-positions")
            self._positions.add_done_callback(note_outcome)
        return await asyncio.shield(self._positions)

    async def _ask_positions(self, claimant: Claimant) -> list[Position]:
        session = self._current.get(self._status.reason)
        with session.receiver.expect(POSITIONS_CALL, "positions", ACCOUNT) as call:
            await self.send(claimant, session, lambda client: client.reqPositions())
            try:
                return await self._answer(call.answer, "positions", self.deadlines.positions)
            finally:
                self._spawn(self._release(claimant, session, lambda client: client.cancelPositions()))

    def report_breaker(self) -> None:
        """Hold everything back while the circuit breaker is not closed."""
        if self._breaker.state(self._clock.monotonic()) is BreakerState.CLOSED:
            self._status.clear(BREAKER)
        else:
            self._status.block(BREAKER, Obstacle(reason="calls go unanswered: circuit breaker open", kinds=ALL_KINDS))

    async def stop(self) -> None:
        """Give up what is still to be sent."""
        tasks = {*self._tasks, *([self._positions] if self._positions is not None else [])}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
