"""A session is recorded by a proxy and replayed to other clients, which use other ids and another order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import ib_async
import polars as pl
import pytest
from tests.integration.gateway.test_gateway_official_client import connected, contract, named
from tests.integration.test_request_types import TUESDAY, Session

from v6.clock import Clock
from v6.core.ib_connection import IBConnectionManager
from v6.errors import GatewayError, SettingsError
from v6.events import EventBus
from v6.recordings.proxy import RecordingProxy
from v6.recordings.recording import CLIENT, GATEWAY, RecordingWriter, read_recording
from v6.recordings.redaction import Redactor
from v6.recordings.replay import Replay
from v6.simulator.market import Market
from v6.simulator.options import GatewayOptions
from v6.simulator.server import SimulatedGateway
from v6.simulator.wire import encode_frame

SPEED = 1  # a quote that is late on a busy machine is another answer
ACCOUNT = "SIM424242"
# What differs between two collections of the same answers: when they were made.
MOMENTS = ("timestamp", "known_at", "bid_at", "ask_at", "last_at", "started_at", "cycle", "cycle_seconds", "request_id")
REQUESTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("option_chain", "SPY", {"dte": 30, "max_contracts": 30}),
    ("option_chain", "SPX", {"sec_type": "IND", "dte": 30, "max_contracts": 8}),
    ("futures_snapshot", "ES", {}),
    ("market_bars", "QQQ", {"bar_size": "5 mins", "duration": "3 D"}),
    ("market_bars", "IWM", {"bar_size": "1 day", "duration": "1 Y"}),
    ("position_update", "", {}),
)


@asynccontextmanager
async def simulated(**options: Any) -> AsyncIterator[SimulatedGateway]:
    soon = {"quote_delay_seconds": (0.05, 0.3)}  # well within what a request waits for what it wants besides
    chosen = GatewayOptions(market_data_lines=400, account=ACCOUNT, **{**soon, **options})
    gateway = SimulatedGateway(Market(seed=0), clock=Clock(f"{TUESDAY}*{SPEED}"), options=chosen)
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop()


@asynccontextmanager
async def recorded(gateway: SimulatedGateway, path: Path, **options: Any) -> AsyncIterator[int]:
    """A proxy before a gateway: its port. The file is whole when it ends."""
    clock = gateway._gateway.clock
    began_at, began = clock.now(), clock.monotonic()
    with RecordingWriter(path, began_at=began_at, elapsed=lambda: clock.monotonic() - began) as writer:
        proxy = RecordingProxy(("127.0.0.1", gateway.port), writer, Redactor(**options))
        yield await proxy.start("127.0.0.1", 0)
        await proxy.stop()


@asynccontextmanager
async def replayed(path: Path, *, speed: float = SPEED, at_once: bool = False) -> AsyncIterator[tuple[int, Clock]]:
    recording = read_recording(path)
    clock = Clock(f"{recording.began_at.isoformat()}*{speed}")
    replay = Replay(recording, clock=clock, at_once=at_once)
    port = await replay.start("127.0.0.1", 0)
    try:
        yield port, clock
    finally:
        await replay.stop()


@asynccontextmanager
async def session(port: int, clock: Clock) -> AsyncIterator[Session]:
    connection = IBConnectionManager(host="127.0.0.1", port=port, client_id=7, clock=clock, events=EventBus())
    await connection.start()
    try:
        yield Session(connection, clock)
    finally:
        await connection.stop()


async def rows_of(found: Session, order: list[int]) -> list[pl.DataFrame]:
    """The rows of each of REQUESTS, asked for all at once in that order."""
    asked = {
        number: asyncio.create_task(found.rows(REQUESTS[number][0], REQUESTS[number][1], **REQUESTS[number][2]))
        for number in order
    }
    await asyncio.gather(*asked.values())
    return [without_moments(asked[number].result()) for number in range(len(REQUESTS))]


def without_moments(rows: pl.DataFrame) -> pl.DataFrame:
    is_bars = "bar_size" in rows.columns  # the time of a bar is no moment of its collection
    left = rows.drop([name for name in MOMENTS if name in rows.columns and not (is_bars and name == "timestamp")])
    return left.sort(left.columns[:8], nulls_last=True) if left.height > 1 else left


async def test_a_replayed_session_gives_the_same_rows_to_other_ids_in_another_order(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    async with (
        simulated() as gateway,
        recorded(gateway, path) as port,
        session(port, gateway._gateway.clock) as found,
    ):
        assert found.connection.account == ACCOUNT  # nothing is changed on its way
        before = await rows_of(found, [0, 1, 2, 3, 4, 5])
    async with replayed(path) as (port, clock), session(port, clock) as found:
        assert found.connection.account == "SIM900001"
        after = await rows_of(found, [5, 4, 3, 2, 1, 0])
    assert [rows.height > 0 for rows in before] == [True] * len(REQUESTS)
    personal = ("account", "quantity", "average_cost")
    for (request_type, symbol, _), first, second in zip(REQUESTS, before, after, strict=True):
        dropped = [name for name in personal if request_type == "position_update" and name in first.columns]
        assert differences(first.drop(dropped), second.drop(dropped)) == {}, (request_type, symbol)


def differences(first: pl.DataFrame, second: pl.DataFrame) -> dict[str, Any]:
    """By column, the first pair of values that are not the same."""
    assert first.height == second.height
    return {
        name: next(pair for pair in zip(first[name], second[name], strict=True) if pair[0] != pair[1])
        for name in first.columns
        if not first[name].equals(second[name])
    }


async def test_what_was_not_recorded_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    async with (
        simulated() as gateway,
        recorded(gateway, path) as port,
        session(port, gateway._gateway.clock) as found,
    ):
        await found.rows("market_bars", "SPY", bar_size="1 day", duration="5 D")
    async with replayed(path, at_once=True) as (port, clock), session(port, clock) as found:
        assert (await found.rows("market_bars", "SPY", bar_size="1 day", duration="5 D")).height == 5
        with pytest.raises(GatewayError, match="recording has no such request"):
            await found.rows("market_bars", "SPY", bar_size="1 day", duration="6 D")


async def test_ib_async_and_the_official_client_complete_the_same_calls_against_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    async with simulated() as gateway, recorded(gateway, path) as port:
        first = await calls_of_ib_async(port)
        async with connected(port, client_id=9) as client:
            official_first = await calls_of_the_official_client(client)
    async with replayed(path) as (port, _):
        assert await calls_of_ib_async(port, skipped_ids=1000) == first
        async with connected(port, client_id=3) as client:
            assert await calls_of_the_official_client(client, first_id=500) == official_first


async def test_a_client_that_the_gateway_sends_away_hears_why_through_the_recorder(tmp_path: Path) -> None:
    async with simulated() as gateway, recorded(gateway, tmp_path / "session.jsonl") as port:
        client, codes = ib_async.IB(), list[int]()
        client.errorEvent += lambda _, code, *__: codes.append(code)
        await client.connectAsync("127.0.0.1", port, clientId=4, timeout=60)
        wire: Any = client.client
        async with asyncio.timeout(60):
            closed = client.disconnectedEvent
            wire.conn.sendMsg(encode_frame(["8", "1", "1"]) * 500_000)  # more than anybody reads before it is sent away
            await closed
    assert codes.count(100) == 3


async def calls_of_ib_async(port: int, *, skipped_ids: int = 0) -> dict[str, Any]:
    """Start-up with positions, orders and account, then details, parameters, tickers and bars."""
    ib = ib_async.IB()
    await ib.connectAsync("127.0.0.1", port, clientId=4, timeout=60)
    ib.client.updateReqId(ib.client.getReqId() + skipped_ids)  # type: ignore[no-untyped-call]
    try:
        spy = ib_async.Stock("SPY", "SMART", "USD")
        (details,) = await ib.reqContractDetailsAsync(spy)
        assert details.contract is not None
        parameters = await ib.reqSecDefOptParamsAsync("SPY", "", "STK", details.contract.conId)
        (ticker,) = await ib.reqTickersAsync(details.contract)
        bars = await ib.reqHistoricalDataAsync(details.contract, "", "5 D", "1 day", "TRADES", useRTH=True)
        return {
            "positions": len(ib.positions()),
            "values": sorted(value.tag for value in ib.accountValues()),
            "con_id": details.contract.conId,
            "classes": sorted((one.exchange, one.tradingClass, len(one.strikes)) for one in parameters),
            "ticker": (ticker.bid, ticker.ask, ticker.last),
            "bars": [(bar.date, bar.open, bar.close, bar.volume) for bar in bars],
        }
    finally:
        ib.disconnect()


async def calls_of_the_official_client(client: Any, *, first_id: int = 1) -> dict[str, Any]:
    await client.until_named("nextValidId")
    client.requests.reqContractDetails(first_id, contract("QQQ", "STK"))
    details = named(await client.until_named("contractDetailsEnd"), "contractDetails")
    client.requests.reqSecDefOptParams(first_id + 1, "QQQ", "", "STK", details[0][1].contract.conId)
    listings = named(
        await client.until_named("securityDefinitionOptionParameterEnd"), "securityDefinitionOptionParameter"
    )
    client.requests.reqMktData(first_id + 2, contract("QQQ", "STK"), "", True, False, [])
    ticks = await client.until_named("tickSnapshotEnd")
    end = "20261120-21:00:00"
    client.requests.reqHistoricalData(
        first_id + 3, contract("QQQ", "STK"), end, "5 D", "1 day", "TRADES", 1, 1, False, []
    )
    bars = named(await client.until_named("historicalDataEnd"), "historicalData")
    client.requests.reqPositions()
    positions = named(await client.until_named("positionEnd"), "position")
    return {
        "details": [details[0][1].contract.conId, details[0][1].longName],
        "listings": sorted((one[1], one[3], len(one[6])) for one in listings),
        "prices": sorted((values[1], values[2]) for values in named(ticks, "tickPrice")),
        "bars": [(bar.date, bar.close) for _, bar in bars],
        "positions": sorted(position[1].symbol for position in positions),
    }


async def test_the_file_names_no_account_balance_or_holding(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    async with simulated() as gateway, recorded(gateway, path) as port:
        clock = gateway._gateway.clock
        await calls_of_ib_async(port)
        async with connected(port, client_id=9) as client:
            await client.until_named("nextValidId")
            client.requests.reqAccountSummary(1, "All", "NetLiquidation,AccountType")
            summary = named(await client.until_named("accountSummaryEnd"), "accountSummary")
        holdings = Market(seed=0).holdings(clock.now())
    text = path.read_text()
    assert len(summary) > 0
    assert holdings != []
    secrets = [ACCOUNT, "250000", "INDIVIDUAL", *(str(values[3]) for values in summary)]
    assert [secret for secret in secrets if secret in text] == []
    held = [frame.fields for frame in read_recording(path).frames if frame.number in (7, 61) and len(frame.fields) > 9]
    hidden = {str(holding.average_cost) for holding in holdings} | {str(holding.quantity) for holding in holdings}
    assert [fields for fields in held if hidden & set(fields)] == []
    assert "SIM900001" in text


def redacted(sender: str, *messages: str) -> list[list[str] | None]:
    redactor = Redactor()
    redactor.redact(GATEWAY, ["15", "1", "U7654321,DU123456"])
    return [redactor.redact(sender, message.split("|")) for message in messages]


def test_what_speaks_of_a_person_is_hidden_and_what_nobody_knows_is_left_out() -> None:
    contract_texts = "1|SPY|STK||0.0|||ARCA|USD|SPY|SPY"
    assert redacted(
        GATEWAY,
        "15|1|U7654321,DU123456",
        "6|2|NetLiquidation|1234567.89|USD|U7654321",
        "6|2|AccountOrGroup|Jane Doe|USD|DU123456",
        f"7|8|{contract_texts}|12|650.1|7801.2|600.5|99.1|-3.2|U7654321",
        f"61|3|DU123456|{contract_texts}|12|600.5",
        "63|1|9001|U7654321|NetLiquidation|1234567.89|USD",
        "73|1|9|U7654321|Growth|NetLiquidation|12.5|USD",
        "94|5|-1200.5|3.1|2.2",
        "4|2|-1|10197|No market data during competing live session from 83.12.4.5 of U7654321|{}",
        "78|2|U7654321|Family|DU123456|Other",
        "107|3|MyBroker",
        "5|77|order of a person",
        "11|1|execution",
        "4242|who knows",
    ) == [
        ["15", "1", "SIM900001,SIM900002"],
        ["6", "2", "NetLiquidation", "0", "USD", "SIM900001"],
        ["6", "2", "AccountOrGroup", "redacted", "USD", "SIM900002"],
        ["7", "8", *contract_texts.split("|"), "1", "650.1", "0", "0", "0", "0", "SIM900001"],
        ["61", "3", "SIM900002", *contract_texts.split("|"), "1", "0"],
        ["63", "1", "9001", "SIM900001", "NetLiquidation", "0", "USD"],
        ["73", "1", "9", "SIM900001", "", "NetLiquidation", "0", "USD"],
        ["94", "5", "0", "0", "0"],
        ["4", "2", "-1", "10197", "No market data during competing live session from 0.0.0.0 of SIM900001", ""],
        ["78", "0"],
        ["107", "3", ""],
        None,
        None,
        None,
    ]
    assert redacted(CLIENT, "71|2|5|some capability", "6|2|1|U7654321", "3|1|an order", "62|1|9|MyGroup|All") == [
        ["71", "2", "5", ""],
        ["6", "2", "1", "SIM900001"],
        None,
        ["62", "1", "9", "All", "All"],
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is no recording"),
        ('{"format": "something else"}\n', "is no recording"),
        ("no json\n", ":1: this is no line"),
        ('{"format":"v6 gateway recording","version":1,"began_at":"2026-11-24T17:30:00+00:00"}\n', "nothing to replay"),
        (
            '{"format":"v6 gateway recording","version":1,"began_at":"2026-11-24T17:30:00+00:00"}\n'
            '{"at":1,"session":1,"opened":178,"time":"20261124 17:30:01 UTC"}\n{"at":2,"from":"client"}\n',
            "is damaged",
        ),
    ],
)
def test_a_file_that_is_no_recording_is_refused_by_name(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "file.jsonl"
    path.write_text(text)
    with pytest.raises(SettingsError, match=complaint) as caught:
        read_recording(path)
    assert str(path) in str(caught.value)


def test_a_recorder_that_was_killed_leaves_a_file_that_replays_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    lines = [
        {"format": "v6 gateway recording", "version": 1, "began_at": "2026-11-24T17:30:00+00:00"},
        {"at": 1.5, "session": 1, "opened": 178, "time": "20261124 17:45:01 UTC"},
        {"at": 2.0, "session": 1, "from": "client", "fields": ["71", "2", "1", ""]},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"at": 3.0, "sess')
    recording = read_recording(path)
    assert [frame.fields[0] for frame in recording.frames] == ["71"]
    assert (
        recording.began_at.isoformat() == "2026-11-24T17:44:59.500000+00:00"
    )  # the gateway's time, not the recorder's
