"""Which lake a reader reads: the one it is given, else the one of the settings in force."""

from __future__ import annotations

from pathlib import Path

from v6.data.lake import Lake
from v6.errors import LakeError
from v6.settings import load_settings


def lake_of(lake: Lake | str | Path | None) -> Lake:
    """The lake to read: as given, or as ``V6_LAKE`` or ``v6.toml`` say.

    Raises:
        LakeError: there is no such folder.
        SettingsError: the settings cannot be read.
    """
    found = lake if isinstance(lake, Lake) else Lake(load_settings().settings.lake if lake is None else lake)
    if found.is_local and not Path(found.url).is_dir():
        raise LakeError(f"there is no lake at {found.url}: give lake=…, set V6_LAKE, or run `v6 demo` to make one")
    return found
