"""A client of a few lines that speaks the protocol itself, and sees what the libraries hide."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

SECONDS = 60.0  # until a test that waits for ever fails
OPTION = ("101", "SPY", "OPT", "20261218", "250.0", "C", "100", "SMART", "", "USD", "", "SPY")
SPY = ("1", "SPY", "STK", "", "0.0", "", "", "SMART", "", "USD", "", "")
QQQ = ("2", "QQQ", *SPY[2:])


def frame(*fields: object) -> bytes:
    """A message as bytes."""
    body = b"".join(str(field).encode() + b"\0" for field in fields)
    return struct.pack(">I", len(body)) + body


class RawClient:
    """One connection. Machine seconds everywhere."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer
        self._length: int | None = None
        self.heard: list[list[str]] = []

    async def shake_hands(self, client_id: int, options: bytes = b"") -> None:
        version = b"v157..178" + options
        self._writer.write(b"API\0" + struct.pack(">I", len(version)) + version)
        await self.read()
        self.send(71, 2, client_id, "")
        await self.until(lambda fields: fields[0] == "4" and fields[3] == "2158")

    def send(self, *fields: object) -> None:
        self._writer.write(frame(*fields))

    def quote(self, req_id: int, contract: tuple[str, ...] = OPTION) -> None:
        self.send(1, 11, req_id, *contract, 0, "100,101,106", 0, 0, "")

    def bars(self, req_id: int, contract: tuple[str, ...] = SPY) -> None:
        self.send(20, req_id, *contract, 0, "", "1 day", "5 D", 1, "TRADES", 2, 0, "")

    def details(self, req_id: int, contract: tuple[str, ...] = SPY) -> None:
        self.send(9, 8, req_id, *contract, 0, "", "", "")

    async def read(self, seconds: float = SECONDS) -> list[str]:
        async with asyncio.timeout(seconds):
            if self._length is None:  # else the length was read before a wait that was given up
                self._length = struct.unpack(">I", await self.reader.readexactly(4))[0]
            body = await self.reader.readexactly(self._length)
        self._length = None
        self.heard.append(body[:-1].decode().split("\0"))
        return self.heard[-1]

    async def until(self, fits: Callable[[list[str]], bool], seconds: float = SECONDS) -> list[list[str]]:
        """Every message up to the first that fits."""
        found: list[list[str]] = []
        async with asyncio.timeout(seconds):
            while not found or not fits(found[-1]):
                found.append(await self.read(seconds))
        return found

    async def until_message(self, number: int) -> list[list[str]]:
        return await self.until(lambda fields: fields[0] == str(number))

    async def error(self, code: int) -> list[str]:
        """The first error of this code."""
        return (await self.until(lambda fields: fields[0] == "4" and fields[3] == str(code)))[-1]

    async def is_alive(self) -> bool:
        """Whether a question for the time is answered."""
        self.send(49, 1)
        try:
            await self.until_message(49)
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            return False
        return True

    async def quiet(self, seconds: float) -> list[list[str]]:
        """What comes within a while."""
        count = len(self.heard)
        with suppress(TimeoutError):
            await self.until(lambda _: False, seconds)
        return self.heard[count:]

    async def rest(self) -> bytes:
        """All bytes up to the end of the connection."""
        async with asyncio.timeout(SECONDS):
            return await self.reader.read()

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def raw(port: int, client_id: int = 7, options: bytes = b"") -> AsyncIterator[RawClient]:
    """A client that has shaken hands."""
    async with bare(port) as client:
        await client.shake_hands(client_id, options)
        yield client


@asynccontextmanager
async def bare(port: int) -> AsyncIterator[RawClient]:
    """A client that has said nothing yet."""
    client = RawClient(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield client
    finally:
        client.close()
