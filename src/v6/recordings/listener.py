"""Listens for clients of a recording, made or replayed, and serves each in a task of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Listener:
    """One port and the connections that came in on it."""

    def __init__(
        self,
        serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]],
        *,
        name: str,
        on_end: Callable[[asyncio.Task[None]], None] = lambda _task: None,
    ) -> None:
        """``name`` is that of each connection's task; ``on_end`` is told of each that has ended."""
        self._serve = serve
        self._name = name
        self._on_end = on_end
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen; the port. Raises OSError when it is taken."""
        self._server = await asyncio.start_server(self._accept, host, port)
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    async def stop(self) -> None:
        """End all connections."""
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer), name=self._name)
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        task.add_done_callback(self._on_end)
