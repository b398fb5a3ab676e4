"""What the gateway was asked and what data it sent: one JSON object a line, for those who check what arrived."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from v6.clock import Clock


class Journal:
    """Appends lines to a file; without a path it does nothing. Lines reach the disk at ``flush``.

    ``failure`` is what ended it when a line could not be written: nothing is kept after it.
    """

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self._clock = clock
        self._path = path
        self._file: TextIO | None = None
        self.failure: OSError | None = None

    def __enter__(self) -> Self:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a", encoding="ascii", buffering=1 << 16)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def is_open(self) -> bool:
        """Whether lines are kept."""
        return self._file is not None

    def write(self, *, client: int, req_id: int, con_id: int, kind: str, values: Sequence[str]) -> None:
        """One request received or one message sent, with its fields as on the wire."""
        if self._file is None:
            return
        line = {
            "time": self._clock.now().isoformat(),
            "client": client,
            "req_id": req_id,
            "con_id": con_id,
            "kind": kind,
            "values": list(values),
        }
        try:
            self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
        except OSError as error:
            self._fail(error)

    def flush(self) -> None:
        """Hand what was written to the operating system."""
        if self._file is None:
            return
        try:
            self._file.flush()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.failure = error
        file, self._file = self._file, None
        with contextlib.suppress(OSError):  # it tries once more to write what it holds
            if file is not None:
                file.close()
