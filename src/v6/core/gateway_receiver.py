"""Takes what the gateway sends and hands it to the call it belongs to, by request id.

It stands where ib_async's own wrapper would. That one caches tickers and positions between requests, sends requests of
its own when the connectivity comes back, and takes several errors for warnings that end nothing; this one keeps nothing
longer than the call that asked.
"""
# ruff: noqa: N802, N803 - the names are those of the client's callbacks

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from v6.clock import Clock
from v6.core.error_catalogue import ErrorAction, rule_for
from v6.core.ib_records import bar_from, details_from, greeks_from, option_parameters_from, position_from
from v6.core.quote_collector import QuoteCollector
from v6.errors import ErrorCategory, GatewayError

POSITIONS_CALL = -2  # these two answers carry no request id
CURRENT_TIME_CALL = -3


class SessionInterrupted(GatewayError):
    """The session, or what the gateway can reach, was lost under a call: it is issued again."""

    def __init__(self, message: str) -> None:
        super().__init__(message, category=ErrorCategory.SESSION)


class Call:
    """One question: what has come so far, and the future of all of it."""

    def __init__(self, what: str, kind: str) -> None:
        self.what = what
        self.kind = kind
        self.items: list[Any] = []
        self.answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

    def end(self) -> None:
        """All has come."""
        if not self.answer.done():
            self.answer.set_result(self.items)

    def fail(self, error: GatewayError) -> None:
        """The gateway refused, or nobody can answer any more."""
        if not self.answer.done():
            self.answer.set_exception(error)


class GatewayReceiver:
    """The callbacks of one session."""

    def __init__(
        self,
        *,
        on_notice: Callable[[int, int, str], None],
        on_proof: Callable[[int], None],
        is_answer_reliable: Callable[[], bool],
        clock: Clock,
    ) -> None:
        """``on_proof`` is told the number of a message that is known to have been read: its answer has begun."""
        self._on_notice = on_notice
        self._on_proof = on_proof
        self._is_answer_reliable = is_answer_reliable
        self._clock = clock
        self._calls: dict[int, Call] = {}
        self._quotes: dict[int, QuoteCollector] = {}
        self._proofs: dict[int, int] = {}
        self.heard_at = clock.monotonic()

    def heard(self) -> None:
        """A packet came in."""
        self.heard_at = self._clock.monotonic()

    def proof_of(self, call_id: int, number: int) -> None:
        """The first answer to this call proves that the message of that number has been read."""
        self._proofs[call_id] = number

    def _prove(self, call_id: int) -> None:
        number = self._proofs.pop(call_id, None)
        if number is not None:
            self._on_proof(number)

    @contextmanager
    def expect(self, call_id: int, what: str, kind: str) -> Iterator[Call]:
        """Listen for the answer of one call; ``kind`` is the kind of data it needs."""
        call = self._calls[call_id] = Call(what, kind)
        try:
            yield call
        finally:
            del self._calls[call_id]
            self._proofs.pop(call_id, None)
            if call.answer.done() and not call.answer.cancelled():
                call.answer.exception()  # taken note of, for a call that failed before anyone waited
            call.answer.cancel()

    @contextmanager
    def stream(self, call_id: int, collector: QuoteCollector) -> Iterator[None]:
        """Hand the ticks of one request id to its collector."""
        self._quotes[call_id] = collector
        try:
            yield
        finally:
            del self._quotes[call_id]
            self._proofs.pop(call_id, None)

    def fail(self, kinds: Collection[str], reason: str) -> None:
        """The session is gone: whoever waits is told now."""
        self.fail_calls(kinds, reason)
        self.fail_quotes(reason)

    def fail_calls(self, kinds: Collection[str], reason: str) -> None:
        """Answers of these kinds may never come."""
        for call in list(self._calls.values()):
            if call.kind in kinds:
                call.fail(SessionInterrupted(reason))

    def fail_quotes(self, reason: str) -> None:
        """The gateway lost its subscriptions: no tick will come any more."""
        for quote in list(self._quotes.values()):
            quote.fail(SessionInterrupted(reason))

    def error(self, reqId: int, errorCode: int, errorString: str, _advanced: str) -> None:
        """An error or a notice; those of a call end it unless the catalogue says that it goes on."""
        self._prove(reqId)
        self._on_notice(reqId, errorCode, errorString)
        rule = rule_for(errorCode, errorString)
        quote, call = self._quotes.get(reqId), self._calls.get(reqId)
        if rule.action is ErrorAction.PARTIAL and quote is not None:
            quote.note(f"{errorCode}: {errorString}")
        elif rule.action is ErrorAction.EMPTY and call is not None:
            call.end()
        elif rule.ends_call and quote is not None:
            quote.fail(self._translate(errorCode, errorString))
        elif rule.ends_call and call is not None:
            call.fail(self._translate(errorCode, errorString, call.what))

    def _translate(self, code: int, text: str, what: str = "") -> GatewayError:
        rule, prefix = rule_for(code, text), f"{what}: " if what else ""
        message = f"{prefix}gateway error {code}: {text}"
        if rule.category is ErrorCategory.CONTRACT and not self._is_answer_reliable():
            return SessionInterrupted(message)  # it says so of contracts that exist
        return GatewayError(message, category=rule.category, code=code, is_final=rule.is_final)

    def _add(self, call_id: int, item: object) -> None:
        self._prove(call_id)
        call = self._calls.get(call_id)
        if call is not None and not call.answer.done():  # what comes after the end is nobody's
            call.items.append(item)

    def _end(self, call_id: int) -> None:
        self._prove(call_id)
        if (call := self._calls.get(call_id)) is not None:
            call.end()

    def _quote(self, call_id: int) -> QuoteCollector | None:
        self._prove(call_id)
        return self._quotes.get(call_id)

    def contractDetails(self, reqId: int, details: Any) -> None:
        self._add(reqId, details_from(details))

    def contractDetailsEnd(self, reqId: int) -> None:
        self._end(reqId)

    def securityDefinitionOptionParameter(self, reqId: int, *listing: Any) -> None:
        self._add(reqId, option_parameters_from(listing))

    def securityDefinitionOptionParameterEnd(self, reqId: int) -> None:
        self._end(reqId)

    def historicalData(self, reqId: int, bar: Any) -> None:
        self._add(reqId, bar_from(bar))

    def historicalDataEnd(self, reqId: int, _start: str, _end: str) -> None:
        self._end(reqId)

    def position(self, account: str, contract: Any, quantity: float, average_cost: float) -> None:
        self._add(POSITIONS_CALL, position_from(account, contract, quantity, average_cost))

    def positionEnd(self) -> None:
        self._end(POSITIONS_CALL)

    def currentTime(self, time: int) -> None:
        self._add(CURRENT_TIME_CALL, time)
        self._end(CURRENT_TIME_CALL)

    def marketDataType(self, reqId: int, marketDataType: int) -> None:
        if (quote := self._quote(reqId)) is not None:
            quote.market_data_type(marketDataType)

    def priceSizeTick(self, reqId: int, tickType: int, price: float, size: float) -> None:
        if (quote := self._quote(reqId)) is not None:
            quote.price(tickType, price, size)

    def tickSize(self, reqId: int, tickType: int, size: float) -> None:
        if (quote := self._quote(reqId)) is not None:
            quote.size(tickType, size)

    def tickGeneric(self, reqId: int, tickType: int, value: float) -> None:
        if (quote := self._quote(reqId)) is not None:
            quote.generic(tickType, value)

    def tickString(self, reqId: int, tickType: int, value: str) -> None:
        if (quote := self._quote(reqId)) is not None:
            quote.text(tickType, value)

    def tickOptionComputation(self, reqId: int, tickType: int, _attribute: int, *values: float) -> None:
        if (quote := self._quote(reqId)) is not None:
            quote.computation(tickType, greeks_from(values))

    def connectAck(self) -> None:
        """The client tells that the handshake is done; it needs no answer."""

    def setEventsDone(self) -> None:
        """The client tells that its socket closed; the session hears of it from the client's own event."""

    def connectionClosed(self) -> None:
        """As above, for a session that had been ready."""
