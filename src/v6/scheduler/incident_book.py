"""Incidents as their table has them; while the lake takes none, as this machine remembers them: a person is told.

Of the watchers on one machine the one that makes an incident's mark, an empty file in the folder for temporary files,
keeps the incident in memory and tells it. A mark that its maker no longer touches is anybody's.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from v6.clock import Clock
from v6.data.incidents import INCIDENTS, Incident, IncidentsTable, IncidentState
from v6.data.lake import Lake
from v6.data.readable import UNREADABLE, damage_of
from v6.errors import LakeError

ABANDONED_SECONDS = 120.0  # machine seconds since its maker last touched a mark


class IncidentBook:
    """Blocks."""

    def __init__(self, lake: Lake, clock: Clock) -> None:
        self._lake = lake
        self._table = IncidentsTable(lake, clock=clock)
        self._clock = clock
        self._remembered: dict[str, Incident] = {}

    def standing(self) -> dict[str, Incident]:
        """The incidents that are not over, by cause."""
        for cause in self._remembered:
            with contextlib.suppress(OSError):  # a mark that is gone is made again by whoever finds it gone
                os.utime(self._mark(cause))
        found: dict[str, Incident] = {}
        wrong = damage_of(self._lake, INCIDENTS.name, lambda: found.update(self._table.standing()))
        return {**self._remembered, **({} if wrong else found)}

    def open(self, cause: str, detail: str, affected: Sequence[str]) -> Incident | None:
        """Open an incident; None when one of this cause stands already."""
        if damage_of(self._lake, INCIDENTS.name) is None:
            with contextlib.suppress(*UNREADABLE):
                return self._table.open(cause, detail, affected)
        return self._remember(cause, detail, affected)

    def _remember(self, cause: str, detail: str, affected: Sequence[str]) -> Incident | None:
        if cause in self._remembered or not self._make_mark(cause):
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

    def _mark(self, cause: str) -> Path:
        name = hashlib.sha256(f"{self._lake.url} {cause}".encode()).hexdigest()[:32]
        return Path(tempfile.gettempdir()) / f"v6-incident-{name}"

    def _make_mark(self, cause: str) -> bool:
        """Whether this process is the one that tells; also where no mark can be made."""
        mark = self._mark(cause)
        with contextlib.suppress(OSError):
            if self._clock.machine_now().timestamp() - mark.stat().st_mtime > ABANDONED_SECONDS:
                mark.unlink()
        try:
            mark.touch(exist_ok=False)
        except FileExistsError:
            return False
        except OSError:
            return True
        return True

    def move(self, incident: Incident, state: IncidentState) -> Incident | None:
        """Bring an incident into its next state; None when somebody else did. Raises LakeError: try again later."""
        known = self._remembered.get(incident.cause)
        if known is None or known.incident_id != incident.incident_id:
            return self._moved(incident, state)
        moved = replace(known, state=state)
        if state is IncidentState.OVER:
            del self._remembered[incident.cause]
            self._mark(incident.cause).unlink(missing_ok=True)
        else:
            self._remembered[incident.cause] = moved
        return moved

    def _moved(self, incident: Incident, state: IncidentState) -> Incident | None:
        try:
            return self._table.move(incident, state)
        except UNREADABLE as error:
            raise LakeError(f"incident {incident.incident_id} could not be written down as {state}: {error}") from error
