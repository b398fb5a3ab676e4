"""The file that lists the rows which do not fit: one line of JSON a row, of every source of one run."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from v6.errors import UsageError

SOURCE = "source_table"  # in each line: where the row came from


class RejectsRefused(UsageError):
    """The file cannot be written: no source can be imported with it."""


class Rejects:
    """Begun anew by each run; without such rows there is no file."""

    def __init__(self, path: Path) -> None:
        """Take away what an earlier run left. Raises RejectsRefused when the file cannot be written."""
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("w", encoding="utf-8").close()
            if path.is_file():  # not a device
                path.unlink()
        except OSError as error:
            raise self._refused(error) from error

    def add(self, source: str, rows: pl.DataFrame) -> None:
        """List rows of a source, each with its reason. Raises RejectsRefused."""
        if rows.is_empty():
            return
        lines = rows.cast({pl.Binary: pl.String}, strict=False).with_columns(pl.lit(source).alias(SOURCE))
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(lines.write_ndjson())
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> RejectsRefused:
        return RejectsRefused(
            f"{self.path}, the file for rows that do not fit, cannot be written ({error.strerror}): name another with "
            "--rejects; what was imported stays"
        )
