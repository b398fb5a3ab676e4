"""IB's official Python client, in a thread, against the simulated gateway."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from ibapi.client import EClient
from ibapi.contract import Contract
from ibapi.wrapper import EWrapper

SECONDS = 60.0  # until a test that waits for ever fails
Event = tuple[str, tuple[Any, ...]]
RECORDED = (
    "nextValidId", "managedAccounts", "error", "contractDetails", "contractDetailsEnd", "tickPrice", "tickSize",
    "tickString", "tickGeneric", "tickOptionComputation", "tickSnapshotEnd", "marketDataType", "historicalData",
    "historicalDataEnd", "position", "positionEnd", "currentTime", "headTimestamp",
    "securityDefinitionOptionParameter", "securityDefinitionOptionParameterEnd", "connectionClosed", "pnl",
    "accountSummary", "accountSummaryEnd",
)  # fmt: skip


class Recorder(EWrapper):  # type: ignore[misc]  # ibapi has no types
    """Puts every callback of interest on a queue."""

    def __init__(self) -> None:
        super().__init__()
        self.events: queue.Queue[Event] = queue.Queue()
        for name in RECORDED:
            setattr(self, name, self._recorder(name))

    def _recorder(self, name: str) -> Callable[..., None]:
        return lambda *values: self.events.put((name, values))


class OfficialClient:
    """The client and what it heard."""

    def __init__(self) -> None:
        self._wrapper = Recorder()
        self.requests = EClient(self._wrapper)
        self._thread = threading.Thread(target=self.requests.run, name="official client", daemon=True)

    def connect(self, port: int, client_id: int) -> None:
        self.requests.connect("127.0.0.1", port, client_id)
        self._thread.start()

    def disconnect(self) -> None:
        self.requests.disconnect()
        self._thread.join(SECONDS)

    async def until(self, condition: Callable[[str, tuple[Any, ...]], bool]) -> list[Event]:
        """Every event up to the first that fits."""
        heard: list[Event] = []
        while not heard or not condition(*heard[-1]):
            heard.append(await asyncio.to_thread(self._wrapper.events.get, timeout=SECONDS))
        return heard

    async def until_named(self, name: str) -> list[Event]:
        """Every event up to the first of this name."""
        return await self.until(lambda heard, _: heard == name)

    async def until_error(self, code: int) -> tuple[Any, ...]:
        """The values of the first error with this code: request id, time, code, text, ..."""
        return (await self.until(lambda name, values: name == "error" and values[2] == code))[-1][1]


@asynccontextmanager
async def connected(port: int, client_id: int = 5) -> AsyncIterator[OfficialClient]:
    client = OfficialClient()
    await asyncio.to_thread(client.connect, port, client_id)
    try:
        yield client
    finally:
        await asyncio.to_thread(client.disconnect)


def contract(symbol: str, sec_type: str, *, con_id: int = 0, expiry: str = "") -> Contract:
    wanted = Contract()
    wanted.conId = con_id
    wanted.symbol = symbol
    wanted.secType = sec_type
    wanted.exchange = "CME" if sec_type == "FUT" else "SMART"
    wanted.currency = "USD"
    wanted.lastTradeDateOrContractMonth = expiry
    return wanted


def named(events: list[Event], name: str) -> list[tuple[Any, ...]]:
    return [values for heard, values in events if heard == name]


async def test_it_is_ready_with_an_account_an_id_and_the_farms(start_gateway: Any) -> None:
    gateway = await start_gateway()
    async with connected(gateway.port) as client:
        events = await client.until(lambda name, values: name == "error" and values[2] == 2158)
        assert named(events, "managedAccounts") == [("SIM000001",)]
        assert named(events, "nextValidId") == [(1,)]
        assert client.requests.serverVersion() == 178


async def test_contract_details_of_a_stock_a_chain_of_futures_and_options(start_gateway: Any) -> None:
    gateway = await start_gateway()
    async with connected(gateway.port) as client:
        client.requests.reqContractDetails(1, contract("SPY", "STK"))
        ((_, stock),) = named(await client.until_named("contractDetailsEnd"), "contractDetails")
        assert (stock.contract.conId, stock.longName, stock.minTick) == (1, "SOCIÉTÉ", 0.01)
        assert (stock.stockType, stock.timeZoneId) == ("ETF", "US/Eastern")
        client.requests.reqContractDetails(2, contract("ES", "FUT"))
        futures = named(await client.until_named("contractDetailsEnd"), "contractDetails")
        assert [one.contract.lastTradeDateOrContractMonth for _, one in futures] == ["20261218", "20270319"]
        assert futures[0][1].lastTradeTime == "08:30:00"
        client.requests.reqContractDetails(3, contract("SPY", "OPT", expiry="20261218"))
        options = named(await client.until_named("contractDetailsEnd"), "contractDetails")
        assert [(one.contract.strike, one.contract.right, one.underConId) for _, one in options] == [
            (240.0, "C", 1),
            (250.0, "C", 1),
            (240.0, "P", 1),
            (250.0, "P", 1),
        ]


async def test_option_parameters(start_gateway: Any) -> None:
    gateway = await start_gateway()
    async with connected(gateway.port) as client:
        client.requests.reqSecDefOptParams(1, "SPY", "", "STK", 1)
        listings = named(
            await client.until_named("securityDefinitionOptionParameterEnd"), "securityDefinitionOptionParameter"
        )
        assert [listing[1] for listing in listings] == ["SMART", "CBOE"]
        assert (listings[0][5], listings[0][6]) == ({"20261218"}, {240.0, 250.0})


async def test_a_snapshot_of_an_option_has_prices_and_greeks_and_ends(start_gateway: Any) -> None:
    gateway = await start_gateway()
    async with connected(gateway.port) as client:
        client.requests.reqMktData(1, contract("SPY", "OPT", con_id=100), "", True, False, [])
        events = await client.until_named("tickSnapshotEnd")
        prices = {values[1]: values[2] for values in named(events, "tickPrice")}
        assert (prices[1], prices[2], prices[4]) == (1.0, 1.1, 1.05)
        computed = {values[1]: values for values in named(events, "tickOptionComputation")}
        assert set(computed) == {10, 11, 12, 13}
        assert computed[13][3:] == (0.2, 0.5, 1.05, 0.0, 0.01, 0.3, -0.05, 250.0)


async def test_a_stream_of_an_option_has_open_interest_and_stops_when_cancelled(start_gateway: Any) -> None:
    gateway = await start_gateway()
    async with connected(gateway.port) as client:
        client.requests.reqMktData(1, contract("SPY", "OPT", con_id=200), "100,101,106", False, False, [])
        await client.until(lambda name, values: name == "tickSize" and values[1:] == (28, 77))
        assert gateway.lines_in_use == 1
        client.requests.cancelMktData(1)
        client.requests.cancelMktData(1)
        assert (await client.until_error(300))[0] == 1
        assert gateway.lines_in_use == 0


async def test_daily_and_five_minute_bars(start_gateway: Any) -> None:
    gateway = await start_gateway()
    async with connected(gateway.port) as client:
        client.requests.reqHistoricalData(1, contract("SPY", "STK"), "", "5 D", "1 day", "TRADES", 1, 1, False, [])
        days = named(await client.until_named("historicalDataEnd"), "historicalData")
        assert len(days) == 5
        assert days[-1][1].date == "20261122"
        client.requests.reqHistoricalData(
            2, contract("SPY", "STK"), "20261123-17:00:00", "3600 S", "5 mins", "TRADES", 1, 1, False, []
        )
        bars = named(await client.until_named("historicalDataEnd"), "historicalData")
        assert len(bars) == 12
        assert bars[0][1].date == "20261123 11:00:00 US/Eastern"
        assert (bars[0][1].open, bars[0][1].high, bars[0][1].low, bars[0][1].close) == (1.0, 1.5, 0.5, 1.25)


async def test_positions_time_and_head_time_stamp(start_gateway: Any) -> None:
    gateway = await start_gateway()
    async with connected(gateway.port) as client:
        client.requests.reqPositions()
        ((account, held, quantity, cost),) = named(await client.until_named("positionEnd"), "position")
        assert (account, held.conId, float(quantity), cost) == ("SIM000001", 1, 100.0, 200.0)
        client.requests.reqHeadTimeStamp(4, contract("SPY", "STK"), "TRADES", 1, 1)
        assert named(await client.until_named("headTimestamp"), "headTimestamp") == [(4, "19930129-14:30:00")]


async def test_a_symbol_that_does_not_exist_is_error_200(start_gateway: Any) -> None:
    gateway = await start_gateway()
    async with connected(gateway.port) as client:
        client.requests.reqContractDetails(9, contract("NOPE", "STK"))
        assert (await client.until_error(200))[0] == 9


async def test_one_line_too_many_is_error_101_and_the_same_contract_counts_once(start_gateway: Any) -> None:
    gateway = await start_gateway(market_data_lines=2, message_limit=50)
    async with connected(gateway.port) as client:
        for req_id, con_id in enumerate((1, 1, 2, 3), start=1):
            client.requests.reqMktData(req_id, contract("", "STK", con_id=con_id), "", False, False, [])
        assert (await client.until_error(101))[0] == 4
        assert gateway.lines_in_use == 2
        client.requests.cancelMktData(3)
        client.requests.reqMktData(5, contract("", "STK", con_id=3), "", False, False, [])
        await client.until(lambda name, values: name == "tickPrice" and values[0] == 5)


async def test_pacing_of_small_bars_is_error_162(start_gateway: Any) -> None:
    gateway = await start_gateway(speed=1)
    async with connected(gateway.port) as client:
        for req_id in (1, 2):
            client.requests.reqHistoricalData(
                req_id, contract("SPY", "STK"), "", "60 S", "5 secs", "TRADES", 1, 1, False, []
            )
        values = await client.until_error(162)
        assert values[0] == 2
        assert "pacing violation" in values[3]


async def test_a_client_id_in_use_is_error_326_and_a_closed_connection(start_gateway: Any) -> None:
    gateway = await start_gateway()
    async with connected(gateway.port) as first:
        await first.until_named("nextValidId")
        async with connected(gateway.port) as second:
            await second.until_error(326)
            await second.until_named("connectionClosed")
        assert gateway.clients == (5,)


async def test_a_request_cancelled_in_the_same_breath_leaves_nothing_behind(start_gateway: Any) -> None:
    gateway = await start_gateway()
    async with connected(gateway.port) as client:
        client.requests.reqMktData(1, contract("SPY", "STK"), "", False, False, [])
        client.requests.cancelMktData(1)
        client.requests.reqMktData(1, contract("SPY", "STK"), "", True, False, [])
        await client.until_named("tickSnapshotEnd")
        assert gateway.lines_in_use == 0


async def test_a_cancelled_history_request_ends_with_162(start_gateway: Any) -> None:
    gateway = await start_gateway(history_delay_seconds=(60.0, 60.0))
    async with connected(gateway.port) as client:
        client.requests.reqHistoricalData(1, contract("SPY", "STK"), "", "5 D", "1 day", "TRADES", 1, 1, False, [])
        client.requests.cancelHistoricalData(1)
        assert "query cancelled" in (await client.until_error(162))[3]


async def test_the_fifty_first_open_history_request_is_refused(start_gateway: Any) -> None:
    gateway = await start_gateway(history_delay_seconds=(60.0, 60.0), message_limit=100)
    async with connected(gateway.port) as client:
        for req_id in range(1, 52):
            client.requests.reqHistoricalData(
                req_id, contract("SPY", "STK"), "", "5 D", "1 day", "TRADES", 1, 1, False, []
            )
        values = await client.until_error(322)
        assert (values[0], "Only 50 simultaneous" in values[3]) == (51, True)
