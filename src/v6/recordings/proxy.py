"""Stands between a client and a gateway, passes everything on as it is, and writes it down without personal data."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import struct

from v6.errors import GatewayUnavailable
from v6.recordings.listener import Listener
from v6.recordings.recording import CLIENT, GATEWAY, RecordingWriter
from v6.recordings.redaction import Redactor
from v6.simulator.wire import MAX_VERSION, WireError, read_handshake, send_away

LARGEST_FRAME_BYTES = 64 << 20
FLUSH_MACHINE_SECONDS = 0.25


class RecordingProxy:
    """Listens for clients; each gets a connection of its own to the gateway."""

    def __init__(self, gateway: tuple[str, int], writer: RecordingWriter, redactor: Redactor) -> None:
        self._gateway = gateway
        self._recording = writer
        self._redactor = redactor
        self._numbers = itertools.count(1)
        self._listener = Listener(self._serve, name="recorded connection", on_end=self._ended)
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self, host: str, port: int) -> int:
        """Listen; the port.

        Raises:
            GatewayUnavailable: nobody listens at the gateway's address.
            OSError: the own port is taken.
        """
        try:
            _, writer = await asyncio.open_connection(*self._gateway)
        except OSError as error:
            address = "{}:{}".format(*self._gateway)
            raise GatewayUnavailable(f"no gateway can be reached at {address}: start it, or name another") from error
        writer.close()
        return await self._listener.start(host, port)

    async def stop(self) -> None:
        """End all connections."""
        await self._listener.stop()
        self.failed.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not self.failed.done():
            self.failed.set_exception(error)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = next(self._numbers)
        with contextlib.closing(writer):
            try:
                from_gateway, to_gateway = await asyncio.open_connection(*self._gateway)
            except OSError:
                return  # the gateway is gone for the moment: the client sees a closed socket, as without the proxy
            with contextlib.closing(to_gateway):
                by = await self._relay(number, (reader, writer), (from_gateway, to_gateway))
            if by:
                self._recording.closed(number, by)
            if by == GATEWAY:
                with contextlib.suppress(OSError):
                    await send_away(reader, writer)

    async def _relay(
        self,
        number: int,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        gateway: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> str:
        """Pass messages on until one side closes; which one did. Empty when they never came to speak."""
        try:
            await self._shake_hands(number, client, gateway)
        except (WireError, asyncio.IncompleteReadError, ConnectionError):
            return ""
        sides = {
            asyncio.create_task(self._pass_on(number, CLIENT, client[0], gateway[1]), name="to gateway"): CLIENT,
            asyncio.create_task(self._pass_on(number, GATEWAY, gateway[0], client[1]), name="to client"): GATEWAY,
        }
        try:
            done, _ = await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            return sides[next(iter(done))]
        finally:
            for task in sides:
                task.cancel()
            await asyncio.gather(*sides, return_exceptions=True)

    async def _shake_hands(
        self,
        number: int,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        gateway: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """A client that offers later versions is held to the last one whose messages can be read here."""
        offer = await read_handshake(client[0])
        lowest, highest = offer.lowest, max(offer.lowest, min(offer.highest, MAX_VERSION))
        text = f"v{lowest}..{highest}{' +PACEAPI' if offer.asks_for_pace else ''}".encode()
        gateway[1].write(b"API\0" + struct.pack(">I", len(text)) + text)
        answer = await _read_raw(gateway[0])
        version, time_text, *_ = [*_texts(answer), "", ""]
        client[1].write(answer)
        self._recording.opened(number, int(version) if version.isdigit() else 0, time_text)

    async def _pass_on(
        self, number: int, sender: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, WireError):
            while True:
                raw = await _read_raw(reader)
                writer.write(raw)
                texts = _texts(raw)
                self._recording.frame(number, sender, self._redactor.redact(sender, texts), texts[0][:8])
                await writer.drain()


async def _read_raw(reader: asyncio.StreamReader) -> bytes:
    """The next frame with its length. Raises WireError when it is longer than any can be."""
    head = await reader.readexactly(4)
    (length,) = struct.unpack(">I", head)
    if length > LARGEST_FRAME_BYTES:
        raise WireError(f"a frame of {length} bytes")
    return head + await reader.readexactly(length)


def _texts(raw: bytes) -> list[str]:
    return raw[4:].removesuffix(b"\0").decode("utf-8", errors="backslashreplace").split("\0")
