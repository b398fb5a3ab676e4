"""Serves a recording as a gateway would: to any client, whatever request ids it uses and in whatever order it asks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from typing import Any

from v6.clock import Clock
from v6.errors import SettingsError
from v6.recordings.exchanges import (
    MARKET_DATA_TYPE,
    START,
    TIME,
    Answers,
    Exchange,
    RecordedSession,
    answer_id_position,
    sessions_of,
)
from v6.recordings.listener import Listener
from v6.recordings.questions import MARKET_DATA, is_request, request_id
from v6.recordings.recording import Recording
from v6.simulator.messages import CANCELS
from v6.simulator.wire import (
    MIN_VERSION,
    FieldError,
    FieldReader,
    WireError,
    encode_frame,
    escape,
    read_frame,
    read_handshake,
)

HANDSHAKE_MACHINE_SECONDS = 30.0
AT_ONCE_SECONDS = 1.0  # what the gateway sends so soon after the start belongs to it
SNAPSHOT_END = 57
# What ends an answer without an id that was not recorded: a client that starts waits for it.
EMPTY_ANSWERS = {61: ("62", "1"), 5: ("53", "1"), 16: ("53", "1"), 99: ("102",)}
EMPTY_ANSWERS_BY_ID = {7: ("55", "1"), 76: ("74", "1"), 74: ("72", "1"), 62: ("64", "1")}
OF_A_CONTRACT = frozenset({1, 9, 20, 50, 78, 87})
NOT_RECORDED = "The recording has no such request"


class Replay:
    """A gateway that knows what a recording knows, and answers with error 200 or 322 to everything else."""

    def __init__(self, recording: Recording, *, clock: Clock, at_once: bool = False) -> None:
        """``at_once``: answers come without the recorded delays. Raises SettingsError when no client had started."""
        self.recording = recording
        self.clock = clock
        self.at_once = at_once
        self.sessions = sessions_of(recording)
        if not self.sessions:
            raise SettingsError("no client got through the start of a session in this recording: record another")
        self.asked = 0
        self.not_recorded = 0
        self._listener = Listener(self._serve, name="replay session")
        self._started = 0

    async def start(self, host: str, port: int) -> int:
        """Listen; the port. Raises OSError when it is taken."""
        return await self._listener.start(host, port)

    async def stop(self) -> None:
        """End all sessions."""
        await self._listener.stop()

    def next_session(self) -> RecordedSession:
        """The recorded connection whose notices the next client gets: the first client the first one's, and so on."""
        session = self.sessions[min(self._started, len(self.sessions) - 1)]
        self._started += 1
        return session

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ReplaySession(self, reader, writer).run()


class ReplaySession:
    """One client. Its questions find their answers from the recording's beginning, whatever others asked."""

    def __init__(self, replay: Replay, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._replay = replay
        self._reader = reader
        self._writer = writer
        self._answers = Answers(replay.sessions)
        self._data_type = 1
        self._running: dict[int, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve the client until it goes."""
        clock = self._replay.clock
        try:
            async with clock.timeout(HANDSHAKE_MACHINE_SECONDS * clock.speed):
                if not await self._shake_hands():
                    return
            while True:
                self._receive(await read_frame(self._reader))
        except (WireError, asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            return
        finally:
            for task in self._tasks:
                task.cancel()
            self._writer.close()

    async def _shake_hands(self) -> bool:
        """Settle on the recording's version, whose layout its messages have; False where that cannot be."""
        offer = await read_handshake(self._reader)
        version = self._replay.recording.version
        if not max(offer.lowest, MIN_VERSION) <= version <= offer.highest:
            return False
        self._send([str(version), f"{self._replay.clock.now():%Y%m%d %H:%M:%S} UTC"])
        while (await read_frame(self._reader))[0] != str(START):
            continue
        for at, fields in self._replay.next_session().notices:
            if at <= AT_ONCE_SECONDS:
                self._send(fields)
            else:
                self._begin(self._later(at, fields))
        return True

    def _receive(self, fields: list[str]) -> None:
        number = int(fields[0]) if fields[0].isdigit() else 0
        identity = request_id(fields) if number else None
        if number == MARKET_DATA_TYPE:
            self._note_data_type(fields)
        elif number == TIME:
            self._send(["49", "1", str(int(self._replay.clock.now().timestamp()))])
        elif number in CANCELS:
            self._cancel(number, identity)
        elif is_request(number):
            self._answer(number, identity, fields)

    def _note_data_type(self, fields: Sequence[str]) -> None:
        with contextlib.suppress(FieldError):
            self._data_type = FieldReader(fields[2:]).integer()

    def _cancel(self, number: int, identity: int | None) -> None:
        task = None if identity is None else self._running.pop(identity, None)
        if task is None or task.done():
            return
        task.cancel()
        if number == 25:
            text = f"Historical Market Data Service error message:API historical data query cancelled: {identity}"
            self._send(["4", "2", str(identity), "162", text, ""])

    def _answer(self, number: int, identity: int | None, fields: Sequence[str]) -> None:
        self._replay.asked += 1
        exchange = self._answers.to(fields, self._data_type)
        if exchange is None:
            self._refuse(number, identity, fields)
            return
        task = self._begin(self._serve(exchange, identity, is_snapshot=_is_snapshot(fields)))
        if identity is not None:
            self._running[identity] = task

    def _refuse(self, number: int, identity: int | None, fields: Sequence[str]) -> None:
        self._replay.not_recorded += 1
        if identity is None:
            self._send(EMPTY_ANSWERS.get(number, ()))
        elif number in EMPTY_ANSWERS_BY_ID:
            self._send([*EMPTY_ANSWERS_BY_ID[number], str(identity)])
        else:
            code = "200" if number in OF_A_CONTRACT else "322"
            self._send(["4", "2", str(identity), code, escape(f"{NOT_RECORDED}: {' '.join(fields)[:200]}"), ""])

    async def _serve(self, exchange: Exchange, identity: int | None, *, is_snapshot: bool) -> None:
        began, clock = self._replay.clock.monotonic(), self._replay.clock
        was_snapshot = _is_snapshot(exchange.fields)
        for after, fields in exchange.answers:
            wait = 0.0 if self._replay.at_once else after - (clock.monotonic() - began)
            if wait > 0:
                await clock.sleep(wait)
            if is_snapshot or fields[0] != str(SNAPSHOT_END):
                self._send(_under(fields, identity))
        if is_snapshot and not was_snapshot and exchange.number == MARKET_DATA:
            self._send([str(SNAPSHOT_END), "1", str(identity)])

    async def _later(self, after: float, fields: Sequence[str]) -> None:
        await self._replay.clock.sleep(after)
        self._send(fields)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name="replayed answer")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _send(self, fields: Sequence[str]) -> None:
        if fields and not self._writer.transport.is_closing():
            self._writer.write(encode_frame(fields))


def _is_snapshot(fields: Sequence[str]) -> bool:
    """Whether a request for market data wants one answer that ends."""
    if fields[0] != str(MARKET_DATA):
        return False
    reader = FieldReader(fields[15:])
    try:
        if reader.flag():
            reader.skip(3)
        reader.skip()
        return reader.flag()
    except FieldError:
        return False


def _under(fields: Sequence[str], identity: int | None) -> list[str]:
    """An answer under the id that this client gave the request."""
    position = answer_id_position(fields)
    if identity is None or position is None:
        return list(fields)
    return [*fields[:position], str(identity), *fields[position + 1 :]]
