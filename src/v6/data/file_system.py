"""Whether a file system can keep a lake, found out by trying what the storage library does there.

A commit is put in place by a hard link that must fail where the name is taken, else two writers overwrite each other; a
data file by a rename.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from v6.errors import LakeError

ADVICE = "put the lake on a local disk (ext4, xfs, btrfs, APFS, …) or on an object store"


def check_file_system(folder: Path) -> None:
    """Try, with small files that are removed again, what commits need. Blocks.

    Raises:
        LakeError: the file system cannot do it; the text says what.
    """
    with _probes(folder) as (first, second, taken):
        try:
            first.write_text("1", encoding="utf-8")
            second.write_text("2", encoding="utf-8")
            taken.hardlink_to(first)
        except OSError as error:
            raise LakeError(
                f"the file system of the lake {folder} cannot put a commit in place by a hard link ({error.strerror}): "
                f"{ADVICE}"
            ) from error
        if _links(taken, second) or taken.read_text(encoding="utf-8") != "1":
            raise LakeError(
                f"the file system of the lake {folder} lets one commit overwrite another: a hard link to a name that "
                f"is taken did not fail: {ADVICE}"
            )
        _check_rename(folder, second, taken)


def _links(target: Path, source: Path) -> bool:
    try:
        target.hardlink_to(source)
    except OSError:
        return False
    return True


def _check_rename(folder: Path, source: Path, target: Path) -> None:
    try:
        source.rename(target)
        renamed = target.read_text(encoding="utf-8") == "2" and not source.exists()
    except OSError:
        renamed = False
    if not renamed:
        raise LakeError(f"the file system of the lake {folder} cannot rename a file over another: {ADVICE}")


@contextmanager
def _probes(folder: Path) -> Iterator[tuple[Path, Path, Path]]:
    names = [folder / f".probe-{uuid.uuid4().hex}-{number}" for number in range(3)]
    try:
        yield names[0], names[1], names[2]
    finally:
        for name in names:
            with suppress(FileNotFoundError):
                name.unlink()
