"""The simulated gateway: a TCP server for several clients at once over one market."""

from __future__ import annotations

import asyncio
import contextlib

from v6.clock import Clock
from v6.simulator import account, contract_details, history_requests, lookups, market_data, real_time_bars
from v6.simulator.instruments import MarketSource
from v6.simulator.journal import Journal
from v6.simulator.limits import HistoryPacing, MarketDataLines
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
        self._gateway = Gateway(
            market=market,
            clock=clock,
            options=self.options,
            journal=Journal(self.options.journal, clock),
            lines=MarketDataLines(self.options.market_data_lines),
            history_pacing=HistoryPacing(),
            open_history=set(),
            sessions={},
            largest_seconds={},
            handlers=HANDLERS,
        )
        self._server: asyncio.Server | None = None
        self._flusher: asyncio.Task[None] | None = None
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

    async def start(self) -> int:
        """Listen; the port. Raises OSError when the port is taken or the journal cannot be written."""
        self._gateway.journal.__enter__()
        self._server = await asyncio.start_server(self._accept, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        self._flusher = asyncio.create_task(self._flush_journal(), name="simulated gateway journal")
        return self.port

    async def stop(self) -> None:
        """Stop listening, end every session, close the journal."""
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None
        if self._flusher is not None:
            self._flusher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._flusher
            self._flusher = None
        self._gateway.journal.__exit__(None, None, None)

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
