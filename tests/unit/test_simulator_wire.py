"""Frames, fields and the texts inside them."""

import asyncio
import struct
from datetime import UTC, date, datetime

import pytest

from v6.simulator.wire import (
    MAX_FRAME_BYTES,
    FieldError,
    FieldReader,
    WireError,
    encode_frame,
    field_text,
    read_frame,
    read_handshake,
    settle_version,
    zoned_time,
)


def _reader(data: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


async def test_a_frame_comes_back_as_its_fields() -> None:
    assert await read_frame(_reader(encode_frame(["9", "", "SPY"]))) == ["9", "", "SPY"]


async def test_a_frame_in_two_halves_is_read_whole() -> None:
    frame = encode_frame(["49", "1"])
    reader = asyncio.StreamReader()
    task = asyncio.create_task(read_frame(reader))
    reader.feed_data(frame[:5])
    await asyncio.sleep(0)
    reader.feed_data(frame[5:])
    assert await task == ["49", "1"]


async def test_an_oversized_length_is_refused_before_its_body_is_read() -> None:
    with pytest.raises(WireError):
        await read_frame(_reader(struct.pack(">I", MAX_FRAME_BYTES + 1)))


@pytest.mark.parametrize("body", [b"", b"9", b"9\0001"])
async def test_a_frame_without_its_last_nul_is_refused(body: bytes) -> None:
    with pytest.raises(WireError):
        await read_frame(_reader(struct.pack(">I", len(body)) + body))


@pytest.mark.parametrize(
    ("text", "versions"),
    [(b"v157..178", (157, 178)), (b"v100..222 +PACEAPI", (100, 222)), (b"v157", (157, 157))],
)
async def test_the_handshake_names_the_clients_versions(text: bytes, versions: tuple[int, int]) -> None:
    assert (await read_handshake(_reader(b"API\0" + struct.pack(">I", len(text)) + text)))[:2] == versions


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", b"API\0" + struct.pack(">I", 5) + b"vx..y"])
async def test_who_does_not_speak_the_protocol_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        await read_handshake(_reader(data))


@pytest.mark.parametrize(
    ("offered", "settled"),
    [((157, 178), 178), ((100, 222), 178), ((100, 160), 160), ((100, 156), None), ((201, 222), None)],
)
def test_the_version_is_the_highest_both_speak(offered: tuple[int, int], settled: int | None) -> None:
    assert settle_version(*offered) == settled


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "1"),
        (False, "0"),
        (0.1, "0.1"),
        (250.0, "250.0"),
        (date(2026, 12, 18), "20261218"),
        ("Zürich", "Z\\u00fcrich"),
        ("😀", "\\ud83d\\ude00"),
        ("a\0b", "a b"),
    ],
)
def test_a_field_is_ascii_text(value: str | float | bool | date | None, text: str) -> None:
    assert field_text(value) == text


def test_unset_and_empty_numbers_are_zero() -> None:
    reader = FieldReader(["", "2147483647", "1.7976931348623157E308", "nan", "12"])
    assert [reader.integer(), reader.integer(), reader.number(), reader.number(), reader.integer()] == [0, 0, 0, 0, 12]


def test_a_missing_or_malformed_field_is_named() -> None:
    with pytest.raises(FieldError, match="integer"):
        FieldReader(["x"]).integer()
    with pytest.raises(FieldError, match="too early"):
        FieldReader([]).text()
    with pytest.raises(FieldError, match="0 or 1"):
        FieldReader(["maybe"]).flag()


def test_times_are_in_the_contracts_zone() -> None:
    assert zoned_time(datetime(2026, 11, 23, 17, 30, tzinfo=UTC), "US/Eastern") == "20261123 12:30:00 US/Eastern"
