"""Statistics as request types ask for them: computed on an executor, so that the event loop and collection go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor
from datetime import date, datetime
from typing import Any, TypeVar

import polars as pl

from v6.data.derived_statistics import DERIVED_STATISTICS
from v6.data.lake import Lake
from v6.data.vol_surfaces import VOL_SURFACES
from v6.derivations.derive import derivable_days, derive
from v6.errors import DerivationLost
from v6.quality.report import report

Result = TypeVar("Result")


class LakeDerivations:
    """Derives from one lake. The executor is made at the first use, and anew when its processes died."""

    def __init__(self, lake: Lake, make_executor: Callable[[], Executor]) -> None:
        self._lake = lake
        self._make_executor = make_executor
        self._executor: Executor | None = None

    async def days(self, symbol: str, first: date | None, last: date | None) -> Sequence[date]:
        """The trading dates first <= date <= last with data of a symbol, sorted; without ``first`` the newest only.

        Raises:
            LakeError: a table cannot be read.
            DerivationLost: the process died.
        """
        return await self._run(derivable_days, self._lake, symbol, first, last)

    async def derive(self, symbol: str, days: Sequence[date]) -> Mapping[str, pl.DataFrame]:
        """The rows by table of everything that can be derived of a symbol on these dates.

        Raises:
            LakeError: a table cannot be read.
            DerivationLost: the process died.
        """
        derived = await self._run(derive, self._lake, symbol, days)
        return {DERIVED_STATISTICS.name: derived.statistics, VOL_SURFACES.name: derived.surfaces}

    async def examine(self, day: date | None, now: datetime, symbol: str) -> Mapping[str, pl.DataFrame]:
        """The rows by table of a quality report of a trading date, or of the newest one; none without data.

        Of all symbols where ``symbol`` is empty.

        Raises:
            LakeError: a table cannot be read.
            DerivationLost: the process died.
        """
        return await self._run(report, self._lake, day, now, symbol)

    def close(self) -> None:
        """Let the processes end; what they are at is given up."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None

    async def _run(self, work: Callable[..., Result], *arguments: Any) -> Result:
        executor = self._executor = self._executor or self._make_executor()
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, work, *arguments)
        except BrokenExecutor as error:
            if self._executor is executor:
                self.close()
            raise DerivationLost(
                "a process that derives statistics died: see whether the machine's memory is enough"
            ) from error
