"""The session as one request sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from v6.core.error_catalogue import ACCOUNT, HISTORY, MARKET_DATA
from v6.core.fair_queue import Claimant
from v6.core.gateway_calls import GatewayCalls, Question
from v6.core.gateway_session import SocketClient
from v6.core.ib_records import format_end
from v6.request_types.base import Bar, Completeness, Contract, ContractDetails, OptionParameters, Position, Quote

WAITING_QUOTES = 20


class Approach:
    """The quotes of one request on their way to a market-data line.

    A garbage collection looks through every coroutine that waits, and the loop stands still for it: 50 ms and more for
    the thousands of a whole chain. So few wait, enough that a line which is given back is taken in the same turn.
    """

    def __init__(self) -> None:
        self.room = asyncio.Event()  # set while one more may set out
        self.room.set()
        self._waiting: set[object] = set()

    @contextmanager
    def towards_a_line(self) -> Iterator[Callable[[], None]]:
        """One more sets out; it calls what it is given when it has its line."""
        quote = object()
        self._waiting.add(quote)
        self._look()
        try:
            yield lambda: self._arrived(quote)
        finally:
            self._arrived(quote)

    def _arrived(self, quote: object) -> None:
        self._waiting.discard(quote)
        self._look()

    def _look(self) -> None:
        if len(self._waiting) < WAITING_QUOTES:
            self.room.set()
        else:
            self.room.clear()


class RequestGateway:
    """The session as one request sees it: every call is paced by that request's priority."""

    def __init__(self, calls: GatewayCalls, claimant: Claimant, account: Callable[[], str]) -> None:
        self._calls = calls
        self._account = account
        self._claimant = claimant
        self._has_history = False
        self._approach = Approach()

    @property
    def account(self) -> str:
        """The account the session belongs to."""
        return self._account()

    async def contract_details(self, contract: Contract) -> Sequence[ContractDetails]:
        """Every contract that fits; raises GatewayError 200 when none does."""
        question = Question(
            what=f"contract details of {_label(contract)}",
            send=lambda client, call_id: client.reqContractDetails(call_id, client.contract(contract)),
            kind=MARKET_DATA if contract.sec_type in {"OPT", "FOP"} else ACCOUNT,
            seconds=self._calls.deadlines.contract_details,
            admission=lambda: self._calls.pacing.contract_details(contract, self._claimant),
        )
        return await self._calls.call(self._claimant, question)

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
            seconds=self._calls.deadlines.option_parameters,
        )
        return await self._calls.call(self._claimant, question)

    async def quote(self, contract: Contract, completeness: Completeness) -> Quote:
        """Stream one contract until the quote is complete, then cancel."""
        with self._approach.towards_a_line() as arrived:
            return await self._calls.stream(self._claimant, contract, completeness, arrived)

    @contextmanager
    def line_up(self, quotes: int) -> Iterator[Callable[[], Awaitable[None]]]:
        """Let few enough quotes of this request wait for a line at a time; the others count as waiting all the same."""
        with self._calls.pacing.lines.line_up(self._claimant.request_id, quotes) as lined_up:

            async def room() -> None:
                await self._approach.room.wait()
                lined_up.contracts -= 1

            yield room

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
        calls = self._calls
        identity = (format_end(end), duration, bar_size, regular_hours)
        is_patient, self._has_history = self._has_history, True

        def send(client: SocketClient, call_id: int) -> None:
            client.reqHistoricalData(
                *(call_id, client.contract(contract), format_end(end), duration, bar_size, what_to_show),
                *(int(regular_hours), 2, False, []),
            )

        question = Question(
            what=f"history of {_label(contract)}",
            send=send,
            kind=HISTORY,
            seconds=calls.deadlines.history,
            admission=lambda: calls.pacing.history(
                contract,
                bar_size=bar_size,
                what_to_show=what_to_show,
                identity=identity,
                claimant=self._claimant,
                is_patient=is_patient,
            ),
            cancel=lambda client, call_id: client.cancelHistoricalData(call_id),
        )
        return await calls.call(self._claimant, question)

    async def positions(self) -> Sequence[Position]:
        """All positions of the account."""
        return await self._calls.positions(self._claimant)


def _label(contract: Contract) -> str:
    parts = (contract.sec_type, contract.symbol, contract.expiry or contract.contract_month, contract.strike)
    return " ".join(str(part) for part in (*parts, contract.right) if part)
