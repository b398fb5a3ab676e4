"""What of a request has landed already: asked of the result table itself, which is the only witness of a crash."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from v6.data.delta import scan_table
from v6.data.lake import Lake
from v6.data.table_spec import TableSpec


def landed_rows(lake: Lake, spec: TableSpec, request_ids: Sequence[str]) -> pl.DataFrame:
    """request_id and known_at of those requests' rows in a result table, one row each; they are on the disk. Blocks.

    Raises:
        LakeError: the table cannot be read.
    """
    if not lake.exists(spec.name):
        lake.check_not_lost(spec.name)
        return spec.empty().select("request_id", "known_at")
    table = lake.open(spec.name)
    lake.flush(spec.name, int(table.version()))  # whoever wrote them may have died before the flush
    lake.check_files(spec.name, table)
    rows = scan_table(table).filter(pl.col("request_id").is_in(list(request_ids)))
    with lake.reading(spec.name):
        return rows.select("request_id", "known_at").collect()


def landed_parts(rows: pl.DataFrame) -> int:
    """How many parts of a request are in the table; ``rows`` are that request's.

    Parts land one after the other in the order of the plan, each in one commit with a ``known_at`` of its own. A part
    that brought nothing is not seen: it is fetched again, and brings nothing again.
    """
    return rows["known_at"].n_unique()
