"""Incidents as their table has them; while the lake takes none, as this process remembers them: a person is told."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

from v6.clock import Clock
from v6.data.delta import Lake
from v6.data.incidents import Incident, IncidentsTable, IncidentState
from v6.errors import LakeError
from v6.scheduler.evidence import UNREADABLE


class IncidentBook:
    """Blocks. What is only remembered is told once by each process that looks, not once by all."""

    def __init__(self, lake: Lake, clock: Clock) -> None:
        self._table = IncidentsTable(lake, clock=clock)
        self._clock = clock
        self._remembered: dict[str, Incident] = {}

    def standing(self) -> dict[str, Incident]:
        """The incidents that are not over, by cause."""
        try:
            return {**self._remembered, **self._table.standing()}
        except UNREADABLE:
            return dict(self._remembered)

    def open(self, cause: str, detail: str, affected: Sequence[str]) -> Incident | None:
        """Open an incident; None when one of this cause stands already."""
        try:
            return self._table.open(cause, detail, affected)
        except UNREADABLE:
            return self._remember(cause, detail, affected)

    def _remember(self, cause: str, detail: str, affected: Sequence[str]) -> Incident | None:
        if cause in self._remembered:
            return None
        incident = Incident(
            incident_id=str(uuid.uuid4()),
            cause=cause,
            state=IncidentState.OPEN,
            detail=detail,
            affected=tuple(affected),
            opened_at=self._clock.now(),
            known_at=self._clock.machine_now(),
        )
        self._remembered[cause] = incident
        return incident

    def move(self, incident: Incident, state: IncidentState) -> Incident | None:
        """Bring an incident into its next state; None when somebody else did. Raises LakeError: try again later."""
        known = self._remembered.get(incident.cause)
        if known is None or known.incident_id != incident.incident_id:
            return self._moved(incident, state)
        moved = replace(known, state=state)
        if state is IncidentState.OVER:
            del self._remembered[incident.cause]
        else:
            self._remembered[incident.cause] = moved
        return moved

    def _moved(self, incident: Incident, state: IncidentState) -> Incident | None:
        try:
            return self._table.move(incident, state)
        except UNREADABLE as error:
            raise LakeError(f"incident {incident.incident_id} could not be written down as {state}: {error}") from error
