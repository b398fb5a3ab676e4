"""Looks at freshness again and again; opens and ends incidents, and tells a person once about each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta

from v6.clock import Clock
from v6.data.delta import Lake
from v6.data.incidents import Incident, IncidentsTable, IncidentState
from v6.errors import LakeError
from v6.events import EventBus
from v6.scheduler.alerts import Alerts, Message
from v6.scheduler.diagnosis import ADVICE, Cause, Diagnosis
from v6.scheduler.expectations import Expectation
from v6.scheduler.freshness import Freshness, Reading, read_freshness
from v6.scheduler.scheduler_events import FreshnessRestored, FreshnessViolated, SchedulerHeld

LOOK_SECONDS = 15.0  # machine seconds between looks
TWICE = 2  # looks that must agree on a cause before anybody is told
FORGOTTEN = timedelta(minutes=2)  # machine time: whoever opened it has not told anybody, so somebody else does


class FreshnessWatch:
    """One watcher; any number may run, each incident is told once."""

    def __init__(
        self, *, lake: Lake, clock: Clock, events: EventBus, alerts: Alerts, expectations: Sequence[Expectation]
    ) -> None:
        self._lake = lake
        self._clock = clock
        self._events = events
        self._alerts = alerts
        self._expectations = tuple(expectations)
        self._incidents = IncidentsTable(lake, clock=clock)
        self._stale: dict[str, Cause] = {}
        self._seen: dict[Cause, int] = {}
        self._looked_at = float("-inf")

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(self._clock.speed)

    async def look(self) -> None:
        """Look, when it is time to; a lake that cannot be read is reported and looked at again."""
        now = self._clock.machine_monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        try:
            await self.look_now()
        except LakeError as error:
            self._events.emit(SchedulerHeld(message=str(error)))

    async def look_now(self) -> None:
        """Look now. Raises LakeError."""
        readings = await asyncio.to_thread(read_freshness, self._lake, self._clock, self._expectations)
        self._report(readings)
        causes = self._causes(readings)
        standing = await asyncio.to_thread(self._incidents.standing)
        for cause, stale in causes.items():
            self._seen[cause] = self._seen.get(cause, 0) + 1
            if self._seen[cause] >= TWICE:
                await self._open(cause, stale, standing.get(cause))
        for cause in [cause for cause in self._seen if cause not in causes]:
            del self._seen[cause]
        await self._end(standing, causes, readings)

    def _report(self, readings: Sequence[Reading]) -> None:
        for reading in readings:
            expectation, diagnosis = reading.expectation, reading.diagnosis
            known = self._stale.get(expectation.name)
            if diagnosis is not None and known != diagnosis.cause:
                self._stale[expectation.name] = diagnosis.cause
                self._events.emit(_violated(reading, diagnosis))
            elif reading.state is Freshness.FRESH and known is not None:
                del self._stale[expectation.name]
                self._events.emit(FreshnessRestored(table=expectation.table, symbol=expectation.symbol))

    def _causes(self, readings: Sequence[Reading]) -> dict[Cause, list[Reading]]:
        found: dict[Cause, list[Reading]] = {}
        for reading in readings:
            if reading.diagnosis is not None:
                found.setdefault(reading.diagnosis.cause, []).append(reading)
        return found

    async def _open(self, cause: Cause, stale: Sequence[Reading], known: Incident | None) -> None:
        """Tell of a new incident; also of one whose finder was gone before it could."""
        names = [reading.expectation.name for reading in stale]
        details = [reading.diagnosis.detail for reading in stale if reading.diagnosis is not None]
        if known is None:
            opened = await asyncio.to_thread(self._incidents.open, cause, details[0], names)
            if opened is not None:
                await self._tell(opened)
        elif known.state is IncidentState.OPEN and self._clock.machine_now() - known.known_at > FORGOTTEN:
            await self._tell(known)

    async def _tell(self, incident: Incident) -> None:
        await self._alerts.send(self._message("opened", incident))
        await asyncio.to_thread(self._incidents.move, incident, IncidentState.ALERTED)

    async def _end(
        self, standing: Mapping[str, Incident], causes: Mapping[Cause, object], readings: Sequence[Reading]
    ) -> None:
        """An incident is over when nothing that it affected is stale for its cause, and the market says so."""
        by_name = {reading.expectation.name: reading for reading in readings}
        for incident in standing.values():
            affected = [by_name[name] for name in incident.affected if name in by_name]
            is_asleep = affected and all(reading.state is Freshness.MARKET_CLOSED for reading in affected)
            if incident.cause in causes or is_asleep:
                continue
            ended = await asyncio.to_thread(self._incidents.move, incident, IncidentState.OVER)
            if ended is not None and not any(reading.diagnosis for reading in affected):
                await self._alerts.send(self._message("recovered", incident))

    def _message(self, kind: str, incident: Incident) -> Message:
        return Message(
            kind=kind,
            incident_id=incident.incident_id,
            cause=incident.cause,
            detail=incident.detail,
            advice=ADVICE[Cause(incident.cause)] if kind == "opened" else "",
            affected=incident.affected,
            opened_at=incident.opened_at.isoformat(timespec="seconds"),
            lake=self._lake.url,
        )


def _violated(reading: Reading, diagnosis: Diagnosis) -> FreshnessViolated:
    age = reading.age_minutes
    return FreshnessViolated(
        table=reading.expectation.table,
        symbol=reading.expectation.symbol,
        age_minutes=None if age is None else round(age, 1),
        cause=diagnosis.cause,
        detail=diagnosis.detail,
    )
