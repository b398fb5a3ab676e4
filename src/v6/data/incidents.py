"""``incidents``: what went wrong with collecting and when it was over; each is opened once, whoever looks."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

import polars as pl

from v6.data import delta
from v6.data.delta import DeltaError, DeltaTable
from v6.data.table import Table
from v6.data.table_spec import UTC_MICROSECONDS, Column, TableSpec
from v6.errors import LakeError

APP_ID = "incidents"  # its app transaction makes every change a compare-and-swap
TRIES = 8

INCIDENTS = TableSpec(
    name="incidents",
    description="Incidents of collecting; the newest row of one is how it stands.",
    columns=(
        Column(name="incident_id", dtype=pl.String, description="UUID of the incident"),
        Column(name="cause", dtype=pl.String, description="the likely cause: worker down, queue paused, …"),
        Column(name="state", dtype=pl.String, description="open, alerted (a person was told) or over"),
        Column(name="detail", dtype=pl.String, description="what was seen"),
        Column(name="affected", dtype=pl.String, description="tables and symbols: a JSON list"),
        Column(name="opened_at", dtype=UTC_MICROSECONDS, description="when it was found (clock time)", unit="UTC"),
        Column(name="timestamp", dtype=UTC_MICROSECONDS, description="since when it is so (clock time)", unit="UTC"),
        Column(name="known_at", dtype=UTC_MICROSECONDS, description="when it was written (machine time)", unit="UTC"),
        Column(name="date", dtype=pl.Date, description="UTC day of timestamp"),
    ),
    partition_by=(),
    sort_by=("incident_id", "known_at"),
    key=("incident_id", "state"),
)


class IncidentState(StrEnum):
    """How an incident stands."""

    OPEN = "open"
    ALERTED = "alerted"
    OVER = "over"


@dataclass(frozen=True, kw_only=True, slots=True)
class Incident:
    """One incident as it stands."""

    incident_id: str
    cause: str
    state: IncidentState
    detail: str
    affected: tuple[str, ...]
    opened_at: datetime
    known_at: datetime


class IncidentsTable(Table):
    """Incidents, changed by compare-and-swap: of two that open or end one at once, one does."""

    spec: ClassVar[TableSpec] = INCIDENTS

    def standing(self) -> dict[str, Incident]:
        """The incidents that are not over, by cause. Blocks."""
        if not self.lake.exists(self.spec.name):
            return {}
        return _standing(delta.scan_table(self.lake.open(self.spec.name)).collect())

    def open(self, cause: str, detail: str, affected: Sequence[str]) -> Incident | None:
        """Open an incident; None when one of this cause stands already, whoever opened it. Blocks. Raises LakeError."""

        def decide(standing: Mapping[str, Incident]) -> Incident | None:
            if cause in standing:
                return None
            now = self.clock.now()
            return Incident(
                incident_id=str(uuid.uuid4()),
                cause=cause,
                state=IncidentState.OPEN,
                detail=detail,
                affected=tuple(affected),
                opened_at=now,
                known_at=self.clock.machine_now(),
            )

        return self._swap(decide)

    def move(self, incident: Incident, state: IncidentState) -> Incident | None:
        """Bring an incident into its next state; None when somebody else did. Blocks. Raises LakeError."""

        def decide(standing: Mapping[str, Incident]) -> Incident | None:
            known = standing.get(incident.cause)
            if known is None or known.incident_id != incident.incident_id or known.state == state:
                return None
            return Incident(
                incident_id=known.incident_id,
                cause=known.cause,
                state=state,
                detail=known.detail,
                affected=known.affected,
                opened_at=known.opened_at,
                known_at=self.clock.machine_now(),
            )

        return self._swap(decide)

    def _swap(self, decide: Any) -> Incident | None:
        """Append what is decided on the very snapshot it is decided on."""
        failure: Exception | None = None
        for _ in range(TRIES):
            table = self.lake.ensure(self.spec)
            row: Incident | None = decide(_standing(delta.scan_table(table).collect()))
            if row is None:
                return None
            try:
                self._commit(table, row)
            except (DeltaError, OSError) as error:  # a rival was first, or the commit is in doubt: look again
                failure = error
                if self._has(row):
                    return row
                continue
            return row
        raise LakeError(f"an incident could not be written to {self.lake.url}: {failure}") from failure

    def _commit(self, table: DeltaTable, row: Incident) -> None:
        now = self.clock.now()
        values = {
            "incident_id": row.incident_id,
            "cause": row.cause,
            "state": str(row.state),
            "detail": row.detail,
            "affected": json.dumps(row.affected),
            "opened_at": row.opened_at,
            "timestamp": now,
            "known_at": row.known_at,
            "date": now.date(),
        }
        frame = self.spec.conform(pl.DataFrame([values], schema=self.spec.schema))
        version = (table.transaction_version(APP_ID) or 0) + 1
        landed = delta.append(table, frame, app_transactions={APP_ID: version})
        self.lake.flush(self.spec.name, landed)

    def _has(self, row: Incident) -> bool:
        """Whether this very row landed, and not a rival's of the same content."""
        known = self.scan().filter(
            pl.col("incident_id") == row.incident_id,
            pl.col("state") == str(row.state),
            pl.col("known_at") == row.known_at,
        )
        return bool(known.select(pl.len()).collect().item())


_ORDER = {str(state): rank for rank, state in enumerate(IncidentState)}


def _standing(rows: pl.DataFrame) -> dict[str, Incident]:
    rank = pl.col("state").replace_strict(_ORDER, return_dtype=pl.Int64)
    last = rows.sort("known_at", rank).unique("incident_id", keep="last", maintain_order=True)
    return {
        row["cause"]: Incident(
            incident_id=row["incident_id"],
            cause=row["cause"],
            state=IncidentState(row["state"]),
            detail=row["detail"],
            affected=tuple(json.loads(row["affected"])),
            opened_at=row["opened_at"],
            known_at=row["known_at"],
        )
        for row in last.filter(pl.col("state") != str(IncidentState.OVER)).iter_rows(named=True)
    }
