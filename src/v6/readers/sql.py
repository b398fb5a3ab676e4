"""SQL over every table of a lake."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa

from v6.data.delta import DeltaError, query
from v6.data.lake import Lake
from v6.data.lake_repair import all_tables
from v6.errors import TableDamaged, UsageError
from v6.readers.asked import checked
from v6.readers.where import lake_of

READS = re.compile(r"\s*(--[^\n]*\n\s*)*(SELECT|WITH)\b", re.IGNORECASE)


@checked
def sql(text: str, *, lake: Lake | str | Path | None = None) -> pl.LazyFrame:
    """The answer to one SELECT over the tables of a lake, each under its own name; run by DataFusion, in full.

    Raises:
        UsageError: it is no SELECT, or it names a table or column that is not there.
        LakeError: the lake is not there or cannot be read.
    """
    if not READS.match(text):
        raise UsageError("sql() only reads: begin with SELECT or WITH")
    place = lake_of(lake)
    names = all_tables(place)
    named = [name for name in names if re.search(rf"\b{re.escape(name)}\b", text)]
    tables = {name: place.opened_whole(name) for name in named}
    try:
        return query(tables, text).lazy()
    except (DeltaError, pa.ArrowException) as error:
        _check_readable(place, named, error)
        reason = " ".join(str(error).split())[:300]
        raise UsageError(f"this SQL cannot be run: {reason}; the tables are {', '.join(names) or 'none'}") from error


def _check_readable(place: Lake, names: Sequence[str], error: Exception) -> None:
    """Raise TableDamaged when what went wrong while rows were read is a table's fault, not the text's."""
    if isinstance(error, pa.ArrowException):
        for name in names:
            damaged = place.damaged(name, error)
            if isinstance(damaged, TableDamaged):
                raise damaged from error
