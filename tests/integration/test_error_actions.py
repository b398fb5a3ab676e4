"""What the worker does about each code of the gateway: written here by hand, and provoked by the simulated gateway.

Nothing of v6's own catalogue is used but the list of its codes, so that none is forgotten here.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.integration.gateway.conftest import NOON, SmallMarket

from v6.app import App
from v6.clock import Clock
from v6.core.error_catalogue import known_codes
from v6.core.ib_connection import IBConnectionManager
from v6.core.session_state import SessionState
from v6.data.ib_request import IBRequest, NewRequest
from v6.errors import ErrorCategory, GatewayError
from v6.events import EventBus
from v6.request_types.base import Completeness, Contract, Quote
from v6.settings import Settings
from v6.simulator.error_texts import error_text
from v6.simulator.faults import make_fault
from v6.simulator.options import GatewayOptions
from v6.simulator.server import SimulatedGateway

SPEED = 20
FAILS, EMPTY, RETRIED, ASKED_AGAIN, WAITS, GOES_ON = "fails", "empty", "retried", "asked again", "waits", "goes on"
DESCRIPTIONS = {
    # what: status, attempts spent, requests for bars that reached the gateway
    FAILS: ("FAILED", 1, 1),
    EMPTY: ("SUCCESS", 1, 1),
    RETRIED: ("SUCCESS", 2, 2),
    ASKED_AGAIN: ("SUCCESS", 1, 2),  # within the attempt, under a new id
    WAITS: ("SUCCESS", 1, 2),  # waiting spends no attempt
    GOES_ON: ("SUCCESS", 1, 1),
}
SERVICE = "Historical Market Data Service error message:"
# By code, or by code and text where the text decides. IB's "Message Codes" page and the gateways of others say so.
EXPECTED: dict[int | tuple[int, str], str] = {
    **dict.fromkeys((200, 203, 412, 430), FAILS),  # this contract cannot be had
    **dict.fromkeys((310, 311, 313, 319, 320, 321, 336, 503, 505, 506, 10299, 10314, 10339), FAILS),  # cannot be asked
    **dict.fromkeys((354, 10168, 10186, 10187, 10189, 10276), FAILS),  # not subscribed
    (162, f"{SERVICE}No market data permissions for ARCA STK"): FAILS,
    (162, f"{SERVICE}HMDS query returned no data: SPY@SMART Trades"): EMPTY,
    (162, f"{SERVICE}Historical data request pacing violation"): WAITS,
    (162, f"{SERVICE}HMDS connection attempt failed. Connection will be re-attempted."): RETRIED,
    (162, f"{SERVICE}API historical data query cancelled: 7"): RETRIED,  # not by us, or nobody would wait
    **dict.fromkeys((165, 316, 317, 323, 324, 325, 10182, 10225), RETRIED),  # transient
    **dict.fromkeys((102, 322), ASKED_AGAIN),  # our own mistake with ids
    (322, "Error processing request: Only 50 simultaneous API historical data requests allowed."): WAITS,
    **dict.fromkeys((100, 101, 309, 420, 10190), WAITS),  # too fast, or all places taken
    **dict.fromkeys((300, 365, 366, 501), GOES_ON),  # harmless
    **dict.fromkeys((10089, 10090, 10091, 10167), GOES_ON),  # less than asked for, but something
    **dict.fromkeys((103, 104, 201, 202, 399, 434, 10147, 10148), GOES_ON),  # of orders, which v6 never sends
    **dict.fromkeys((2100, 2101, 2102, 2107, 2108, 2109, 2119, 2137, 2150, 2168, 2169), GOES_ON),  # information
    99999: RETRIED,  # nobody knows it
    2199: GOES_ON,
}
HOLDS = {  # notice: what is held, and the notice that ends it
    (1100, 1102): {"market_data", "history", "account"},
    (1100, 1101): {"market_data", "history", "account"},
    (2110, 1102): {"market_data", "history", "account"},
    (2103, 2104): {"market_data"},
    (2105, 2106): {"history"},
    (2157, 2158): {"market_data", "history"},
}
RECONNECTS = (502, 504, 507, 508, 509, 1300)
ON_THE_SESSION = {326, 10197, *RECONNECTS, *(code for codes in HOLDS for code in codes)}


def code_of(key: int | tuple[int, str]) -> int:
    return key if isinstance(key, int) else key[0]


class CodeMarket(SmallMarket):
    """A stock for each of the codes, called C0, C1, …"""

    instruments = (
        *SmallMarket.instruments,
        *(
            replace(SmallMarket.instruments[0], con_id=5000 + number, symbol=f"C{number}", local_symbol=f"C{number}")
            for number in range(len(EXPECTED))
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Run:
    """What became of the requests, and of which contract bars were asked for how often."""

    requests: dict[str, IBRequest]
    asked: Counter[int]


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[SimulatedGateway]:
    options = GatewayOptions(
        journal=tmp_path / "journal.jsonl",
        quote_delay_seconds=(0.01, 0.1),
        history_delay_seconds=(0.01, 0.02),
        message_limit=1000,
    )
    served = SimulatedGateway(CodeMarket(), clock=Clock(f"{NOON.isoformat()}*{SPEED}"), options=options)
    await served.start()
    yield served
    await served.stop()


def app_for(gateway: SimulatedGateway, folder: Path) -> App:
    clock = str(gateway._gateway.clock.setting)
    return App(
        Settings(
            lake=str(folder / "lake"), gateway_port=gateway.port, clock=clock, poll_seconds=0.02, log_level="error"
        )
    )


async def run_all(app: App, requests: list[NewRequest], journal: Path, gateway: SimulatedGateway) -> Run:
    queue = app.queue(source="test", worker_id="worker")
    try:
        ids = await queue.insert_many(requests)
        async with asyncio.timeout(240):
            await app.worker(queue).run(drain=True)
        ended = {request.symbol: await queue.get(request_id) for request, request_id in zip(requests, ids, strict=True)}
    finally:
        await queue.close()
    gateway._gateway.journal.flush()
    return Run(requests=ended, asked=asked_for_bars(journal))


def asked_for_bars(journal: Path) -> Counter[int]:
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    return Counter(line["con_id"] for line in lines if line["kind"] == "request_bars")


def test_every_code_of_the_catalogue_has_an_expectation() -> None:
    assert {code_of(key) for key in EXPECTED} - {99999, 2199} | ON_THE_SESSION == known_codes()


async def test_every_code_leads_to_what_is_expected(gateway: SimulatedGateway, tmp_path: Path) -> None:
    app = app_for(gateway, tmp_path)
    struck = []
    for number, (key, what) in enumerate(EXPECTED.items()):
        text = key[1] if isinstance(key, tuple) else error_text(key)
        fault = {"do": "error", "code": code_of(key), "text": text, "symbol": f"C{number}", "request": "bars"}
        struck.append(gateway.faults.arm(make_fault({**fault, "times": 1, "goes_on": what == GOES_ON})))
    wanted = [
        NewRequest(request_type="market_bars", symbol=f"C{number}", parameters={"duration": "5 D"})
        for number in range(len(EXPECTED))
    ]
    run = await run_all(app, wanted, tmp_path / "journal.jsonl", gateway)
    seen = {key: run.requests[f"C{number}"] for number, key in enumerate(EXPECTED)}
    found = {
        # the journal has what was served: a request that a fault took is not in it
        key: (str(request.status), request.attempt, run.asked[5000 + number] + (EXPECTED[key] != GOES_ON))
        for number, (key, request) in enumerate(seen.items())
    }
    assert [armed.struck for armed in struck] == [1] * len(EXPECTED)
    assert found == {key: DESCRIPTIONS[what] for key, what in EXPECTED.items()}
    rows = {key: request.result_data.get("rows") for key, request in seen.items()}
    assert {key for key, count in rows.items() if count == 0} == {
        key for key, what in EXPECTED.items() if what == EMPTY
    }
    failed = {key: request.error_code for key, request in seen.items() if str(request.status) == "FAILED"}
    assert failed == {key: code_of(key) for key, what in EXPECTED.items() if what == FAILS}


@asynccontextmanager
async def session(gateway: SimulatedGateway, **options: Any) -> AsyncIterator[IBConnectionManager]:
    connection = IBConnectionManager(
        host="127.0.0.1", port=gateway.port, client_id=1, clock=gateway._gateway.clock, events=EventBus(), **options
    )
    await connection.start()
    keeping = asyncio.create_task(connection.run())
    try:
        yield connection
    finally:
        await connection.stop()
        await keeping


async def until(connection: IBConnectionManager, *states: SessionState) -> None:
    async with asyncio.timeout(60):
        while connection.state not in states:
            await connection.clock.sleep(0.2)


def held(connection: IBConnectionManager) -> set[str]:
    return {kind for kind in ("market_data", "history", "account") if connection.admits(kind) is not None}


def notice(gateway: SimulatedGateway, code: int) -> None:
    gateway.faults.arm(make_fault({"do": "notice", "code": code}))


@pytest.mark.parametrize(("lost", "back"), HOLDS)
async def test_what_is_lost_is_held_until_it_is_back(gateway: SimulatedGateway, lost: int, back: int) -> None:
    async with session(gateway) as connection:
        notice(gateway, lost)
        await until(connection, SessionState.DEGRADED)
        assert held(connection) == HOLDS[lost, back]
        assert str(lost) in connection.reason
        notice(gateway, back)
        await until(connection, SessionState.READY)
        assert held(connection) == set()


async def test_a_competing_session_holds_quotes_only_and_leaves_no_line_taken(gateway: SimulatedGateway) -> None:
    async with session(gateway, competing_hold_seconds=20) as connection:
        quote = asyncio.create_task(connection.gateway(2, "r").quote(SPY, WHOLE))
        await connection.clock.sleep(0.5)
        gateway.faults.arm(make_fault({"do": "competing_session", "seconds": 10}))
        with pytest.raises(GatewayError) as caught:
            await asyncio.wait_for(quote, 60)
        assert (caught.value.code, caught.value.category) == (10197, ErrorCategory.SESSION)
        assert held(connection) == {"market_data"}
        assert connection.state is SessionState.HELD
        await until(connection, SessionState.READY)
        await lines_free(gateway)


async def lines_free(gateway: SimulatedGateway) -> None:
    async with asyncio.timeout(60):
        while gateway.lines_in_use:
            await gateway._gateway.clock.sleep(0.5)


SPY = Contract(symbol="SPY", sec_type="STK", con_id=1)
OPTION = Contract(symbol="SPY", sec_type="OPT", con_id=101)
BID_ASK = Completeness(required=frozenset({"bid", "ask"}))
WHOLE = Completeness(required=frozenset({"bid", "ask", "model"}), wait_seconds=200)


@pytest.mark.parametrize("code", RECONNECTS)
async def test_a_broken_socket_is_opened_again_and_work_goes_on(gateway: SimulatedGateway, code: int) -> None:
    async with session(gateway) as connection:
        gateway.faults.arm(
            make_fault({"do": "slow", "delay": 10, "request": "market_data", "times": 1, "symbol": "SPY"})
        )
        quote = asyncio.create_task(connection.gateway(2, "r").quote(OPTION, WHOLE))
        await connection.clock.sleep(1)
        notice(gateway, code)
        assert (await asyncio.wait_for(quote, 60)).model is not None
        assert connection.state is SessionState.READY


async def test_a_client_id_in_use_is_left_for_the_next_one(gateway: SimulatedGateway) -> None:
    gateway.faults.arm(make_fault({"do": "client_id_in_use", "client_id": 1}))
    async with session(gateway):
        assert gateway.clients == (2,)


@pytest.mark.parametrize("code", [354, 10168, 10186, 10187, 10189])
async def test_a_quote_without_a_subscription_fails(gateway: SimulatedGateway, code: int) -> None:
    gateway.faults.arm(make_fault({"do": "error", "code": code, "request": "market_data"}))
    async with session(gateway) as connection:
        with pytest.raises(GatewayError) as caught:
            await connection.gateway(2, "r").quote(SPY, BID_ASK)
        assert (caught.value.code, caught.value.category) == (code, ErrorCategory.ENTITLEMENT)


@pytest.mark.parametrize("code", [10089, 10090, 10091, 10167])
async def test_a_quote_goes_on_with_less(gateway: SimulatedGateway, code: int) -> None:
    gateway.faults.arm(make_fault({"do": "error", "code": code, "request": "market_data", "goes_on": True}))
    gateway.faults.arm(make_fault({"do": "no_greeks"}))
    async with session(gateway) as connection:
        wanted = replace(WHOLE, wait_seconds=20)
        quote: Quote = await connection.gateway(2, "r").quote(OPTION, wanted)
        assert (quote.bid, quote.model) == (1.0, None)
        assert str(code) in quote.missing["model"]
