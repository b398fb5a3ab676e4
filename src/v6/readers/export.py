"""Any reader's answer as a file that other programs read."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl

from v6.errors import LakeError, UsageError
from v6.readers.asked import checked

Sink = Callable[[pl.LazyFrame, Path], None]


@checked
def export(frame: pl.LazyFrame | pl.DataFrame, path: str | Path) -> Path:
    """Write the rows to a file whose ending says how: .parquet, .csv or .arrow (also .feather, .ipc).

    The rows are streamed, and the file appears under its name when it is whole: an earlier one of that name stays until
    then. CSV has instants in ISO 8601 with their zone.

    Raises:
        UsageError: the ending is none of these, or the folder is not there.
        LakeError: the file cannot be written.
    """
    target = Path(path)
    sink = SINKS.get(target.suffix.lower())
    if sink is None:
        raise UsageError(f"{target} must end in one of {', '.join(SINKS)}: the ending says what is written")
    if not target.parent.is_dir():
        raise UsageError(f"there is no folder {target.parent} to write {target.name} to")
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        sink(frame.lazy(), partial)
        partial.replace(target)
    except (OSError, pl.exceptions.ComputeError) as error:
        raise LakeError(f"{target} cannot be written: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return target


def _parquet(frame: pl.LazyFrame, path: Path) -> None:
    frame.sink_parquet(path, compression="zstd")


def _csv(frame: pl.LazyFrame, path: Path) -> None:
    frame.sink_csv(path, datetime_format="%Y-%m-%dT%H:%M:%S%.6f%:z")


def _arrow(frame: pl.LazyFrame, path: Path) -> None:
    frame.sink_ipc(path, compat_level=pl.CompatLevel.oldest())


SINKS: Mapping[str, Sink] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".arrow": _arrow,
    ".feather": _arrow,
    ".ipc": _arrow,
}
