"""How big each table is and when it last changed, read from its log alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import polars as pl

from v6.data.flush import LOG
from v6.data.lake import Lake

COMMITS_LOOKED_AT = 200  # a checkpoint comes at least every 100 commits


@dataclass(frozen=True, kw_only=True, slots=True)
class TableSummary:
    """One table in numbers. ``bytes`` are those of its current files, ``updated_at`` (machine time) its last commit."""

    name: str
    rows: int
    files: int
    bytes: int
    version: int
    updated_at: datetime | None


def wrong_file(lake: Lake, name: str) -> str | None:
    """The first file of a local table that is absent or not as long as it must be, in words; None when all are right.

    Raises:
        TableDamaged: the table is absent or its log cannot be read.
    """
    if not lake.is_local:
        return None
    table = lake.open(name)
    emptied = _emptied_commit(Path(lake.uri(name)) / LOG, int(table.version()))
    if emptied is not None:
        return f"the table {name} has an empty commit: {emptied}"
    files = pl.DataFrame(table.get_add_actions(flatten=True)).select("path", "size_bytes")
    for path, size in files.iter_rows():
        file = Path(lake.uri(name)) / unquote(path)
        if not file.exists():
            return f"the table {name} lacks its file {path}"
        if file.stat().st_size != size:
            return f"the table {name} has a file of {file.stat().st_size:,} bytes that should have {size:,}: {path}"
    return None


def _emptied_commit(log: Path, version: int) -> str | None:
    """The newest empty commit since the last checkpoint: the library takes it for one that changed nothing."""
    for number in range(version, max(-1, version - COMMITS_LOOKED_AT), -1):
        path = log / f"{number:020d}.json"
        if (log / f"{number:020d}.checkpoint.parquet").exists():
            return None
        if path.exists() and path.stat().st_size == 0:
            return path.name
    return None


def summarise(lake: Lake, name: str) -> TableSummary:
    """The numbers of one table.

    Raises:
        TableDamaged: the table is absent or its log cannot be read.
    """
    table = lake.open(name)
    files = pl.DataFrame(table.get_add_actions(flatten=True))
    last = next((commit.get("timestamp") for commit in table.history(1)), None)
    return TableSummary(
        name=name,
        rows=int(files["num_records"].sum() or 0),
        files=files.height,
        bytes=int(files["size_bytes"].sum() or 0),
        version=int(table.version()),
        updated_at=None if last is None else datetime.fromtimestamp(last / 1000, UTC),
    )
