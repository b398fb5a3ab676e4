"""The session with the gateway, over a real socket against the simulated gateway with a market of a few contracts."""

from __future__ import annotations

import asyncio
import inspect
import re
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from tests.serving import serving

from v6.clock import Clock
from v6.core.heartbeat import ANSWER_MACHINE_SECONDS, LOOK_MACHINE_SECONDS
from v6.core.ib_connection import IBConnectionManager
from v6.core.session_state import GatewayNotice, OutageEnded, SessionChanged, SessionState
from v6.errors import ErrorCategory, GatewayError, GatewayUnavailable
from v6.events import EventBus
from v6.request_types.base import Completeness, Contract, MarketDataType
from v6.simulator.instruments import (
    Computation,
    ContractQuery,
    Holding,
    Instrument,
    MarketBar,
    OptionListing,
    Snapshot,
)
from v6.simulator.options import GatewayOptions
from v6.simulator.server import SimulatedGateway
from v6.simulator.wire import encode_frame, read_frame, read_handshake

NOW = "2026-11-23T17:30:00Z"
EXPIRY = date(2026, 12, 18)
STOCK = Instrument(
    con_id=756733,
    symbol="SPY",
    sec_type="STK",
    exchange="SMART",
    primary_exchange="ARCA",
    currency="USD",
    local_symbol="SPY",
    trading_class="SPY",
    long_name="SPDR S&P 500",
    min_tick=0.01,
)
OPTIONS = tuple(
    Instrument(
        con_id=10_000 + number,
        symbol="SPY",
        sec_type="OPT",
        exchange="SMART",
        primary_exchange="",
        currency="USD",
        local_symbol=f"SPY {number}",
        trading_class="SPY",
        long_name="SPDR S&P 500",
        min_tick=0.01,
        multiplier="100",
        expiry=EXPIRY,
        strike=500.0 + number // 2,
        right="CP"[number % 2],
        under_con_id=STOCK.con_id,
    )
    for number in range(120)
)
GREEKS = Computation(iv=0.2, delta=0.5, price=5.05, pv_dividend=0.0, gamma=0.01, vega=0.3, theta=-0.1, underlying=530.0)
WHOLE = Completeness(required=frozenset({"bid", "ask"}), wanted=frozenset({"model", "open_interest", "volume"}))
BID_ASK = Completeness(required=frozenset({"bid", "ask"}))
SPY = Contract(symbol="SPY", sec_type="STK", con_id=STOCK.con_id)


class SmallMarket:
    """One stock with one expiry of options; every price is the contract's id in cents, the same at any instant."""

    def find(self, query: ContractQuery, now: datetime) -> Sequence[Instrument]:
        del now
        return [
            one
            for one in (STOCK, *OPTIONS)
            if query.con_id in {0, one.con_id}
            and query.symbol in {"", one.symbol}
            and query.sec_type in {"", one.sec_type}
        ]

    def option_listings(self, under_con_id: int, now: datetime) -> Sequence[OptionListing]:
        del now
        strikes = tuple(sorted({one.strike for one in OPTIONS}))
        listing = OptionListing(
            exchanges=("SMART", "CBOE"),
            underlying_con_id=under_con_id,
            trading_class="SPY",
            multiplier="100",
            expiries=(EXPIRY,),
            strikes=strikes,
        )
        return [listing]

    def snapshot(self, instrument: Instrument, now: datetime) -> Snapshot:
        price = instrument.con_id / 100
        greeks = GREEKS if instrument.sec_type == "OPT" else None
        return Snapshot(
            at=now,
            is_open=True,
            bid=price,
            ask=price + 0.05,
            last=price + 0.01,
            bid_size=10,
            ask_size=20,
            last_size=3,
            last_time=now - timedelta(seconds=5),
            volume=1000,
            open=price,
            high=price + 1,
            low=price - 1,
            close=price,
            open_interest=77,
            model_greeks=greeks,
        )

    def bars(
        self,
        instrument: Instrument,
        *,
        start: datetime,
        end: datetime,
        now: datetime,
        bar_seconds: int,
        what_to_show: str,
        regular_hours: bool,
    ) -> Sequence[MarketBar]:
        del instrument, now, what_to_show, regular_hours
        starts: list[datetime | date] = []
        at = start
        while at < end:
            starts.append(at.date() if bar_seconds >= 86400 else at)
            at += timedelta(seconds=bar_seconds)
        return [
            MarketBar(start=one, open=1.0, high=2.0, low=0.5, close=1.5, volume=10, wap=1.2, count=3) for one in starts
        ]

    def sessions_back(self, instrument: Instrument, end: datetime, count: int, *, regular_hours: bool) -> datetime:
        del instrument, regular_hours
        return end.replace(hour=14, minute=30, second=0, microsecond=0) - timedelta(days=count - 1)

    def head_timestamp(self, instrument: Instrument, what_to_show: str) -> datetime:
        del instrument, what_to_show
        return datetime(1993, 1, 29, tzinfo=UTC)

    def trading_hours(self, instrument: Instrument, now: datetime, *, liquid: bool) -> str:
        del instrument, now, liquid
        return "20261123:0930-20261123:1600"

    def holdings(self, now: datetime) -> Sequence[Holding]:
        del now
        return [Holding(instrument=STOCK, quantity=100, average_cost=501.5)]

    def last_completed_session(self, now: datetime) -> tuple[datetime, datetime]:
        return now - timedelta(hours=27), now - timedelta(hours=20)


class Gatehouse:
    """A clock, a bus and what was heard on it, and the gateway and connections made with them."""

    def __init__(self) -> None:
        self.clock = Clock(NOW)
        self.events = EventBus()
        self.notices: list[GatewayNotice] = []
        self.states: list[SessionState] = []
        self.events.subscribe(GatewayNotice, self.notices.append)
        self.events.subscribe(SessionChanged, lambda change: self.states.append(change.state))

    def connection(self, port: int, client_id: int = 1) -> IBConnectionManager:
        return IBConnectionManager(
            host="127.0.0.1", port=port, client_id=client_id, clock=self.clock, events=self.events
        )

    def server(self, port: int = 0, **options: Any) -> SimulatedGateway:
        settings = GatewayOptions(**options)
        return SimulatedGateway(SmallMarket(), clock=self.clock, port=port, options=settings)

    @asynccontextmanager
    async def session(self, **options: Any) -> AsyncIterator[IBConnectionManager]:
        server = self.server(**options)
        connection = self.connection(await server.start())
        try:
            await connection.start()
            yield connection
        finally:
            await connection.stop()
            await server.stop()


@pytest.fixture
def house() -> Gatehouse:
    return Gatehouse()


async def until(clock: Clock, connection: IBConnectionManager, state: SessionState) -> None:
    async with clock.timeout(60):
        while connection.state is not state:
            await clock.sleep(0.01)


async def test_contract_details_and_option_parameters(house: Gatehouse) -> None:
    async with house.session() as connection:
        gateway = connection.gateway(2, "r")
        (stock,) = await gateway.contract_details(Contract(symbol="SPY", sec_type="STK"))
        assert (stock.contract.con_id, stock.contract.primary_exchange) == (STOCK.con_id, "ARCA")
        assert gateway.account == "SIM000001"
        listings = await gateway.option_parameters(stock)
        assert {listing.exchange for listing in listings} == {"SMART", "CBOE"}
        assert listings[0].expiries == (EXPIRY,)
        chain = await gateway.contract_details(Contract(symbol="SPY", sec_type="OPT", expiry=EXPIRY))
        assert [(one.contract.con_id, one.contract.strike, one.contract.right) for one in chain] == [
            (one.con_id, one.strike, one.right) for one in OPTIONS
        ]


async def test_a_contract_that_does_not_exist_is_error_200(house: Gatehouse) -> None:
    async with house.session() as connection:
        with pytest.raises(GatewayError, match="NOPE") as caught:
            await connection.gateway(2, "r").contract_details(Contract(symbol="NOPE", sec_type="STK"))
        assert (caught.value.category, caught.value.code) == (ErrorCategory.CONTRACT, 200)


async def test_what_the_gateway_calls_invalid_fails_and_does_not_hang(house: Gatehouse) -> None:
    async with house.session() as connection:
        with pytest.raises(GatewayError) as caught:
            await connection.gateway(2, "r").historical_bars(
                SPY, end=None, duration="x", bar_size="5 mins", what_to_show="TRADES", regular_hours=True
            )
        assert (caught.value.category, caught.value.code) == (ErrorCategory.VALIDATION, 321)


async def test_a_hundred_options_at_once_stay_inside_every_limit(house: Gatehouse) -> None:
    async with house.session() as connection:
        gateway = connection.gateway(2, "chain")
        contracts = [Contract(symbol="SPY", sec_type="OPT", con_id=one.con_id, right=one.right) for one in OPTIONS]
        quotes = await asyncio.gather(*[gateway.quote(contract, WHOLE) for contract in contracts])
    assert [quote.bid for quote in quotes] == [one.con_id / 100 for one in OPTIONS]
    assert all(quote.model is not None and quote.model.delta == 0.5 for quote in quotes)
    assert {(quote.bid_size, quote.volume, quote.open_interest) for quote in quotes} == {(10, 1000, 77)}
    assert {quote.received_type for quote in quotes} == {MarketDataType.LIVE}
    assert all(quote.bid_at is not None and quote.bid_at >= quote.started_at for quote in quotes)
    assert {notice.code for notice in house.notices} == {2104, 2106, 2158}


async def test_an_urgent_quote_overtakes_a_chain(house: Gatehouse) -> None:
    async with house.session() as connection:
        chain = connection.gateway(3, "chain")
        rest = [
            asyncio.create_task(chain.quote(Contract(symbol="SPY", sec_type="OPT", con_id=one.con_id), BID_ASK))
            for one in OPTIONS
        ]
        urgent = await connection.gateway(1, "urgent").quote(SPY, BID_ASK)
        quotes = await asyncio.gather(*rest)
        assert sum(quote.started_at > urgent.started_at for quote in quotes) > len(quotes) / 2
        assert all(quote.bid is not None for quote in quotes)


async def test_an_urgent_quote_waits_for_no_line_while_slow_quotes_hold_them(house: Gatehouse) -> None:
    never = Completeness(required=frozenset({"implied_volatility"}), wait_seconds=600.0)
    async with house.session() as connection:
        chain = connection.gateway(2, "chain")
        slow = [
            asyncio.create_task(chain.quote(Contract(symbol="SPY", sec_type="OPT", con_id=one.con_id), never))
            for one in OPTIONS
        ]
        async with house.clock.timeout(60):
            while not connection.usage()["waiting"].get("market-data lines"):
                await house.clock.sleep(0.05)
            quote = await connection.gateway(1, "urgent").quote(SPY, replace(BID_ASK, wait_seconds=60.0))
        assert quote.bid is not None
        assert not any(task.done() for task in slow)
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)


async def test_what_never_comes_is_missing_with_a_reason(house: Gatehouse) -> None:
    async with house.session(quote_delay_seconds=(0.0, 0.1)) as connection:
        impatient = Completeness(required=frozenset({"model"}), wait_seconds=2.0)
        quote = await connection.gateway(2, "r").quote(SPY, impatient)
    assert quote.model is None
    assert re.fullmatch(r"not sent within \d+\.\d s", quote.missing["model"])
    assert quote.bid == STOCK.con_id / 100
    assert "bid" not in quote.missing


async def test_two_quotes_of_one_contract_take_one_line(house: Gatehouse) -> None:
    async with house.session() as connection:
        gateway = connection.gateway(2, "r")
        tasks = [asyncio.create_task(gateway.quote(SPY, BID_ASK)) for _ in range(2)]
        await house.clock.sleep(0.1)
        assert connection.usage()["lines_in_use"] == 1
        first, second = await asyncio.gather(*tasks)
        assert first.bid == second.bid == STOCK.con_id / 100
        async with house.clock.timeout(60):
            while connection.usage()["lines_in_use"]:
                await house.clock.sleep(0.01)


async def test_data_that_is_not_subscribed_is_an_entitlement_error(house: Gatehouse) -> None:
    async with house.session(not_subscribed=frozenset({"SPY"})) as connection:
        with pytest.raises(GatewayError) as caught:
            await connection.gateway(2, "r").quote(SPY, BID_ASK)
        assert (caught.value.category, caught.value.code) == (ErrorCategory.ENTITLEMENT, 354)
        assert connection.usage()["lines_in_use"] == 0


async def test_bars_have_dates_for_days_and_utc_instants_within(house: Gatehouse) -> None:
    async with house.session() as connection:
        gateway = connection.gateway(2, "r")
        end = datetime(2026, 11, 20, 21, tzinfo=UTC)
        days = await gateway.historical_bars(
            SPY, end=end, duration="5 D", bar_size="1 day", what_to_show="TRADES", regular_hours=True
        )
        minutes = await gateway.historical_bars(
            SPY, end=end, duration="1 D", bar_size="5 mins", what_to_show="TRADES", regular_hours=True
        )
    assert days[-1].start == date(2026, 11, 20)
    assert (days[-1].open, days[-1].wap, days[-1].trade_count) == (1.0, 1.2, 3)
    assert minutes[0].start == datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
    assert minutes[-1].start == datetime(2026, 11, 20, 20, 55, tzinfo=UTC)


async def test_positions_asked_for_twice_at_once_are_the_same(house: Gatehouse) -> None:
    async with house.session() as connection:
        first, second = await asyncio.gather(*[connection.gateway(2, name).positions() for name in ("a", "b")])
    assert [(one.account, one.contract.con_id, one.quantity, one.average_cost) for one in first] == [
        ("SIM000001", STOCK.con_id, 100, 501.5)
    ]
    assert first == second


async def test_a_client_id_in_use_gives_way_to_the_next_of_the_pool(house: Gatehouse) -> None:
    async with house.session() as connection:
        others = [house.connection(connection.port) for _ in range(3)]
        for other in others:
            await other.start()
            assert other.state is SessionState.READY
        started = house.clock.monotonic()
        with pytest.raises(GatewayUnavailable, match=r"client ids 1 to 4 are in use.*V6_CLIENT_ID") as caught:
            await house.connection(connection.port).start()
        assert caught.value.code == 326
        assert house.clock.monotonic() - started < 10  # one that is waited for to the end takes as long
        for other in others:
            await other.stop()


async def test_nobody_listening_names_the_address_and_what_to_do(house: Gatehouse) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # nobody else takes it meanwhile
        port = free.getsockname()[1]
        with pytest.raises(GatewayUnavailable, match=rf"127.0.0.1:{port} cannot be reached.*v6 gateway"):
            await house.connection(port).start()


async def test_a_server_that_is_silent_is_given_up(house: Gatehouse) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connection = IBConnectionManager(
            host="127.0.0.1",
            port=silent.getsockname()[1],
            client_id=1,
            clock=house.clock,
            events=house.events,
            connect_timeout_seconds=0.2,
        )
        with pytest.raises(GatewayUnavailable, match="does not answer the handshake"):
            await connection.start()


async def test_what_is_in_flight_when_a_gateway_vanishes_is_asked_again(house: Gatehouse) -> None:
    server = house.server()
    port = await server.start()
    connection = house.connection(port)
    holes: list[OutageEnded] = []
    house.events.subscribe(OutageEnded, holes.append)
    await connection.start()
    keeping = asyncio.create_task(connection.run())
    quote = asyncio.create_task(connection.gateway(2, "r").quote(SPY, BID_ASK))
    async with house.clock.timeout(60):
        while not server.lines_in_use:
            await house.clock.sleep(0.01)
    await server.stop()
    await until(house.clock, connection, SessionState.DISCONNECTED)
    assert connection.admits("market_data") is not None
    again = house.server(port=port)
    await again.start()
    assert (await quote).ask == pytest.approx(STOCK.con_id / 100 + 0.05)
    assert connection.admits("market_data") is None
    assert [hole.issued_again for hole in holes] == [1]
    assert holes[0].seconds > 0
    await connection.stop()
    await keeping
    await again.stop()


async def test_calls_fail_at_once_when_the_session_is_stopped(house: Gatehouse) -> None:
    async with house.session() as connection:
        endless = Completeness(required=frozenset({"model"}), wait_seconds=600)
        quote = asyncio.create_task(connection.gateway(2, "r").quote(SPY, endless))
        await house.clock.sleep(0.1)
        await connection.stop()
        with pytest.raises(GatewayError) as caught:
            await quote
        assert caught.value.category is ErrorCategory.SESSION


@asynccontextmanager
async def garbled(garbage: bytes) -> AsyncIterator[int]:
    """A gateway that opens a session as it should and then sends ``garbage``; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_handshake(reader)
        writer.write(encode_frame(["178", "20261123 17:30:00 UTC"]))
        await read_frame(reader)
        writer.write(encode_frame(["15", "1", "SIM000001"]) + encode_frame(["9", "1", "1"]))
        await read_frame(reader)
        writer.write(garbage)
        while await reader.read(1000):
            continue

    async with serving(serve) as port:
        yield port


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request",  # the length of a frame of a gigabyte
        encode_frame(["4", "2", "not a number", "200", "text", ""]),
        encode_frame(["10", "1"]),  # contract details without fields
        encode_frame(["99999", "1", "2"]),
        encode_frame([""]),
    ],
)
async def test_garbage_ends_the_session_with_one_clear_reason(house: Gatehouse, garbage: bytes) -> None:
    reasons: list[str] = []
    house.events.subscribe(
        SessionChanged, lambda change: reasons.append(change.reason) if change.state == "disconnected" else None
    )
    async with garbled(garbage) as port:
        connection = house.connection(port)
        await connection.start()
        await until(house.clock, connection, SessionState.DISCONNECTED)
        assert len(reasons) == 1
        assert "the gateway sent" in reasons[0]
        await connection.stop()


def test_a_session_whose_gateway_does_not_answer_is_given_up_within_ten_seconds() -> None:
    quiet = inspect.signature(IBConnectionManager).parameters["heartbeat_seconds"].default
    assert quiet + LOOK_MACHINE_SECONDS + ANSWER_MACHINE_SECONDS < 10


async def test_a_socket_that_is_open_on_one_side_only_is_noticed(house: Gatehouse) -> None:
    async with garbled(b"") as port:
        connection = house.connection(port)
        await connection.start()
        keeping = asyncio.create_task(connection.run())
        async with house.clock.timeout(60):
            while SessionState.DISCONNECTED not in house.states:
                await house.clock.sleep(0.01)
        await connection.stop()
        await keeping
