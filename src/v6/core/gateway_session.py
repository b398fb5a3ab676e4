"""One open socket with the gateway, and which one is in use now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from v6.core.gateway_receiver import GatewayReceiver, SessionInterrupted

SocketClient = Any  # the socket client of ib_connection: its methods carry no types
ClientFactory = Callable[[GatewayReceiver, Callable[[str], None]], SocketClient]
CLOSE_MACHINE_SECONDS = 1.0


class GatewaySession:
    """One open socket: its client, its receiver, and the future that says that it is lost."""

    def __init__(self, receiver: GatewayReceiver, make_client: ClientFactory) -> None:
        """``make_client`` is given the receiver and what to call with a reason when bytes cannot be read."""
        self.receiver = receiver
        self.client = make_client(receiver, self._on_garbage)
        self.complaint = ""  # what it sent that cannot be read
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.client.apiError.connect(self._on_lost)
        self.client.apiEnd.connect(self._on_end)

    def _on_lost(self, message: str) -> None:
        if not self.lost.done():
            self.lost.set_result(message)

    def _on_end(self) -> None:
        self._on_lost("the gateway closed the connection")

    def _on_garbage(self, reason: str) -> None:
        self.complaint = f": {reason}"
        self.close(reason)

    def close(self, reason: str) -> None:
        """Close the socket and tell whoever waits."""
        self._on_lost(reason)
        self.client.disconnect()

    async def wait_closed(self) -> None:
        """Until the socket is closed; a peer that takes nothing any more is cut off."""
        if self.client.conn.isConnected():
            is_closed = asyncio.Event()
            self.client.conn.disconnected.connect(lambda _message: is_closed.set())
            try:
                async with asyncio.timeout(CLOSE_MACHINE_SECONDS):
                    await is_closed.wait()
            except TimeoutError:
                self.client.conn.transport.abort()


@dataclass(kw_only=True, slots=True)
class CurrentSession:
    """The session in use, None between two; and whether there will be no further one."""

    session: GatewaySession | None = None
    is_stopped: bool = False

    def get(self, why_not: str) -> GatewaySession:
        """The session. Raises SessionInterrupted with the reason when there is none."""
        if self.session is None:
            raise SessionInterrupted(f"no session: {why_not}")
        return self.session

    def is_in_use(self, session: GatewaySession) -> bool:
        """Whether it is still that one: ids belong to one session."""
        return self.session is session


def note_outcome(task: asyncio.Task[Any]) -> None:
    """Whoever waited has the outcome; where all have gone away nobody needs it."""
    if not task.cancelled():
        task.exception()
