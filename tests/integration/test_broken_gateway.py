"""A gateway that goes silent, or sends what is no message: one clear error, a new session, and the work goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.gateway.conftest import NOON, SmallMarket

from v6.clock import Clock
from v6.core.ib_connection import IBConnectionManager
from v6.core.loop_lag import LoopBlocked, MeasuredLoop
from v6.core.session_state import OutageEnded, SessionChanged, SessionState
from v6.events import Event, EventBus
from v6.request_types.base import Completeness, Contract
from v6.simulator.faults import make_fault
from v6.simulator.options import GatewayOptions
from v6.simulator.server import SimulatedGateway

SPEED = 20
PATIENCE = 60.0  # machine seconds until a test that waits for ever fails
OPTION = Contract(symbol="SPY", sec_type="OPT", con_id=101)
WHOLE = Completeness(required=frozenset({"bid", "ask", "model"}), wait_seconds=1000)


@asynccontextmanager
async def simulated(**options: Any) -> AsyncIterator[SimulatedGateway]:
    chosen = GatewayOptions(message_limit=1000, **options)
    gateway = SimulatedGateway(SmallMarket(), clock=Clock(f"{NOON.isoformat()}*{SPEED}"), options=chosen)
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop()


@dataclass(kw_only=True)
class Session:
    """A connection that keeps itself open, and what it reported."""

    connection: IBConnectionManager
    events: list[Event] = field(default_factory=list)

    def losses(self) -> list[str]:
        """Why an open session was lost, each time."""
        changes = [event for event in self.events if isinstance(event, SessionChanged)]
        lost = [change for change in changes if change.state is SessionState.DISCONNECTED]
        return [change.reason for change in lost if change.previous is not SessionState.CONNECTING]

    def has_other_account(self) -> bool:
        """Whether a session was refused because its account is not the first one's."""
        return any(isinstance(event, SessionChanged) and "began with" in event.reason for event in self.events)

    def stalls(self, *, seconds: float) -> int:
        """How often the machine kept the loop from running for so long: a heartbeat may have been missed then."""
        return sum(isinstance(event, LoopBlocked) and event.milliseconds >= 1000 * seconds for event in self.events)


@asynccontextmanager
async def session(port: int, clock: Clock, **options: Any) -> AsyncIterator[Session]:
    bus = EventBus()
    connection = IBConnectionManager(host="127.0.0.1", port=port, client_id=1, clock=clock, events=bus, **options)
    held = Session(connection=connection)
    bus.subscribe(Event, held.events.append)
    keeping = asyncio.create_task(connection.run())
    try:
        yield held
        assert not keeping.done()
    finally:
        await connection.stop()
        await keeping


async def until(held: Session, condition: Callable[[], bool]) -> None:
    """Look every few milliseconds until it is so."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await held.connection.clock.sleep(0.01 * SPEED)


async def until_ready(held: Session) -> None:
    """Wait for a session."""
    await until(held, lambda: held.connection.state is SessionState.READY)


async def until_lost(held: Session) -> None:
    """Wait until a session is lost; it may be back at once."""
    before = len(held.losses())
    await until(held, lambda: len(held.losses()) > before)


async def test_a_socket_that_goes_silent_is_noticed_and_nothing_is_lost() -> None:
    async with simulated() as gateway, session(gateway.port, gateway._gateway.clock) as held:
        await until_ready(held)
        silence = gateway.faults.arm(make_fault({"do": "silence", "request": "market_data", "times": 1}))
        quote = asyncio.create_task(held.connection.gateway(2, "r").quote(OPTION, WHOLE))
        await until(held, lambda: silence.struck == 1)
        gateway.faults.arm(make_fault({"do": "half_open"}))
        await until_lost(held)
        assert (await asyncio.wait_for(quote, PATIENCE)).model is not None
        assert ["does not answer any more" in reason for reason in held.losses()] == [True]
        ended = [event for event in held.events if isinstance(event, OutageEnded)]
        assert [event.issued_again for event in ended] == [1]


async def test_a_half_open_socket_that_keeps_its_client_id_is_left_for_the_next_id() -> None:
    async with (
        simulated() as gateway,
        session(gateway.port, gateway._gateway.clock, heartbeat_seconds=0.3, connect_timeout_seconds=0.3) as held,
    ):
        await until_ready(held)
        taken = gateway.clients
        gateway.faults.arm(make_fault({"do": "half_open", "keeps_client_id": True}))
        await until_lost(held)
        await until(held, lambda: len(gateway.clients) == 2)
        assert gateway.clients[:1] == taken


async def test_a_stop_while_the_hands_are_shaken_ends_the_run_and_leaves_no_session() -> None:
    bus, stops = EventBus(), list[asyncio.Task[None]]()
    async with simulated() as gateway, asyncio.timeout(PATIENCE):
        clock = gateway._gateway.clock
        connection = IBConnectionManager(host="127.0.0.1", port=gateway.port, client_id=1, clock=clock, events=bus)

        def stop(change: SessionChanged) -> None:
            if change.state is SessionState.CONNECTING:
                stops.append(asyncio.create_task(connection.stop()))

        bus.subscribe(SessionChanged, stop)
        await connection.run()
        await asyncio.gather(*stops)
        assert len(stops) == 1
        assert connection.state is SessionState.DISCONNECTED
        while gateway.clients:
            await clock.sleep(0.01 * SPEED)


@dataclass(frozen=True, kw_only=True)
class Damage:
    """One thing done to the bytes on their way to the client: at so many bytes into the stream."""

    at: int
    kind: str  # insert, delete, replace, cut
    data: bytes


damages = st.lists(
    st.builds(
        Damage,
        at=st.integers(0, 3000),
        kind=st.sampled_from(["insert", "delete", "replace", "cut"]),
        data=st.binary(min_size=1, max_size=40),
    ),
    min_size=1,
    max_size=3,
)


class DamagingProxy:
    """Stands before a gateway; damages the bytes of its first connection and leaves later ones alone."""

    def __init__(self, port: int, damage: Sequence[Damage]) -> None:
        self.port = 0
        self._behind = port
        self._damage = sorted(damage, key=lambda one: one.at)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> DamagingProxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        damage, self._damage = self._damage, []
        task = asyncio.create_task(self._relay(reader, writer, damage))
        self._tasks.add(task)

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, damage: Sequence[Damage]
    ) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._behind)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(_pipe(reader, up_writer, []))
                    both.create_task(_pipe(up_reader, writer, damage))
            finally:
                up_writer.close()
        finally:
            writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, damage: Sequence[Damage]) -> None:
    passed, left = 0, list(damage)
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 14):
            while left and left[0].at < passed + len(data):
                one = left.pop(0)
                position = max(0, one.at - passed)
                if one.kind == "cut":
                    writer.write(data[:position])
                    raise ConnectionResetError
                taken = 0 if one.kind == "insert" else len(one.data)
                put = b"" if one.kind == "delete" else one.data
                data = data[:position] + put + data[position + taken :]
            passed += len(data)
            writer.write(data)
    writer.close()


async def damaged(damage: list[Damage]) -> None:
    """Whatever arrives, the session is ready again in the end and serves bars."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with (
        simulated(quote_delay_seconds=(0.1, 0.5)) as gateway,
        DamagingProxy(gateway.port, damage) as proxy,
        session(proxy.port, gateway._gateway.clock, heartbeat_seconds=0.1, connect_timeout_seconds=0.2) as held,
    ):
        for number in range(3):
            quote = held.connection.gateway(2, f"r{number}").quote(OPTION, WHOLE)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(quote, 3)
        await until(held, lambda: held.connection.state is SessionState.READY or held.has_other_account())
        if held.has_other_account():  # the damage made another name of the first session's: it is never trusted again
            assert held.connection.account != gateway.options.account
            return
        await asyncio.wait_for(held.connection.gateway(2, "last").historical_bars(
            Contract(symbol="SPY", sec_type="STK", con_id=1), end=None, duration="5 D", bar_size="1 day",
            what_to_show="TRADES", regular_hours=True,
        ), PATIENCE)  # fmt: skip
        assert all(held.losses())  # each loss has a reason, and there are few: one for each damage at most
        assert len(held.losses()) <= len(damage) + 2 + held.stalls(seconds=0.1)
    assert complaints == []


@given(damage=damages)
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_bytes_cost_a_session_at_most(damage: list[Damage]) -> None:
    with asyncio.Runner(loop_factory=MeasuredLoop) as runner:
        runner.run(damaged(damage))


@pytest.mark.parametrize(
    "fault",
    [
        {"do": "garbage", "bytes": 64},
        {"do": "torn_frame", "then": "close"},
        {"do": "torn_frame", "then": "hang"},
        {"do": "torn_frame", "then": "go_on", "delay": 2},
        {"do": "bad_length", "length": 4_000_000_000},
        {"do": "bad_length", "length": 3},
        {"do": "field_count", "change": -3, "times": 1},
        {"do": "field_count", "change": 2, "times": 1},
        {"do": "duplicate_ticks", "copies": 3},
        {"do": "shuffled_ticks"},
        {"do": "disconnect", "how": "reset"},
        {"do": "disconnect", "how": "close"},
        {"do": "half_open", "seconds": 60},
    ],
    ids=lambda fault: "-".join(str(value) for value in fault.values()),
)
def test_a_quote_comes_through_whatever_the_gateway_sends(fault: dict[str, Any]) -> None:
    with asyncio.Runner(loop_factory=MeasuredLoop) as runner:
        runner.run(quoted(fault))


async def quoted(fault: dict[str, Any]) -> None:
    async with (
        simulated() as gateway,
        session(gateway.port, gateway._gateway.clock, heartbeat_seconds=0.3, connect_timeout_seconds=0.5) as held,
    ):
        await until_ready(held)
        waits = {} if fault["do"] in ("duplicate_ticks", "shuffled_ticks", "field_count") else {"times": 1}
        gateway.faults.arm(make_fault({"request": "market_data", **waits, **fault}))
        quote = await asyncio.wait_for(held.connection.gateway(2, "r").quote(OPTION, WHOLE), PATIENCE)
        assert (quote.bid, quote.ask, quote.model is not None) == (1.0, 1.1, True)
        assert held.connection.usage()["loop_blocked_ms"] is not None
        assert len(held.losses()) <= 1 + held.stalls(seconds=0.25)
