"""The contract master as request types read it: off the event loop."""

from __future__ import annotations

import asyncio
from datetime import date

import polars as pl

from v6.data.contracts import ContractsTable
from v6.data.lake import Lake


class StoredContracts:
    """Reads the table ``contracts`` of a lake."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    async def answer(self, asked: str, day: date) -> pl.DataFrame:
        """What the gateway answered to a question on a trading date; no rows when that is not stored whole.

        Raises:
            LakeError: the table cannot be read.
        """
        return await asyncio.to_thread(self._answer, asked, day)

    def _answer(self, asked: str, day: date) -> pl.DataFrame:
        with self._lake.reading(ContractsTable.spec.name):
            return ContractsTable(self._lake).answer(asked, day)
