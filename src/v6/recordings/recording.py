"""A recorded session as a file: one JSON object a line, so that a person can look through it before handing it on.

The first line is the head. Then come, in the order in which they went by: ``opened`` (a client connected: the version
both sides settled on), frames (``from`` is client or gateway, ``fields`` the message's texts, the message id first) and
``closed``. ``at`` is clock seconds since the recording began; ``session`` numbers the connections. A frame that was
left out for what it says of a person has ``left_out`` with its message id instead of ``fields``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from v6.clock import parse_utc
from v6.errors import SettingsError
from v6.simulator.bar_requests import ZONES

FORMAT = "v6 gateway recording"
FORMAT_VERSION = 1
CLIENT, GATEWAY = "client", "gateway"
CURRENT_TIME = "49"


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One message; ``fields`` is empty where it was left out."""

    at: float
    session: int
    sender: str
    fields: tuple[str, ...]

    @property
    def number(self) -> int:
        """The message's id; 0 when it has none."""
        text = self.fields[0] if self.fields else ""
        return int(text) if text.isdigit() else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """All that was recorded. ``began_at`` is the gateway's time when the recording began, UTC."""

    began_at: datetime
    version: int
    frames: Sequence[Frame]

    def sessions(self) -> list[list[Frame]]:
        """The frames of each connection, in order."""
        found: dict[int, list[Frame]] = {}
        for frame in self.frames:
            found.setdefault(frame.session, []).append(frame)
        return list(found.values())


class RecordingWriter:
    """Appends what goes by. Raises SettingsError when the file cannot be written."""

    def __init__(self, path: Path, *, began_at: datetime, elapsed: Callable[[], float]) -> None:
        """``elapsed`` tells the clock seconds since ``began_at``. An existing file is not overwritten."""
        self.path = path
        self.frames = 0
        self.left_out = 0
        self._began_at = began_at
        self._elapsed = elapsed
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("x", encoding="ascii", buffering=1 << 16)
        except FileExistsError as error:
            raise SettingsError(f"{self.path} exists: move it away, or name another file with --to") from error
        except OSError as error:
            raise self._refused(error) from error
        self._put({"format": FORMAT, "version": FORMAT_VERSION, "began_at": self._began_at.isoformat()})
        self.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        if error is not None and not self.frames:  # it never came to anything
            self.path.unlink(missing_ok=True)

    def opened(self, session: int, version: int, time_text: str) -> None:
        """A client connected and both sides settled on a version."""
        self._put({"at": self._at(), "session": session, "opened": version, "time": time_text})

    def closed(self, session: int, by: str) -> None:
        """A connection ended."""
        self._put({"at": self._at(), "session": session, "closed": by})

    def frame(self, session: int, sender: str, fields: Sequence[str] | None, number: str) -> None:
        """A message went by; None where it is left out."""
        what: dict[str, Any] = {"left_out": number} if fields is None else {"fields": list(fields)}
        self.frames += fields is not None
        self.left_out += fields is None
        self._put({"at": self._at(), "session": session, "from": sender, **what})

    def flush(self) -> None:
        """Hand what was written to the operating system."""
        if self._file is not None:
            try:
                self._file.flush()
            except OSError as error:
                raise self._refused(error) from error

    def _at(self) -> float:
        return round(self._elapsed(), 4)

    def _put(self, line: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> SettingsError:
        return SettingsError(f"the recording {self.path} cannot be written ({error.strerror}): see disk and folder")


def read_recording(path: Path) -> Recording:
    """Read a file. A last line that was cut short (the recorder was killed) is passed over.

    Raises:
        SettingsError: there is no such file, or a line of it is no part of a recording; it names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingsError(
            f"the recording {path} cannot be read ({reason}): name a file of `v6 gateway record`"
        ) from None
    whole = [_line(path, number, text) for number, text in enumerate(lines[:-1], start=1)]
    head = whole[0] if whole else {}
    if head.get("format") != FORMAT or head.get("version") != FORMAT_VERSION:
        raise SettingsError(f"{path} is no recording of this version of v6: make one with `v6 gateway record`")
    try:
        began_at = _gateway_time(whole) or parse_utc(head["began_at"])
        versions = {int(line["opened"]) for line in whole if "opened" in line}
        frames = [_frame(line) for line in whole if "from" in line]
    except (KeyError, ValueError, TypeError) as error:
        raise SettingsError(f"{path} is damaged ({error!r}): make a new one with `v6 gateway record`") from error
    if not versions:
        raise SettingsError(f"no client connected while {path} was recorded: there is nothing to replay")
    return Recording(began_at=began_at, version=min(versions), frames=frames)


def _gateway_time(lines: Sequence[Mapping[str, Any]]) -> datetime | None:
    """What time it was at the gateway when the recording began, UTC: by the handshake, or where it was asked for."""
    for line in lines:
        seconds = _told(line)
        if seconds is not None:
            return datetime.fromtimestamp(seconds - float(line["at"]), UTC)
    return None


def _told(line: Mapping[str, Any]) -> float | None:
    """Epoch seconds that a line tells. A handshake may name a zone that nobody knows."""
    if "opened" in line:
        day, _, rest = str(line.get("time", "")).partition(" ")
        time_text, _, zone = rest.partition(" ")
        try:
            local = datetime.strptime(f"{day} {time_text}", "%Y%m%d %H:%M:%S")  # noqa: DTZ007 - the zone comes next
            return local.replace(tzinfo=ZoneInfo(ZONES.get(zone, zone))).timestamp()
        except (ValueError, ZoneInfoNotFoundError, OSError):
            return None
    fields = line.get("fields") or [""]
    return float(fields[2]) if line.get("from") == GATEWAY and fields[0] == CURRENT_TIME and len(fields) > 2 else None


def _line(path: Path, number: int, text: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"{path}:{number}: this is no line of a recording: {error}") from error
    if not isinstance(line, dict):
        raise SettingsError(f"{path}:{number}: this is no line of a recording: it is no object")
    return line


def _frame(line: Mapping[str, Any]) -> Frame:
    fields = tuple(str(text) for text in line.get("fields", ()))
    return Frame(at=float(line["at"]), session=int(line["session"]), sender=line["from"], fields=fields)
