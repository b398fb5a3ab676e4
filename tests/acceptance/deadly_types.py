"""Request types for the drills of dying workers, installed into a real worker by an entry point.

``deadly`` asks the gateway for a contract and then kills its own worker's process, as a fault in a library would;
``deadly_unsent`` kills it before anything was asked.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import polars as pl

from v6.request_types.base import Contract, Fetched, Gateway, Job, Parameters, Part, RequestType

ENTRY_POINTS = """[v6.request_types]
deadly = deadly_types:Deadly
deadly_unsent = deadly_types:DeadlyUnsent
"""


def install(folder: Path) -> None:
    """Make a package of these types that Python finds with ``folder`` on its path."""
    info = folder / "deadly_types-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: deadly-types\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (folder / "deadly_types.py").write_text(Path(__file__).read_text())


class NoParameters(Parameters):
    """Takes none."""


class DeadlyUnsent(RequestType[NoParameters]):
    """Kills its worker before anything was asked."""

    name = "deadly_unsent"
    description = "kills its worker before anything was asked"
    parameters = NoParameters
    result_table = "position_updates"

    async def fetch(self, job: Job[NoParameters], part: Part, gateway: Gateway) -> Fetched:
        """Die."""
        os.kill(os.getpid(), signal.SIGKILL)
        return Fetched(rows=pl.DataFrame())


class Deadly(DeadlyUnsent):
    """Kills its worker when the gateway has answered."""

    name = "deadly"
    description = "kills its worker when the gateway has answered"

    async def fetch(self, job: Job[NoParameters], part: Part, gateway: Gateway) -> Fetched:
        """Ask and die."""
        await gateway.contract_details(Contract(symbol=job.symbol, sec_type="STK"))
        return await super().fetch(job, part, gateway)
