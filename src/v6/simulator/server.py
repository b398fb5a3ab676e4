"""The simulated gateway: a TCP server for several clients at once over one market."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection
from typing import Any

from v6.clock import Clock
from v6.simulator import account, contract_details, history_requests, lookups, market_data, real_time_bars
from v6.simulator.changing_market import ChangingMarket
from v6.simulator.control_port import ControlPort
from v6.simulator.faults_in_force import FaultsInForce
from v6.simulator.instruments import MarketSource
from v6.simulator.journal import Journal
from v6.simulator.limits import HistoryPacing, MarketDataLines, Traffic
from v6.simulator.options import GatewayOptions
from v6.simulator.session import Gateway, Handler, Session

FLUSH_SECONDS = 0.25
HANDLERS: dict[int, Handler] = {
    **account.HANDLERS,
    **contract_details.HANDLERS,
    **market_data.HANDLERS,
    **history_requests.HANDLERS,
    **real_time_bars.HANDLERS,
    **lookups.HANDLERS,
}


class SimulatedGateway:
    """Listens on ``host``; port 0 takes a free one. All limits but messages per second hold over all clients."""

    def __init__(
        self,
        market: MarketSource,
        *,
        clock: Clock,
        host: str = "127.0.0.1",
        port: int = 0,
        options: GatewayOptions | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.options = options or GatewayOptions()
        changing = ChangingMarket(market)
        self.faults = FaultsInForce(clock=clock, market=changing, host=self)
        self._gateway = Gateway(
            market=changing,
            clock=clock,
            options=self.options,
            journal=Journal(self.options.journal, clock),
            lines=MarketDataLines(self.options.market_data_lines),
            history_pacing=HistoryPacing(),
            open_history=set(),
            sessions={},
            largest_seconds={},
            handlers=HANDLERS,
            faults=self.faults,
            traffic=Traffic(),
        )
        self._control = ControlPort(self.faults, self.status) if self.options.control_port is not None else None
        self._server: asyncio.Server | None = None
        self._flusher: asyncio.Task[None] | None = None
        self._journal_broken = asyncio.Event()
        self._connections: dict[asyncio.Task[None], Session] = {}

    @property
    def clients(self) -> tuple[int, ...]:
        """The ids of the clients that are connected."""
        return tuple(sorted(self._gateway.sessions))

    @property
    def lines_in_use(self) -> int:
        """Market-data lines that are taken."""
        return self._gateway.lines.in_use

    @property
    def largest_seconds(self) -> dict[int, int]:
        """By client id: the most messages that it sent within any second."""
        return dict(self._gateway.largest_seconds)

    @property
    def control_port(self) -> int | None:
        """Where faults can be ordered; None when nowhere."""
        return None if self._control is None else self._control.port

    @property
    def journal_failure(self) -> OSError | None:
        """Why the journal could not be written on; None while it can."""
        return self._gateway.journal.failure

    async def journal_broken(self) -> None:
        """Wait until the journal cannot be written any more."""
        await self._journal_broken.wait()

    def status(self) -> dict[str, Any]:
        """What it is doing and has seen so far. Windows are in messages of one client within a sliding second."""
        traffic = self._gateway.traffic
        return {
            "port": self.port,
            "now": self._gateway.clock.now().isoformat(),
            "clients": list(self.clients),
            "connections": len(self._connections),
            "lines_in_use": self.lines_in_use,
            "messages": traffic.messages,
            "largest_window": max(self.largest_seconds.values(), default=0),
            "messages_per_second": self.options.messages_per_second,
            "errors": {str(code): count for code, count in sorted(traffic.errors.items())},
            "faults": self.faults.as_json(),
        }

    async def start(self) -> int:
        """Listen; the port. Raises OSError when a port is taken or the journal cannot be written."""
        self._gateway.journal.__enter__()
        await self._listen(self.port)
        if self._control is not None:
            await self._control.start(self.options.control_port or 0)
        self.faults.start(self.options.faults)
        self._flusher = asyncio.create_task(self._flush_journal(), name="simulated gateway journal")
        return self.port

    async def stop(self) -> None:
        """Stop listening, end every session, close the journal."""
        if self._control is not None:
            await self._control.stop()
        await self.faults.stop()
        await self._close_all()
        if self._flusher is not None:
            self._flusher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._flusher
            self._flusher = None
        self._gateway.journal.__exit__(None, None, None)

    async def _listen(self, port: int) -> None:
        self._server = await asyncio.start_server(self._accept, self.host, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close_all(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        if server is not None:
            await server.wait_closed()

    # --- what faults do to the server ---

    def open_sessions(self) -> Collection[Session]:
        """Every connection."""
        return list(self._connections.values())

    async def restart(self, seconds: float) -> None:
        """Close everything, listen again after so many clock seconds."""
        await self._close_all()
        await self._gateway.clock.sleep(seconds)
        await self._listen(self.port)

    async def move(self, port: int) -> int:
        """Listen on another port from now on, and close every connection; the port."""
        await self._close_all()
        await self._listen(port)
        return self.port

    async def free_port(self, port: int) -> int:
        """The port itself, or a free one for 0."""
        probe = await asyncio.start_server(lambda _reader, writer: writer.close(), self.host, port)
        found: int = probe.sockets[0].getsockname()[1]
        probe.close()
        await probe.wait_closed()
        return found

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= 2 * self.options.max_clients or len(self.clients) >= self.options.max_clients:
            writer.close()
            return
        session = Session(self._gateway, reader, writer)
        task = asyncio.create_task(session.run(), name="simulated gateway session")
        self._connections[task] = session
        task.add_done_callback(self._connections.pop)

    async def _flush_journal(self) -> None:
        clock = self._gateway.clock
        while self._gateway.journal.is_open:
            await clock.sleep(FLUSH_SECONDS * clock.speed)
            self._gateway.journal.flush()
        if self.journal_failure is not None:
            self._journal_broken.set()
