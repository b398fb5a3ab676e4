"""A file system on which commits are not safe is found out and refused."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.test_worker import Bench, Note, Types

from v6.data.file_system import check_file_system
from v6.errors import LakeError


def no_links(*_: object, **__: object) -> None:
    raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


def overwrites(source: str, target: str, **_: object) -> None:
    Path(target).write_bytes(Path(source).read_bytes())


def copies(source: str, target: str, **_: object) -> None:
    Path(target).write_bytes(Path(source).read_bytes())


def test_a_local_disk_is_right_and_nothing_is_left_behind(tmp_path: Path) -> None:
    check_file_system(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("call", "instead", "text"),
    [
        ("link", no_links, "cannot put a commit in place by a hard link"),
        ("link", overwrites, "lets one commit overwrite another"),
        ("rename", copies, "cannot rename"),
    ],
)
async def test_a_file_system_without_them_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, instead: Callable[..., None], text: str
) -> None:
    bench = Bench(tmp_path, Types(Note()))
    await bench.insert()
    monkeypatch.setattr(os, call, instead)
    with pytest.raises(LakeError, match=text):
        await bench.drain()
    assert not bench.finished.qsize()
    assert not [name for name in os.listdir(tmp_path / "lake") if name.startswith(".probe")]  # noqa: PTH208
