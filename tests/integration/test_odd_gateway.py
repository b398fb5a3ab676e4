"""Gateways that behave unlike the simulated one: odd orders, unknown ids, flapping farms, no answer at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from tests.integration.gateway.conftest import NOON
from tests.serving import serving

from v6.clock import Clock
from v6.core.gateway_calls import CallDeadlines
from v6.core.ib_connection import IBConnectionManager
from v6.core.session_state import OutageEnded, SessionState
from v6.errors import ErrorCategory, GatewayError
from v6.events import Event, EventBus
from v6.request_types.base import Completeness, Contract
from v6.simulator.wire import encode_frame, read_frame, read_handshake

OPTION = Contract(symbol="SPY", sec_type="OPT", con_id=101, strike=250.0, right="C")
STOCK = Contract(symbol="SPY", sec_type="STK")
QUOTED = Completeness(required=frozenset({"bid", "ask"}), wait_seconds=600)
FLAPS = 60


@dataclass
class Client:
    """One connection as the odd gateway sees it."""

    writer: asyncio.StreamWriter
    held: list[list[str]] = field(default_factory=list)  # questions whose answer comes later

    def send(self, *fields: object) -> None:
        self.writer.write(encode_frame([str(one) for one in fields]))

    def notice(self, code: int, text: str = "", *, call_id: int = -1) -> None:
        self.send(4, 2, call_id, code, text or f"notice {code}", "")

    def start(self, accounts: str = "SIM1") -> None:
        self.send(15, 1, accounts)
        self.send(9, 1, 1)

    def details(self, call_id: str, con_id: int) -> None:
        texts = ["SPY", "STK", "", "0", "", "SMART", "USD", "SPY", "SPY", "SPY", con_id, 0.01, "", "LMT", "SMART", 1]
        hours = ["20261123:0400-20261123:2000"] * 2
        rest = [0, "SPDR", "ARCA", "", "", "", "", "US/Eastern", *hours, "", 0, 0, 1, "", "", "26", "", "ETF", 1, 1, 1]
        self.send(10, call_id, *texts, *rest)


Behaviour = Callable[[Client, list[str]], None]


@asynccontextmanager
async def odd_gateway(answer: Behaviour, start: Callable[[Client], None] = Client.start) -> AsyncIterator[int]:
    """A server that does what ``answer`` does for each message; the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Client(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await read_handshake(reader)
            client.send(178, "20261123 17:00:00 UTC")
            await read_frame(reader)
            start(client)
            while True:
                fields = await read_frame(reader)
                if fields[0] == "49":
                    client.send(49, 1, 1_795_000_000)
                answer(client, fields)

    async with serving(serve) as port:
        yield port


@asynccontextmanager
async def session(port: int, events: list[Event] | None = None) -> AsyncIterator[IBConnectionManager]:
    bus = EventBus()
    bus.subscribe(Event, (events if events is not None else []).append)
    connection = IBConnectionManager(
        host="127.0.0.1",
        port=port,
        client_id=1,
        clock=Clock(f"{NOON.isoformat()}*10"),
        events=bus,
        deadlines=CallDeadlines(contract_details=20, option_parameters=20, history=20, positions=20),
    )
    await connection.start()
    keeping = asyncio.create_task(connection.run())
    try:
        yield connection
        assert not keeping.done()
    finally:
        await connection.stop()
        await keeping


async def test_a_start_in_another_order_with_notices_in_between_and_several_accounts() -> None:
    def start(client: Client) -> None:
        client.notice(2104, "Market data farm connection is OK:usfarm")
        client.send(9, 1, 17)
        client.notice(2107, "HMDS data farm connection is inactive but should be available upon demand.ushmds")
        client.notice(99_123, "nobody knows this")
        client.send(15, 1, "SIM1,SIM2,")

    async with odd_gateway(lambda _client, _fields: None, start) as port, session(port) as connection:
        assert (connection.account, connection.state) == ("SIM1", SessionState.READY)


async def test_answers_that_are_interleaved_doubled_late_or_for_nobody_reach_whom_they_belong_to() -> None:
    def answer(client: Client, fields: list[str]) -> None:
        if fields[0] != "9":
            return
        client.held.append(fields)
        if len(client.held) < 2:
            return
        (first, second), client.held = client.held, []
        client.details(second[2], int(second[2]))
        client.details("987654", 5)  # nobody asked
        client.notice(162, "no such call", call_id=987_654)
        client.details(first[2], int(first[2]))
        client.send(52, 1, second[2])
        client.details(second[2], 77)  # after its end
        client.send(52, 1, second[2])
        client.notice(200, "it had ended", call_id=int(second[2]))
        client.send(49, 1, 1_795_000_001)  # not asked for
        client.details(first[2], int(first[2]) + 1000)
        client.send(52, 1, first[2])
        client.send(76, 987_655)

    async with odd_gateway(answer) as port, session(port) as connection:
        gateway = connection.gateway(2, "r")
        both = await asyncio.gather(gateway.contract_details(STOCK), gateway.contract_details(STOCK))
        ids = sorted(sorted(one.contract.con_id for one in found) for found in both)
        assert [len(found) for found in ids] in ([2, 1], [1, 2])
        assert {con_id % 1000 for found in ids for con_id in found} == {found[0] % 1000 for found in ids}
        assert connection.state is SessionState.READY


async def test_a_question_that_is_never_answered_fails_alone() -> None:
    def answer(client: Client, fields: list[str]) -> None:
        if fields[0] == "9" and "QQQ" in fields:
            client.details(fields[2], 2)
            client.send(52, 1, fields[2])

    async with odd_gateway(answer) as port, session(port) as connection:
        gateway = connection.gateway(2, "r")
        unanswered = asyncio.create_task(gateway.contract_details(STOCK))
        assert len(await gateway.contract_details(Contract(symbol="QQQ", sec_type="STK"))) == 1
        with pytest.raises(GatewayError) as caught:
            await unanswered
        assert caught.value.category is ErrorCategory.TIMEOUT
        assert connection.state is SessionState.READY


async def test_a_quote_comes_through_ticks_out_of_order_and_farms_that_flap() -> None:
    events: list[Event] = []

    def answer(client: Client, fields: list[str]) -> None:
        if fields[0] != "1":
            return
        call = fields[2]
        client.send(1, 6, call, 2, 1.1, 20, 0)  # before the type of data
        for number in range(FLAPS):
            client.notice(2103 + number % 2, "Market data farm connection is this or that:usfarm")
        client.send(2, 6, call, 3, 20)
        client.send(1, 6, "424242", 1, 99.0, 1, 0)  # nobody's
        client.send(46, 6, call, 45, "not a time")
        client.send(1, 6, call, 9_999, 3.0, 1, 0)  # a tick type that nobody knows
        client.send(58, 1, call, 1)
        client.send(1, 6, call, 1, 1.0, 10, 0)

    async with odd_gateway(answer) as port, session(port, events) as connection:
        quote = await asyncio.wait_for(connection.gateway(2, "r").quote(OPTION, QUOTED), 60)
        assert (quote.bid, quote.ask) == (1.0, 1.1)
        assert connection.state is SessionState.READY
        assert len([event for event in events if isinstance(event, OutageEnded)]) == FLAPS // 2


async def test_a_farm_of_another_region_comes_back_and_the_lost_one_stays_lost() -> None:
    async with odd_gateway(lambda _client, _fields: None, start_with_two_farms) as port, session(port) as connection:
        assert connection.state is SessionState.DEGRADED
        assert "usfarm.nj" in connection.reason
        assert "eufarm" not in connection.reason
        assert connection.admits("market_data") is not None
        assert connection.admits("history") is None


def start_with_two_farms(client: Client) -> None:
    client.notice(2103, "Market data farm connection is broken:usfarm.nj")
    client.notice(2103, "Market data farm connection is broken:eufarm")
    client.notice(2104, "Market data farm connection is OK:eufarm")
    client.start()


async def test_another_account_after_a_reconnect_is_refused_and_says_what_to_do() -> None:
    accounts = iter(["SIM1", "SIM2", "SIM2", "SIM1"])
    asked: list[str] = []

    def answer(client: Client, fields: list[str]) -> None:
        if fields[0] == "9":
            asked.append(fields[2])
            if len(asked) == 1:  # as if somebody had logged in anew
                client.writer.close()
                return
            client.details(fields[2], 1)
            client.send(52, 1, fields[2])

    async with (
        odd_gateway(answer, lambda client: client.start(next(accounts))) as port,
        session(port) as connection,
    ):
        asking = asyncio.create_task(connection.gateway(2, "r").contract_details(STOCK))
        async with asyncio.timeout(60):
            while "SIM2" not in connection.reason:
                await connection.clock.sleep(0.05)
        assert "this worker began with SIM1" in connection.reason
        assert connection.admits("market_data") is not None
        async with asyncio.timeout(60):
            while connection.state is not SessionState.READY:
                await connection.clock.sleep(0.05)
        assert connection.account == "SIM1"
        assert [found.contract.con_id for found in await asking] == [1]


async def test_calls_that_go_unanswered_open_the_breaker_and_one_probe_closes_it() -> None:
    """It answers the time and nothing else, until it is well again."""
    is_well = asyncio.Event()

    def answer(client: Client, fields: list[str]) -> None:
        if fields[0] == "9" and is_well.is_set():
            client.details(fields[2], 1)
            client.send(52, 1, fields[2])

    async with odd_gateway(answer) as port, session(port) as connection:
        assert connection.usage()["breaker"] == "closed"
        calls = (connection.gateway(2, f"r{number}").contract_details(STOCK) for number in range(12))
        failures = await asyncio.gather(*calls, return_exceptions=True)
        assert {failure.category for failure in failures if isinstance(failure, GatewayError)} == {
            ErrorCategory.TIMEOUT
        }
        assert connection.usage()["breaker"] == "open"
        assert (connection.state, connection.usage()["state"]) == (SessionState.DEGRADED, "degraded")
        for kind in ("market_data", "history", "account"):
            assert "circuit breaker open" in str(connection.admits(kind))
        is_well.set()
        held = asyncio.create_task(connection.gateway(2, "held").contract_details(STOCK))
        await asyncio.sleep(0)
        assert [wait.reason for wait in connection.waits("held")] == [connection.admits("account")]
        assert len(await asyncio.wait_for(held, 60)) == 1  # after the probe, without being asked for again
        assert (connection.usage()["breaker"], connection.state) == ("closed", SessionState.READY)
