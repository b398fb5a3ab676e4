"""One client's connection: handshake, dispatch by message id, and the tasks that answer it."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import struct
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from v6.clock import Clock
from v6.simulator.answer_faults import Message
from v6.simulator.delayed_messages import DelayedMessages
from v6.simulator.faults_in_force import FaultsInForce
from v6.simulator.instruments import ContractQuery, Instrument, MarketSource
from v6.simulator.journal import Journal
from v6.simulator.limits import HistoryPacing, MarketDataLines, MessageRate, Traffic
from v6.simulator.messages import MARKET_DATA, RequestSeen, cancelled_request
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
    send_away,
    settle_version,
)

LOG = logging.getLogger(__name__)
HANDSHAKE_MACHINE_SECONDS = 30.0
CLOSE_MACHINE_SECONDS = 1.0
MAX_UNREAD_BYTES = 64 << 20
START_API = 71
QUOTE, REAL_TIME_BARS = "market data", "real-time bars"  # the keys of tasks that stream
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
    faults: FaultsInForce
    traffic: Traffic


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
        self._delayed = DelayedMessages(gateway.clock, self._put)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._held_bytes: list[bytes] | None = None  # what a stalled session sends when it goes on
        self._is_sent_away = False
        self._asks_for_pace = False
        self._rate = MessageRate(limit=gateway.options.messages_per_second)

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
                started = await self._receive(await read_frame(self._reader))
            await self._send_away()
        except (WireError, asyncio.IncompleteReadError, OSError) as error:  # also one that resets while it is sent away
            LOG.debug("client %s is gone: %s", self.client_id, error)
        finally:
            await self._end()

    def send(self, *fields: Field) -> None:
        """Send a message that is not market data."""
        self._deliver(Message(texts=[field_text(field) for field in fields]))

    def send_data(self, kind: str, req_id: int, con_id: int, *fields: Field) -> None:
        """Send a message of data, after writing it to the journal: nobody has it before the journal's time."""
        texts = [field_text(field) for field in fields]
        self._deliver(Message(texts=texts, kind=kind, req_id=req_id, con_id=con_id))

    def error(self, req_id: int, code: int, text: str) -> None:
        """Send an error or a notice; request id -1 concerns the whole connection."""
        fields: list[Field] = [4, 2, req_id, code, text]
        if self.version >= 166:
            fields.append("")
        self.gateway.traffic.errors[code] += 1
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

    # --- what faults do to a connection ---

    def open_quotes(self) -> list[int]:
        """The request ids of quotes that stream."""
        return [req_id for kind, req_id in self._tasks if kind == QUOTE]

    def is_subscription(self, request: RequestSeen) -> bool:
        """Whether a request's answer goes on until it is cancelled."""
        return request.kind == MARKET_DATA

    def drop_subscriptions(self) -> None:
        """Forget the subscriptions, without a word to the client."""
        for key in list(self._tasks):
            if key[0] in (QUOTE, REAL_TIME_BARS):
                self.cancel(key)

    def forget_client(self) -> None:
        """End its work and free its client id; the socket stays open."""
        for key in list(self._tasks):
            self.cancel(key)
        if self.gateway.sessions.get(self.client_id) is self:
            del self.gateway.sessions[self.client_id]

    def stall(self, seconds: float | None, rest: bytes = b"") -> None:
        """Stop reading and sending. After so many clock seconds go on with what is held back; None never does."""
        self._flowing.clear()
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can read
        if seconds is None:
            self._held_bytes = None
            return
        self._held_bytes = [rest]
        self.start(("stall", 0), self._go_on_after(seconds))

    async def _go_on_after(self, seconds: float) -> None:
        await self.clock.sleep(seconds)
        held, self._held_bytes = self._held_bytes or [], None
        self._flowing.set()
        self._write(b"".join(held))
        if not self._writer.transport.is_closing():
            self._writer.transport.resume_reading()  # type: ignore[attr-defined]

    def write_raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._write(data)

    def reset(self) -> None:
        """End the connection at once, with a reset rather than in order."""
        raw = self._writer.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def _send_away(self) -> None:
        """Tell it nothing more, and end the connection in order."""
        self.forget_client()
        self._delayed.close()
        self._is_sent_away = True
        await send_away(self._reader, self._writer)

    async def _shake_hands(self) -> bool:
        if self.gateway.faults.is_muted():
            self.stall(None)
            await self._flowing.wait()
        offer = await read_handshake(self._reader)
        version = settle_version(offer.lowest, offer.highest)
        if version is None:
            return False
        self._asks_for_pace = offer.asks_for_pace
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
        if client_id in self.gateway.sessions or self.gateway.faults.has_taken(client_id):
            self.error(-1, 326, "Unable to connect as the client id is already in use. Retry with a unique client id.")
            return False
        self.client_id = client_id
        self.gateway.sessions[client_id] = self
        self.send(15, 1, self.options.account)
        self.send(9, 1, 1)
        for code, text in FARMS:
            self.error(-1, code, text)
        return True

    async def _receive(self, fields: list[str]) -> bool:
        """Handle one message; False ends the session."""
        await self._flowing.wait()
        if not await self._admit():
            limit = self._rate.limit
            text = (
                f"Max rate of messages per second has been exceeded:max={limit} rec={limit + 1} ({self._rate.strikes})"
            )
            self.error(-1, 100, text)
            return self._rate.strikes < self.options.message_strikes
        if (cancelled := cancelled_request(fields)) is not None:
            self._delayed.forget(cancelled[1])
        if not self.gateway.faults.receive(self, fields):
            return True
        self._dispatch(fields)
        return True

    async def _admit(self) -> bool:
        """Whether a message is within the limit; in queue mode it waits until it is."""
        changed = self.gateway.faults.message_limit()
        self._rate.limit = changed.values["limit"] if changed else self.options.messages_per_second
        mode = changed.values["mode"] if changed else self.options.over_limit
        if mode == "queue" or self._asks_for_pace:
            while (seconds := self._rate.seconds_until_free(self.clock.monotonic())) > 0:
                await self.clock.sleep(seconds)
        admitted = self._rate.admit(self.clock.monotonic())
        self.gateway.traffic.messages += 1
        largest = self.gateway.largest_seconds
        largest[self.client_id] = max(self._rate.largest, largest.get(self.client_id, 0))
        return admitted

    def _dispatch(self, fields: list[str]) -> None:
        try:
            handler = self.gateway.handlers.get(int(fields[0]))
        except ValueError:
            handler = None
        if handler is None:
            cause = f"message {fields[0][:20]} is not supported by the simulated gateway"
            self.error(-1, 321, f"Error validating request.-'sim' : cause - {cause}")
            return
        self._handle(handler, fields)

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

    def _deliver(self, message: Message) -> None:
        for delay, delivered in self.gateway.faults.deliver(self, message):
            if delay > 0:
                self._delayed.put(delay, delivered)
            else:
                self._put(delivered)

    def _put(self, message: Message) -> None:
        """Send a message as it is. The journal has what goes out, and nothing else."""
        if message.kind and self._reaches_client():
            self.gateway.journal.write(
                client=self.client_id,
                req_id=message.req_id,
                con_id=message.con_id,
                kind=message.kind,
                values=message.texts,
            )
        self._write(encode_frame(message.texts))

    def _reaches_client(self) -> bool:
        if not self._flowing.is_set():
            return self._held_bytes is not None
        return not self._is_ending()

    def _is_ending(self) -> bool:
        """Whether nothing more can be sent."""
        return self._is_sent_away or self._writer.transport.is_closing()

    def _write(self, data: bytes) -> None:
        transport = self._writer.transport
        if not self._flowing.is_set():
            if self._held_bytes is not None:
                self._held_bytes.append(data)
            return
        if self._is_ending():
            return
        if transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            LOG.warning("client %s does not read; its connection is cut", self.client_id)
            transport.abort()
            return
        self._writer.write(data)

    async def _end(self) -> None:
        """End its tasks and the connection; the gateway's stop may cut this short, and the socket is closed all the
        same. A client that takes nothing any more is cut off."""
        self._delayed.close()
        self._flowing.set()
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
