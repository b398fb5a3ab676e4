"""Whether a table can be read, looked at before it is: a file that is cut short makes polars panic."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pyarrow as pa

from v6.data.lake import Lake
from v6.data.table_summary import wrong_file
from v6.errors import LakeError

# What reading a damaged table may raise.
UNREADABLE = (LakeError, pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, OSError)


def damage_of(lake: Lake, name: str, read: Callable[[], object] = lambda: None) -> str | None:
    """What is wrong with a table, as one line, None when all is well; ``read`` is called when its files are whole."""
    try:
        wrong = wrong_file(lake, name) if lake.exists(name) else None
        if wrong is None:
            read()
    except UNREADABLE as error:
        line = first_line(error)
        return line if name in line else f"the table {name} cannot be read: {line}"
    return wrong


def first_line(error: BaseException) -> str:
    """What an error says, on one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def first_damage(lake: Lake, *names: str) -> str | None:
    """What is wrong with the first of these tables that is damaged; None when all are whole."""
    return next((wrong for name in names if (wrong := damage_of(lake, name)) is not None), None)
