"""ib_async against the simulated gateway."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any

import ib_async

OPTION = ib_async.Option("SPY", "20261218", 250.0, "C", "SMART", conId=101)
SPY = ib_async.Stock("SPY", "SMART", "USD", conId=1)
QQQ = ib_async.Stock("QQQ", "SMART", "USD", conId=2)
BAD_STARTS = (
    b"\xff" * 64,
    b"API\0\xff\xff\xff\xff",
    b"API\0\0\0\0\x09v157..178\xff\xff\xff\xff",
    b"API\0\0\0\0\x09v1",
)


@asynccontextmanager
async def connected(port: int, client_id: int = 7) -> AsyncIterator[tuple[ib_async.IB, list[tuple[int, int]]]]:
    """The client and the errors it hears as (request id, code)."""
    client = ib_async.IB()
    errors: list[tuple[int, int]] = []
    client.errorEvent += lambda req_id, code, *_: errors.append((req_id, code))
    await client.connectAsync("127.0.0.1", port, clientId=client_id, timeout=60)
    try:
        yield client, errors
    finally:
        client.disconnect()


async def test_it_connects_and_knows_the_account(start_gateway: Any) -> None:
    gateway = await start_gateway()
    async with connected(gateway.port) as (client, _):
        assert client.managedAccounts() == ["SIM000001"]
        assert [(held.contract.conId, held.position) for held in client.positions()] == [(1, 100.0)]
        assert {value.tag for value in client.accountValues()} >= {"NetLiquidation", "TotalCashValue"}
        assert client.openOrders() == []
        assert (await client.reqCurrentTimeAsync()).date() == date(2026, 11, 23)


async def test_contract_details_and_option_parameters(start_gateway: Any) -> None:
    gateway = await start_gateway()
    async with connected(gateway.port) as (client, _):
        stock: Any
        option: Any
        futures: Any
        (stock,) = await client.reqContractDetailsAsync(SPY)
        assert (stock.contract.conId, stock.longName) == (1, "SOCIÉTÉ")
        futures = await client.reqContractDetailsAsync(ib_async.Future("ES", exchange="CME"))
        assert [one.contract.localSymbol for one in futures] == ["ESZ6", "ESH7"]
        (option,) = await client.reqContractDetailsAsync(OPTION)
        assert (option.contract.conId, option.underConId, option.contract.multiplier) == (101, 1, "100")
        parameters = await client.reqSecDefOptParamsAsync("SPY", "", "STK", 1)
        assert [one.exchange for one in parameters] == ["SMART", "CBOE"]
        assert parameters[0].strikes == [240.0, 250.0]


async def test_a_snapshot_with_greeks(start_gateway: Any) -> None:
    gateway = await start_gateway()
    async with connected(gateway.port) as (client, _):
        (ticker,) = await client.reqTickersAsync(OPTION)
        assert (ticker.bid, ticker.ask, ticker.last, ticker.volume) == (1.0, 1.1, 1.05, 500.0)
        assert ticker.modelGreeks is not None
        assert (ticker.modelGreeks.impliedVol, ticker.modelGreeks.theta) == (0.2, -0.05)


async def test_a_stream_with_generic_ticks(start_gateway: Any) -> None:
    gateway = await start_gateway()
    async with connected(gateway.port) as (client, _):
        ticker = client.reqMktData(SPY, "100,101,106")
        async with asyncio.timeout(60):
            while math.isnan(ticker.impliedVolatility) or math.isnan(ticker.putOpenInterest):
                await ticker.updateEvent
        assert (ticker.callOpenInterest, ticker.putOpenInterest, ticker.callVolume) == (5.0, 6.0, 7.0)
        client.cancelMktData(SPY)
        await client.reqCurrentTimeAsync()
        assert gateway.lines_in_use == 0


async def test_bars(start_gateway: Any) -> None:
    gateway = await start_gateway()
    async with connected(gateway.port) as (client, _):
        days = await client.reqHistoricalDataAsync(SPY, "", "1 Y", "1 day", "TRADES", True)
        assert len(days) == 365
        assert isinstance(days[0].date, date)
        bars = await client.reqHistoricalDataAsync(SPY, "", "1 D", "5 mins", "TRADES", True, formatDate=2)
        assert len(bars) == 288
        assert bars[0].barCount == 3


async def test_refusals_carry_their_codes(start_gateway: Any) -> None:
    gateway = await start_gateway(speed=2, not_subscribed=frozenset({"QQQ"}))  # 7 s until the same may be asked again
    async with connected(gateway.port) as (client, errors):
        assert await client.reqContractDetailsAsync(ib_async.Stock("NOPE", "SMART", "USD")) == []
        assert len(await client.reqHistoricalDataAsync(SPY, "20100101-00:00:00", "1 D", "1 day", "TRADES", True)) == 0
        assert len(await client.reqHistoricalDataAsync(SPY, "", "60 S", "5 secs", "TRADES", True)) == 12
        assert len(await client.reqHistoricalDataAsync(SPY, "", "60 S", "5 secs", "TRADES", True)) == 0
        await client.reqTickersAsync(QQQ)
        client.reqMarketDataType(3)
        (delayed,) = await client.reqTickersAsync(QQQ)
        assert (delayed.marketDataType, delayed.bid) == (3, 1.0)
        codes = [code for _, code in errors if code < 2000 or code > 3000]
        assert codes == [200, 162, 162, 354, 10167]


async def test_bad_requests_are_321_and_leave_the_session_alive(start_gateway: Any) -> None:
    gateway = await start_gateway()
    async with connected(gateway.port) as (client, errors):
        wire: Any = client.client
        wire.reqMktData(900, SPY, "106", True, False, [])
        wire.reqHistoricalData(901, SPY, "", "1 D", "7 parsecs", "TRADES", 1, 1, False, [])
        wire.reqHistoricalData(902, SPY, "", "5 X", "1 day", "TRADES", 1, 1, False, [])
        wire.reqHistoricalData(903, SPY, "", "1 D", "1 day", "GOSSIP", 1, 1, False, [])
        wire.cancelMktData(904)
        wire.cancelHistoricalData(905)
        wire.send(777, 1)
        wire.send(1, 11, "not a number")
        client.placeOrder(SPY, ib_async.MarketOrder("BUY", 1))
        async with asyncio.timeout(60):
            while len([code for _, code in errors if code < 2000]) < 9:
                await client.errorEvent
        assert {(900, 321), (901, 321), (902, 321), (903, 321), (904, 300), (905, 366), (-1, 321)} <= set(errors)
        assert (-1, 320) in errors
        assert await client.reqContractDetailsAsync(SPY)


async def test_too_many_messages_are_error_100_and_the_third_strike_closes(start_gateway: Any) -> None:
    gateway = await start_gateway(speed=1)
    async with connected(gateway.port) as (client, errors):
        wire: Any = client.client
        wire.MaxRequests = 0
        async with asyncio.timeout(60):
            closed = client.disconnectedEvent
            for _ in range(5_000):
                wire.reqIds(1)
            await closed
        assert [code for _, code in errors].count(100) == 3


async def test_garbage_and_half_frames_hurt_nobody_else(start_gateway: Any) -> None:
    gateway = await start_gateway()
    async with connected(gateway.port) as (client, _):
        for data in BAD_STARTS:
            _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(data)
            await writer.drain()
            writer.close()
        assert len(await client.reqContractDetailsAsync(SPY)) == 1
        assert gateway.clients == (7,)


async def test_the_journal_has_what_was_sent(start_gateway: Any, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    gateway = await start_gateway(journal=path)
    async with connected(gateway.port) as (client, _):
        await client.reqTickersAsync(OPTION)
    await gateway.stop()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    greeks = [line["values"] for line in lines if line["kind"] == "tick_option_computation" and line["con_id"] == 101]
    assert ["0.2", "0.5", "1.05", "0.0", "0.01", "0.3", "-0.05", "250.0"] in [values[4:] for values in greeks]
    assert [line["client"] for line in lines if line["kind"] == "request_market_data"] == [7]
