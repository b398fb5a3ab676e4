"""What was asked under IB's long windows, written down before it is sent, so that a restart goes on counting.

A small file of JSON lines beside the lake. A line is in the file (and on the disk) before its request goes out, so a
worker that is killed at any instant finds at least what was sent. Without a readable record the windows count as full.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

from v6.errors import LakeError


@dataclass(frozen=True, kw_only=True, slots=True)
class PacedRequest:
    """One request under a long window. ``at`` is clock time, UTC; ``is_sent`` is False until its answer proves it."""

    number: int
    at: datetime
    weight: int
    series: str
    identity: str
    is_sent: bool = False

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Read a line of the file. Raises ValueError."""
        values: dict[str, Any] = json.loads(line)
        try:
            at = datetime.fromisoformat(values.pop("at"))
            if at.tzinfo is None:
                raise ValueError(f"{at} has no time zone")
            return cls(at=at, **values)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no record of a request: {line!r}") from error

    def line(self) -> str:
        """The request as a line."""
        return json.dumps({**asdict(self), "at": self.at.isoformat()}, separators=(",", ":")) + "\n"


class PacingRecord:
    """The file. Its methods block for a millisecond or a few: call them off the event loop."""

    def __init__(self, path: Path, *, is_new_lake: bool = False) -> None:
        """``is_new_lake``: nobody has collected into this lake, so a missing file means that nothing was asked."""
        self.path = path
        self._is_new_lake = is_new_lake

    def load(self, now: datetime, window: timedelta) -> Sequence[PacedRequest] | None:
        """What still counts at ``now``, or None when that is not known. A request that may have been sent counts as
        sent now, and so does one of the future: then the clock was set back."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return [] if self._is_new_lake else None
        except (OSError, UnicodeDecodeError):
            return None
        try:
            newest = {one.number: one for one in map(PacedRequest.from_line, _whole_lines(text))}
        except ValueError:
            return None
        return [one for one in newest.values() if one.weight and (not one.is_sent or now - one.at < window)]

    def rewrite(self, requests: Iterable[PacedRequest]) -> None:
        """Begin a new file with what still counts. Raises LakeError."""
        fresh = self.path.with_suffix(".new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with fresh.open("w", encoding="utf-8") as file:
                file.writelines(one.line() for one in requests)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
        except OSError as error:
            raise self._refused(error) from error

    def append(self, request: PacedRequest) -> None:
        """Write one down; it is on the disk when this returns. Raises LakeError."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(request.line())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> LakeError:
        return LakeError(f"the pacing record {self.path} cannot be written ({error.strerror}): see disk and folder")


def _whole_lines(text: str) -> list[str]:
    """The lines that were written to their end: a worker may have died in the middle of the last one."""
    return text.split("\n")[:-1]
