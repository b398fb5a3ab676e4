"""Frames and fields: a big-endian length, then NUL-terminated text fields in ASCII."""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from v6.simulator.instruments import ContractQuery, Instrument

MAX_FRAME_BYTES = 1 << 20
MAX_DROPPED_BYTES = 1 << 16
SEND_AWAY_MACHINE_SECONDS = 10.0  # so long a client that is sent away may go on sending
MIN_VERSION = 157
MAX_VERSION = 178
UNSET_DOUBLE = 1.7976931348623157e308
UNSET_INTEGER = 2147483647

Field = str | int | float | bool | date | None


class WireError(Exception):
    """What a client sent cannot be read; the connection is of no further use."""


class FieldError(Exception):
    """A message has too few fields, or one of the wrong form; the next message may be fine."""


def field_text(value: Field) -> str:
    """A field as on the wire: None is empty, booleans are 1 and 0, dates YYYYMMDD."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, date):
        return value.strftime("%Y%m%d")
    if isinstance(value, str):
        return value if value.isascii() and "\0" not in value else escape(value)
    return str(value)


def escape(text: str) -> str:
    r"""ASCII with other characters as \uXXXX; NUL would end a field and becomes a blank."""
    clean = text.replace("\0", " ")
    units = clean.encode("utf-16-be")
    codes = struct.unpack(f">{len(units) // 2}H", units)
    return "".join(chr(code) if code < 128 else f"\\u{code:04x}" for code in codes)


def encode_frame(texts: Iterable[str]) -> bytes:
    """One frame from fields that are ASCII text already."""
    body = "".join([text + "\0" for text in texts]).encode("ascii")
    return struct.pack(">I", len(body)) + body


async def read_frame(reader: asyncio.StreamReader) -> list[str]:
    """The fields of the next frame.

    Raises:
        WireError: the length is larger than a client may send, or the frame is not terminated.
        asyncio.IncompleteReadError: the client is gone.
    """
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    if length > MAX_FRAME_BYTES:
        raise WireError(f"a frame of {length} bytes is larger than {MAX_FRAME_BYTES}")
    body = await reader.readexactly(length)
    if not body.endswith(b"\0"):
        raise WireError("a frame's last field is not terminated")
    return body[:-1].decode("utf-8", errors="backslashreplace").split("\0")


async def send_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """End a client's connection in order: what was sent arrives. A socket that is closed over unread bytes resets the
    connection, and the client loses its last errors; so whatever it still sends is read and dropped.

    Raises:
        OSError: the client went otherwise, or goes on sending (TimeoutError).
    """
    writer.write_eof()
    async with asyncio.timeout(SEND_AWAY_MACHINE_SECONDS):
        while await reader.read(MAX_DROPPED_BYTES):
            continue


class Handshake(NamedTuple):
    """How a client begins: the versions it speaks, and whether it asks to be slowed down rather than refused."""

    lowest: int
    highest: int
    asks_for_pace: bool = False


async def read_handshake(reader: asyncio.StreamReader) -> Handshake:
    """What the client offers.

    Raises:
        WireError: this is not a client of the gateway.
        asyncio.IncompleteReadError: the client is gone.
    """
    if await reader.readexactly(4) != b"API\0":
        raise WireError("the connection does not begin with API")
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    if length > 1024:
        raise WireError(f"a version text of {length} bytes")
    text = (await reader.readexactly(length)).decode("ascii", errors="replace")
    lowest, _, highest = text.split(" ")[0].rstrip("\0").removeprefix("v").partition("..")
    try:
        return Handshake(int(lowest), int(highest or lowest), asks_for_pace="+PACEAPI" in text)
    except ValueError as error:
        raise WireError(f"the versions {text!r} cannot be read") from error


def settle_version(lowest: int, highest: int) -> int | None:
    """The version both sides speak, or None."""
    version = min(MAX_VERSION, highest)
    return version if version >= MIN_VERSION and lowest <= MAX_VERSION else None


class FieldReader:
    """Reads a message's fields in order. Raises FieldError where one is missing or malformed."""

    def __init__(self, fields: Iterable[str]) -> None:
        self._fields: Iterator[str] = iter(fields)

    def text(self) -> str:
        """The next field."""
        value = next(self._fields, None)
        if value is None:
            raise FieldError("the message ends too early")
        return value

    def integer(self) -> int:
        """The next field as an integer; empty or unset is 0."""
        text = self.text()
        try:
            value = int(text or 0)
        except ValueError as error:
            raise FieldError(f"{text[:40]!r} is not an integer") from error
        return 0 if value == UNSET_INTEGER else value

    def number(self) -> float:
        """The next field as a number; empty or unset is 0."""
        text = self.text()
        try:
            value = float(text or 0)
        except ValueError as error:
            raise FieldError(f"{text[:40]!r} is not a number") from error
        return 0.0 if value >= UNSET_DOUBLE or math.isnan(value) else value

    def flag(self) -> bool:
        """The next field as a truth value."""
        text = self.text().strip().lower()
        if text in ("1", "true"):
            return True
        if text in ("", "0", "false"):
            return False
        raise FieldError(f"{text[:40]!r} is not 0 or 1")

    def skip(self, count: int = 1) -> None:
        """Pass over fields."""
        for _ in range(count):
            self.text()

    def contract(self) -> ContractQuery:
        """Twelve fields that describe a contract."""
        con_id, symbol, sec_type, expiry = self.integer(), self.text(), self.text(), self.text()
        strike, right, multiplier, exchange = self.number(), self.text(), self.text(), self.text()
        return ContractQuery(
            con_id=con_id,
            symbol=symbol,
            sec_type=sec_type,
            expiry=expiry,
            strike=strike,
            right="" if right in ("?", "0") else right,
            multiplier=multiplier,
            exchange=exchange,
            primary_exchange=self.text(),
            currency=self.text(),
            local_symbol=self.text(),
            trading_class=self.text(),
        )


def contract_fields(instrument: Instrument) -> list[Field]:
    """The eleven fields that describe a contract in an answer."""
    return [
        instrument.con_id,
        instrument.symbol,
        instrument.sec_type,
        instrument.expiry,
        instrument.strike,
        instrument.right,
        instrument.multiplier,
        instrument.exchange,
        instrument.currency,
        instrument.local_symbol,
        instrument.trading_class,
    ]


def zoned_time(instant: datetime, zone: str) -> str:
    """An instant as ``YYYYMMDD HH:MM:SS Zone``."""
    return f"{instant.astimezone(ZoneInfo(zone)):%Y%m%d %H:%M:%S} {zone}"


def dashed_utc(instant: datetime) -> str:
    """An instant as ``YYYYMMDD-HH:MM:SS`` in UTC."""
    return f"{instant.astimezone(UTC):%Y%m%d-%H:%M:%S}"
