"""What the account holds."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl

from v6.data.lake import Lake
from v6.data.position_updates import PositionUpdatesTable
from v6.readers.asked import checked
from v6.readers.where import lake_of


@checked
def positions(*, as_of: datetime | None = None, lake: Lake | str | Path | None = None) -> pl.LazyFrame:
    """What is held by the last update, one row an account and contract.

    Raises:
        LakeError: the lake is not there or cannot be read.
    """
    return PositionUpdatesTable(lake_of(lake)).latest(as_of=as_of)
