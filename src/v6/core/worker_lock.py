"""The operating system's lock on a worker's name: whoever holds it knows every predecessor of that name dead."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from v6.clock import Clock
from v6.data.delta import Lake
from v6.errors import LakeError, SettingsError, WorkerBusy

LOOKS, LOOK_SECONDS = 4, 0.05
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def lock_folder(lake: Lake) -> Path:
    """Where the locks of a lake's workers lie: in the lake, or, for an object store, in this machine's temp folder."""
    return Path(lake.url) / ".locks" if lake.is_local else Path(tempfile.gettempdir()) / "v6-locks"


def _take(file: int) -> None:
    """Take the lock; who only looks at it holds it for an instant. Raises BlockingIOError when a worker has it."""
    for _ in range(LOOKS - 1):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            Clock().pause(LOOK_SECONDS)
        else:
            return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_held(lake: Lake, worker_name: str) -> bool | None:
    """Whether a living process of this machine holds a name's lock; None where no such worker ever ran here."""
    path = lock_folder(lake) / f"{worker_name}.lock"
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(file)


def living_workers(lake: Lake) -> list[str]:
    """The names of the workers of this machine that run on a lake, sorted."""
    names = sorted(path.stem for path in lock_folder(lake).glob("*.lock"))
    return [name for name in names if is_held(lake, name)]


class WorkerLock:
    """Held while the context is open and let go by the system when the process dies, however it dies."""

    def __init__(self, folder: Path, worker_name: str) -> None:
        if not _NAME.fullmatch(worker_name):
            raise SettingsError(f"the worker name {worker_name!r} must be letters, digits, dots, dashes, underscores")
        self.path = folder / f"{worker_name}.lock"
        self._worker_name = worker_name
        self._file: int | None = None

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            WorkerBusy: a living worker has it; the text names its process.
            LakeError: the lock file cannot be made.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise LakeError(f"the lock {self.path} cannot be made: {error.strerror}") from error
        try:
            _take(file)
        except BlockingIOError as error:
            holder = os.pread(file, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(file)
            raise WorkerBusy(
                f"a worker named {self._worker_name} is running already (process {holder}): stop it or rename this"
            ) from error
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
