"""A small TCP service beside the gateway, on 127.0.0.1: one JSON object a line in, one a line out.

``{"do": "restart", "seconds": 5}`` arms a fault; ``{"command": "status"}`` and ``{"command": "clear"}`` are the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

from v6.simulator.fault_values import FaultError
from v6.simulator.faults import make_fault
from v6.simulator.faults_in_force import FaultsInForce

HOST = "127.0.0.1"
MAX_LINE_BYTES = 1 << 16


class ControlPort:
    """Takes orders for faults."""

    def __init__(self, faults: FaultsInForce, status: Callable[[], dict[str, Any]]) -> None:
        self.port = 0
        self._faults = faults
        self._status = status
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, port: int) -> None:
        """Listen; 0 takes a free port. Raises OSError when the port is taken."""
        self._server = await asyncio.start_server(self._serve, HOST, port, limit=MAX_LINE_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything."""
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        await self._server.wait_closed()
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(ConnectionError, ValueError):  # it went away, or its line is too long
                while line := await reader.readline():
                    writer.write(json.dumps(self.answer(line)).encode() + b"\n")
                    await writer.drain()
        finally:
            self._writers.discard(writer)
            writer.close()

    def answer(self, line: bytes) -> dict[str, Any]:
        """Do what a line orders; ``ok`` tells whether it was done, else ``error`` tells why not."""
        try:
            order = json.loads(line)
        except ValueError as error:
            return {"ok": False, "error": f"this is not JSON: {error}"}
        if not isinstance(order, dict):
            return {"ok": False, "error": 'write an object: {"do": "restart", "seconds": 5}'}
        if "command" in order:
            return self._obey(order["command"])
        try:
            return {"ok": True, "fault": self._faults.arm(make_fault(order)).as_json()}
        except FaultError as error:
            return {"ok": False, "error": str(error)}

    def _obey(self, command: object) -> dict[str, Any]:
        if command == "status":
            return {"ok": True, **self._status()}
        if command == "clear":
            self._faults.clear()
            return {"ok": True}
        return {"ok": False, "error": f"{command!r} is no command: there are status and clear"}
