"""What clients ask for beside the main calls: each gets its answer or an error code, and the session lives on."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ib_async
import pytest
from ibapi.order import Order
from tests.integration.gateway.test_gateway_ib_async import OPTION, SPY
from tests.integration.gateway.test_gateway_ib_async import connected as ib_async_connected
from tests.integration.gateway.test_gateway_official_client import connected as official_connected
from tests.integration.gateway.test_gateway_official_client import contract, named


async def test_ib_async_asks_about_symbols_rules_the_account_and_time(start_gateway: Any) -> None:
    gateway = await start_gateway()
    async with ib_async_connected(gateway.port) as (client, errors):
        (sample,) = await client.reqMatchingSymbolsAsync("spy") or []
        assert sample.contract is not None
        assert (sample.contract.conId, sample.contract.symbol, sample.derivativeSecTypes) == (1, "SPY", ["OPT"])
        assert await client.reqMatchingSymbolsAsync("NOPE") == []
        assert await client.reqMarketRuleAsync(26) == [ib_async.PriceIncrement(0.0, 0.01)]
        summary = await client.accountSummaryAsync()
        assert {value.tag for value in summary} >= {"NetLiquidation", "TotalCashValue"}
        head: Any = await client.reqHeadTimeStampAsync(SPY, "TRADES", True, 1)
        assert head.year == 1993
        assert await client.reqNewsProvidersAsync() == []
        assert await client.reqMktDepthExchangesAsync() == []
        profit = client.reqPnL("SIM000001")
        async with asyncio.timeout(60):
            while profit.unrealizedPnL != profit.unrealizedPnL:
                await client.pnlEvent
        assert [code for _, code in errors if code < 2000] == []


@pytest.mark.parametrize(("asked", "delivered"), [(1, 1), (2, 1), (3, 1), (4, 1)])
async def test_ib_async_gets_tickers_of_every_market_data_type(start_gateway: Any, asked: int, delivered: int) -> None:
    """Of a symbol that is subscribed and in an open market the data are live, whatever is asked for."""
    gateway = await start_gateway()
    async with ib_async_connected(gateway.port) as (client, _):
        client.reqMarketDataType(asked)
        (ticker,) = await client.reqTickersAsync(OPTION)
        assert (ticker.marketDataType, ticker.bid) == (delivered, 1.0)


async def test_ib_async_streams_real_time_bars_on_a_line(start_gateway: Any) -> None:
    gateway = await start_gateway()
    async with ib_async_connected(gateway.port) as (client, errors):
        bars = client.reqRealTimeBars(SPY, 5, "TRADES", useRTH=False)
        async with asyncio.timeout(60):
            while len(bars) < 2:
                await bars.updateEvent
        gap = (bars[1].time - bars[0].time).total_seconds()
        assert gap > 0
        assert gap % 5 == 0  # one that the machine slept through does not come
        assert (bars[0].high, bars[0].count) == (1.5, 3)
        assert gateway.lines_in_use == 1
        client.cancelRealTimeBars(bars)
        await client.reqCurrentTimeAsync()
        assert gateway.lines_in_use == 0
        assert [code for _, code in errors if code < 2000] == []


async def test_ib_async_is_refused_what_is_not_simulated_and_waits_for_nothing(start_gateway: Any) -> None:
    gateway = await start_gateway()
    async with ib_async_connected(gateway.port) as (client, errors), asyncio.timeout(60):
        assert not await client.reqHistoricalTicksAsync(SPY, "20261123 16:00:00 UTC", "", 10, "TRADES", True)
        assert not await client.reqFundamentalDataAsync(SPY, "ReportSnapshot")
        assert not await client.calculateImpliedVolatilityAsync(OPTION, 1.0, 250.0)
        assert not await client.reqScannerDataAsync(ib_async.ScannerSubscription())
        client.reqTickByTickData(SPY, "Last")
        client.reqMktDepth(SPY)
        while len([code for _, code in errors if code != 2104]) < 6 or not any(code == 10092 for _, code in errors):
            await client.errorEvent
        codes = [code for _, code in errors if not 2100 <= code < 2200]
        assert sorted(codes) == [322, 322, 430, 10092, 10187, 10189]
        assert await client.reqContractDetailsAsync(SPY)


async def test_orders_are_refused_with_321_under_their_own_id(start_gateway: Any) -> None:
    gateway = await start_gateway()
    async with official_connected(gateway.port) as client:
        await client.until_named("nextValidId")
        order = Order()
        order.action, order.orderType, order.totalQuantity, order.lmtPrice = "BUY", "LMT", 1, 1.0
        for order_id, what_if in ((71, False), (72, True)):
            order.whatIf = what_if
            client.requests.placeOrder(order_id, contract("SPY", "STK"), order)
            assert (await client.until_error(321))[0] == order_id
        client.requests.reqContractDetails(1, contract("SPY", "STK"))
        await client.until_named("contractDetailsEnd")


ASKED: dict[str, tuple[Callable[[Any], None], int]] = {
    "cancel of unknown market data": (lambda c: c.cancelMktData(40), 300),
    "cancel of unknown history": (lambda c: c.cancelHistoricalData(40), 366),
    "cancel of unknown real-time bars": (lambda c: c.cancelRealTimeBars(40), 300),
    "cancel of unknown depth": (lambda c: c.cancelMktDepth(40, False), 310),
    "cancel of unknown ticks": (lambda c: c.cancelTickByTickData(40), 300),
    "ticks": (lambda c: c.reqTickByTickData(40, contract("SPY", "STK"), "Last", 0, False), 10189),
    "histogram": (lambda c: c.reqHistogramData(40, contract("SPY", "STK"), True, "3 days"), 322),
    "news": (lambda c: c.reqHistoricalNews(40, 1, "BZ", "", "", 5, []), 10276),
    "real-time bars of nothing": (lambda c: c.reqRealTimeBars(40, contract("NOPE", "STK"), 5, "TRADES", True, []), 200),
    "head of nothing": (lambda c: c.reqHeadTimeStamp(40, contract("NOPE", "STK"), "TRADES", 1, 1), 200),
    "quote of nothing": (lambda c: c.reqMktData(40, contract("NOPE", "STK"), "", False, False, []), 200),
    "snapshot with generic ticks": (lambda c: c.reqMktData(40, contract("SPY", "STK"), "106", True, False, []), 321),
    "option parameters of nothing": (lambda c: c.reqSecDefOptParams(40, "NOPE", "", "STK", 999), 321),
}


async def test_the_official_client_gets_each_error_under_its_request(start_gateway: Any) -> None:
    gateway = await start_gateway(message_limit=500)
    async with official_connected(gateway.port) as client:
        await client.until_named("nextValidId")
        for name, (ask, code) in ASKED.items():
            ask(client.requests)
            assert (await client.until_error(code))[0] == 40, name
        client.requests.reqMarketDataType(9)
        assert (await client.until_error(321))[0] == -1
        client.requests.reqPnL(41, "SIM000001", "")
        assert named(await client.until_named("pnl"), "pnl")[0][0] == 41
        client.requests.reqAccountSummary(42, "All", "NetLiquidation")
        assert len(named(await client.until_named("accountSummaryEnd"), "accountSummary")) == 1
        client.requests.reqCurrentTime()
        await client.until_named("currentTime")


async def test_a_journal_that_cannot_be_written_any_more_is_known_and_ends_nothing_else(start_gateway: Any) -> None:
    gateway = await start_gateway(journal=Path("/dev/full"))
    async with ib_async_connected(gateway.port) as (client, _):
        assert len(await client.reqContractDetailsAsync(SPY)) == 1
        async with asyncio.timeout(60):
            await gateway.journal_broken()
        assert gateway.journal_failure.errno == errno.ENOSPC
        assert len(await client.reqContractDetailsAsync(SPY)) == 1
