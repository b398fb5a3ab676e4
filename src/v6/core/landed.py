"""What of a request has landed already: asked of the result table itself, which is the only witness of a crash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from v6.data.delta import Lake, TableSpec

Part = Mapping[str, Any]


def landed_rows(lake: Lake, spec: TableSpec, request_ids: Sequence[str]) -> pl.DataFrame:
    """The rows of those requests in a result table: request_id, known_at, and con_id where the table has it. Blocks.

    Raises:
        LakeError: the table cannot be read.
    """
    columns = [name for name in ("request_id", "known_at", "con_id") if name in spec.schema]
    return lake.scan(spec).filter(pl.col("request_id").is_in(list(request_ids))).select(columns).collect()


def landed_parts(rows: pl.DataFrame, parts: Sequence[Part]) -> frozenset[int]:
    """Which of a request's parts are in the table, by index into ``parts``; ``rows`` are that request's.

    A part that names its ``con_ids`` has landed when a row of one of them has: a part is one commit. Otherwise parts
    are counted: they land one after the other and each has a ``known_at`` of its own.
    """
    if "con_id" in rows.columns and all("con_ids" in part for part in parts):
        stored = set(rows["con_id"].to_list())
        return frozenset(i for i, part in enumerate(parts) if not stored.isdisjoint(part["con_ids"]))
    return frozenset(range(min(len(parts), rows["known_at"].n_unique())))
