"""One client's connection: handshake, dispatch by message id, and the tasks that answer it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from v6.clock import Clock
from v6.simulator.instruments import ContractQuery, Instrument, MarketSource
from v6.simulator.journal import Journal
from v6.simulator.limits import HistoryPacing, MarketDataLines, MessageRate
from v6.simulator.options import GatewayOptions, Range
from v6.simulator.wire import (
    Field,
    FieldError,
    FieldReader,
    WireError,
    encode_frame,
    field_text,
    read_frame,
    read_handshake,
    settle_version,
)

LOG = logging.getLogger(__name__)
HANDSHAKE_MACHINE_SECONDS = 30.0
CLOSE_MACHINE_SECONDS = 1.0
MAX_UNREAD_BYTES = 64 << 20
START_API = 71
NOT_FOUND = "No security definition has been found for the request"
FARMS = (
    (2104, "Market data farm connection is OK:usfarm"),
    (2106, "HMDS data farm connection is OK:ushmds"),
    (2158, "Sec-def data farm connection is OK:secdefil"),
)

Handler = Callable[["Session", FieldReader], None]
TaskKey = tuple[str, int]


class RequestRefused(Exception):
    """A request that ends with an error message to the client."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """What all sessions share."""

    market: MarketSource
    clock: Clock
    options: GatewayOptions
    journal: Journal
    lines: MarketDataLines
    history_pacing: HistoryPacing
    open_history: set[tuple[int, int]]  # client and request id
    sessions: dict[int, Session]  # by client id
    largest_seconds: dict[int, int]  # by client id: most messages that any sliding second brought
    handlers: Mapping[int, Handler]


class Session:
    """One connection. Handlers send answers through it and start tasks in it; it ends them when the client goes."""

    def __init__(self, gateway: Gateway, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.gateway = gateway
        self.market = gateway.market
        self.clock = gateway.clock
        self.options = gateway.options
        self.version = 0
        self.client_id = -1
        self.market_data_type = 1
        self._reader = reader
        self._writer = writer
        self._tasks: dict[TaskKey, asyncio.Task[None]] = {}  # the newest of each key
        self._running: set[asyncio.Task[None]] = set()
        jitter = min(0.5, gateway.options.message_jitter_machine_seconds * gateway.clock.speed)
        self._rate = MessageRate(limit=gateway.options.messages_per_second, window_seconds=1.0 - jitter)

    @property
    def now(self) -> datetime:
        """The clock's time."""
        return self.clock.now()

    async def run(self) -> None:
        """Serve the client until it goes or is sent away."""
        try:
            async with self.clock.timeout(HANDSHAKE_MACHINE_SECONDS * self.clock.speed):
                started = await self._shake_hands() and await self._start()
            while started:
                started = self._receive(await read_frame(self._reader))
        except (WireError, asyncio.IncompleteReadError, ConnectionError, TimeoutError) as error:
            LOG.debug("client %s is gone: %s", self.client_id, error)
        finally:
            await self._end()

    def send(self, *fields: Field) -> None:
        """Send a message that is not market data."""
        self._write([field_text(field) for field in fields])

    def send_data(self, kind: str, req_id: int, con_id: int, *fields: Field) -> None:
        """Send a message of data, after writing it to the journal: nobody has it before the journal's time."""
        texts = [field_text(field) for field in fields]
        self.gateway.journal.write(client=self.client_id, req_id=req_id, con_id=con_id, kind=kind, values=texts)
        self._write(texts)

    def error(self, req_id: int, code: int, text: str) -> None:
        """Send an error or a notice; request id -1 concerns the whole connection."""
        fields: list[Field] = [4, 2, req_id, code, text]
        if self.version >= 166:
            fields.append("")
        self.send_data("error", req_id, 0, *fields)

    def received(self, kind: str, req_id: int, con_id: int, *values: Field) -> None:
        """Write a request to the journal."""
        texts = [field_text(value) for value in values]
        self.gateway.journal.write(client=self.client_id, req_id=req_id, con_id=con_id, kind=kind, values=texts)

    def start(self, key: TaskKey, work: Coroutine[None, None, None]) -> None:
        """Answer a request in the background; its errors go to the client under the key's request id."""
        task = asyncio.create_task(self._guarded(key, work), name=f"client {self.client_id} {key[0]} {key[1]}")
        self._tasks[key] = task
        self._running.add(task)
        task.add_done_callback(lambda done: self._finished(key, done, work))

    def cancel(self, key: TaskKey) -> bool:
        """End a request's task; False when there is none."""
        task = self._tasks.pop(key, None)
        if task is None:
            return False
        task.cancel()
        return True

    def has(self, key: TaskKey) -> bool:
        """Whether a request is being answered."""
        return key in self._tasks

    def draw(self, req_id: int, salt: str = "") -> random.Random:
        """Random numbers for a request: the same for the same seed, client and request id."""
        return random.Random(f"{self.options.seed}|{self.client_id}|{req_id}|{salt}")

    async def delay(self, draw: random.Random, seconds: Range) -> None:
        """Wait for a drawn time."""
        await self.clock.sleep(draw.uniform(*seconds))

    def resolve(self, query: ContractQuery) -> Instrument:
        """The one contract that fits. Raises RequestRefused (200)."""
        found: Sequence[Instrument] = self.market.find(query, self.now)
        if not found:
            raise RequestRefused(200, NOT_FOUND)
        if len(found) > 1:
            raise RequestRefused(200, f"The contract description specified for {query.symbol} is ambiguous.")
        return found[0]

    def close(self) -> None:
        """End the connection after what was written has been sent."""
        self._writer.close()

    async def _shake_hands(self) -> bool:
        version = settle_version(*await read_handshake(self._reader))
        if version is None:
            return False
        self.version = version
        self.send(version, f"{self.now:%Y%m%d %H:%M:%S} UTC")
        return True

    async def _start(self) -> bool:
        fields = await read_frame(self._reader)
        while fields[0] != str(START_API):
            fields = await read_frame(self._reader)
        reader = FieldReader(fields[2:])
        try:
            client_id = reader.integer()
        except FieldError as error:
            raise WireError(str(error)) from error
        if client_id in self.gateway.sessions:
            self.error(-1, 326, "Unable to connect as the client id is already in use. Retry with a unique client id.")
            return False
        self.client_id = client_id
        self.gateway.sessions[client_id] = self
        self.send(15, 1, self.options.account)
        self.send(9, 1, 1)
        for code, text in FARMS:
            self.error(-1, code, text)
        return True

    def _receive(self, fields: list[str]) -> bool:
        """Handle one message; False ends the session."""
        is_admitted = self._rate.admit(self.clock.monotonic())
        largest = self.gateway.largest_seconds
        largest[self.client_id] = max(self._rate.largest, largest.get(self.client_id, 0))
        if not is_admitted:
            limit = self._rate.limit
            text = (
                f"Max rate of messages per second has been exceeded:max={limit} rec={limit + 1} ({self._rate.strikes})"
            )
            self.error(-1, 100, text)
            return self._rate.strikes < self.options.message_strikes
        try:
            handler = self.gateway.handlers.get(int(fields[0]))
        except ValueError:
            handler = None
        if handler is None:
            cause = f"message {fields[0][:20]} is not supported by the simulated gateway"
            self.error(-1, 321, f"Error validating request.-'sim' : cause - {cause}")
            return True
        self._handle(handler, fields)
        return True

    def _handle(self, handler: Handler, fields: list[str]) -> None:
        try:
            handler(self, FieldReader(fields[1:]))
        except FieldError as error:
            self.error(-1, 320, f"Error reading request. {error} (message {fields[0]})")
        except Exception:
            LOG.exception("message %s of client %s failed", fields[0], self.client_id)
            self.error(-1, 322, f"Error processing request.-'sim' : cause - internal error at message {fields[0]}")

    async def _guarded(self, key: TaskKey, work: Coroutine[None, None, None]) -> None:
        req_id = key[1]
        try:
            await work
        except RequestRefused as refusal:
            self.error(req_id, refusal.code, refusal.text)
        except Exception:
            LOG.exception("request %s of client %s failed", req_id, self.client_id)
            self.error(req_id, 322, "Error processing request.-'sim' : cause - internal error")

    def _finished(self, key: TaskKey, task: asyncio.Task[None], work: Coroutine[None, None, None]) -> None:
        work.close()  # a task that was cancelled before its first step never began it
        self._running.discard(task)
        if self._tasks.get(key) is task:
            del self._tasks[key]

    def _write(self, texts: Sequence[str]) -> None:
        transport = self._writer.transport
        if transport.is_closing():
            return
        if transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            LOG.warning("client %s does not read; its connection is cut", self.client_id)
            transport.abort()
            return
        self._writer.write(encode_frame(texts))

    async def _end(self) -> None:
        """End its tasks and the connection; the gateway's stop may cut this short, and the socket is closed all the
        same. A client that takes nothing any more is cut off."""
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            if self.gateway.sessions.get(self.client_id) is self:
                del self.gateway.sessions[self.client_id]
            self.close()
        try:
            async with asyncio.timeout(CLOSE_MACHINE_SECONDS):
                await self._writer.wait_closed()
        except (TimeoutError, OSError) as error:
            LOG.debug("client %s is cut off: %s", self.client_id, error)
            self._writer.transport.abort()
