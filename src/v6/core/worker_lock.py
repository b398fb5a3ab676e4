"""The operating system's lock on a worker's name: whoever holds it knows every predecessor of that name dead.

The file names the process that holds it, or held it last, and the boot of its machine: a lock of this very boot that is
free proves its holder dead; one of another machine proves nothing.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from enum import Enum, auto
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

from v6.clock import Clock
from v6.data.lake import Lake
from v6.data.refusal import raise_refusal
from v6.errors import LakeError, SettingsError, WorkerBusy

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
TRIES = 5  # somebody who asks whether the holder lives has the lock for an instant
TRY_SECONDS = 0.02


def lock_folder(lake: Lake) -> Path:
    """Where the locks of a lake's workers lie: in the lake, or, for an object store, in this machine's temp folder."""
    return Path(lake.url) / ".locks" if lake.is_local else Path(tempfile.gettempdir()) / "v6-locks"


class Holder(Enum):
    """What a lock tells of the worker that took it last."""

    ALIVE = auto()
    DEAD = auto()
    UNKNOWN = auto()


@cache
def boot_id() -> str:
    """This boot of this machine; empty where the system does not say."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def holder_of(folder: Path, worker_name: str) -> Holder:
    """Whether the worker of a name is alive, as far as its lock tells. Blocks."""
    try:
        file = os.open(folder / f"{worker_name}.lock", os.O_RDWR)
    except OSError:
        return Holder.UNKNOWN
    try:
        boot = os.pread(file, 256, 0).decode(errors="replace").split("\n")[1:2]
        if not boot_id() or boot != [boot_id()]:
            return Holder.UNKNOWN
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return Holder.ALIVE
    finally:
        os.close(file)
    return Holder.DEAD


def is_held(lake: Lake, worker_name: str) -> bool | None:
    """Whether a living process of this machine holds a name's lock; None where that cannot be told."""
    holder = holder_of(lock_folder(lake), worker_name)
    return None if holder is Holder.UNKNOWN else holder is Holder.ALIVE


def living_workers(lake: Lake) -> list[str]:
    """The names of the workers of this machine that run on a lake, sorted."""
    names = sorted(path.stem for path in lock_folder(lake).glob("*.lock"))
    return [name for name in names if is_held(lake, name)]


class WorkerLock:
    """Held while the context is open and let go by the system when the process dies, however it dies."""

    def __init__(self, folder: Path, worker_name: str, clock: Clock | None = None) -> None:
        if not _NAME.fullmatch(worker_name):
            raise SettingsError(f"the worker name {worker_name!r} must be letters, digits, dots, dashes, underscores")
        self.path = folder / f"{worker_name}.lock"
        self._worker_name = worker_name
        self._clock = clock or Clock()
        self._file: int | None = None

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            WorkerBusy: a living worker has it; the text names its process.
            DiskRefuses: the disk is full.
            LakeError: the lock file cannot be made.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise_refusal(error, str(self.path.parent.parent))
            raise LakeError(f"the lock {self.path} cannot be made: {error.strerror}") from error
        try:
            self._take(file)
        except BlockingIOError as error:
            holder = os.pread(file, 32, 0).decode(errors="replace").partition("\n")[0] or "unknown"
            os.close(file)
            raise WorkerBusy(
                f"a worker named {self._worker_name} is running already (process {holder}): stop it or rename this"
            ) from error
        self._sign(file)
        self._file = file
        return self

    def _sign(self, file: int) -> None:
        try:
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n{boot_id()}\n".encode(), 0)
        except OSError as error:
            os.close(file)
            raise_refusal(error, str(self.path.parent.parent))
            raise LakeError(f"the lock {self.path} cannot be written: {error.strerror}") from error

    def _take(self, file: int) -> None:
        for _ in range(TRIES - 1):
            try:
                return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._clock.pause(TRY_SECONDS)
        return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
