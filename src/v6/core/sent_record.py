"""Which requests this worker has sent something for and not ended: written down before it goes out.

A small file of lines beside the worker's lock: ``+ID`` before a request's first message, ``-ID`` at the end of its run.
Whoever recovers for a worker that died reads it: only what had sent something can have killed it. A kill leaves the
file as it was; after a power cut it may be older, and then a crash is not counted.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def sent_path(folder: Path, worker_name: str) -> Path:
    """The file of a worker, beside its lock."""
    return folder / f"{worker_name}.sent"


def sent_by(folder: Path, worker_name: str) -> frozenset[str]:
    """The requests that a worker, now dead, was sending; none where nothing is known. Blocks."""
    try:
        lines = sent_path(folder, worker_name).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    sent: set[str] = set()
    for line in lines:
        (sent.add if line.startswith("+") else sent.discard)(line[1:])
    return frozenset(sent)


class SentRecord:
    """The file of one worker. Each note is one write of forty bytes into the page cache: some microseconds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._running: set[str] = set()
        self._sent: set[str] = set()
        self._file: int | None = None

    def open(self) -> None:
        """Begin anew: nothing is sent. Where the file cannot be made nothing is recorded, and no crash counted."""
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)

    def close(self) -> None:
        """Let go of the file; what it says stays."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def begin(self, request_id: str) -> None:
        """A run begins; it has sent nothing yet."""
        self._running.add(request_id)

    def note(self, request_id: str) -> None:
        """A message of a request goes out now."""
        if request_id in self._running and request_id not in self._sent:
            self._sent.add(request_id)
            self._write(f"+{request_id}\n")

    def end(self, request_id: str) -> None:
        """A run has ended, however it did."""
        self._running.discard(request_id)
        if request_id not in self._sent:
            return
        self._sent.remove(request_id)
        if self._sent:
            self._write(f"-{request_id}\n")
        elif self._file is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, 0)

    def _write(self, line: str) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk must not hold back a message: the crash is not counted
                os.write(self._file, line.encode())
