"""A disk that takes nothing more: told from the errors of the storage library, and looked for before a commit."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path

from v6.errors import DiskRefuses

# Beside the rows, a commit needs room for its own file and for a checkpoint now and then.
RESERVE_BYTES = 2**19
REFUSALS = frozenset({errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM})
_ADVICE = "make room, or make it writable; it goes on by itself then"
_NUMBER = re.compile(r"\(os error (\d+)\)")  # the storage library says it in words only


def check_room(folder: Path, row_bytes: int) -> None:
    """Raise DiskRefuses when a folder cannot be written, or its disk has no room for rows of that size in memory.

    The storage library finds out in the middle of a file and leaves noise on stderr.
    """
    try:
        free = shutil.disk_usage(folder).free
    except (FileNotFoundError, NotADirectoryError):  # whoever makes the folder says what is wrong with it
        return
    if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):  # of a file, whoever makes the folder says so
        is_read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
        raise DiskRefuses(_text(str(folder), errno.EROFS if is_read_only else errno.EACCES))
    if free < RESERVE_BYTES + row_bytes:
        raise DiskRefuses(_text(str(folder), errno.ENOSPC))


def raise_refusal(error: Exception, url: str) -> None:
    """Raise DiskRefuses when that is what an error of the storage library means."""
    number = error.errno if isinstance(error, OSError) and error.errno else _number(str(error))
    if number in REFUSALS:
        raise DiskRefuses(_text(url, number)) from error


def _text(url: str, number: int) -> str:
    return f"the disk of the lake {url} refuses: {os.strerror(number)}: {_ADVICE}"


def _number(text: str) -> int:
    found = _NUMBER.search(text)
    return int(found[1]) if found else 0
