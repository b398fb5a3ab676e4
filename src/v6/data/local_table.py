"""Tables of a local folder by the folder's own name, which the storage library gives as it would stand in a URL.

With a blank or an umlaut in it, polars would look for files that are not there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from v6.data.delta import DeltaTable
from v6.errors import LakeError

# What the library, or polars, takes for something else, wherever in a path it stands.
REFUSED = {
    "a % that two hexadecimal digits follow": re.compile(r"%[0-9A-Fa-f]{2}"),
    "a bracket": re.compile(r"[\[\]]"),
    "a backslash": re.compile(r"\\"),
    "a control character": re.compile(r"[\x00-\x1f\x7f]"),
    "a folder named like NAME=VALUE": re.compile(r"=(?=[^/]*(/|$))"),
}


def place_of(url: str) -> str:
    """A folder or the URL of an object store, without a slash at its end. A URL of this machine is a folder."""
    if url.startswith("file://"):
        url = unquote(url.removeprefix("file://").removeprefix("localhost"))
    if url == "~" or url.startswith("~/"):
        url = str(Path(url).expanduser())
    return url.rstrip("/") or "/"


class LocalTable(DeltaTable):
    """One table object of a local lake."""

    @property
    def table_uri(self) -> str:
        """Where the table lies."""
        return unquote(self._table.table_uri())

    def file_uris(self, *arguments: Any, **options: Any) -> list[str]:
        """The paths of its files. Their names below the table's folder stay as they are."""
        root = self._table.table_uri().removeprefix("file://")
        paths = super().file_uris(*arguments, **options)
        return [unquote(root) + path.removeprefix(root) if path.startswith(root) else path for path in paths]


def check_path(folder: Path) -> None:
    """Make sure that a lake can lie in a folder of that name. Raises LakeError."""
    for path in (folder.absolute(), folder.resolve()):
        for what, pattern in REFUSED.items():
            if pattern.search(str(path)):
                text = " ".join(str(path).split())
                raise LakeError(f"the lake {text} has {what} in its path, which is not read right: name another folder")
