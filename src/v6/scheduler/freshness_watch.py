"""Looks at freshness again and again; opens and ends incidents, and tells a person once about each."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from v6.clock import Clock
from v6.data.incidents import Incident, IncidentState
from v6.data.lake import Lake
from v6.data.readable import UNREADABLE, first_line
from v6.events import EventBus
from v6.scheduler.alerts import Alerts, Message
from v6.scheduler.diagnosis import ADVICE, SILENT_SECONDS, WEAK, Cause, Diagnosis, is_same
from v6.scheduler.expectations import Expectation
from v6.scheduler.freshness import Freshness, Reading, read_freshness
from v6.scheduler.incident_book import IncidentBook
from v6.scheduler.scheduler_events import FreshnessRestored, FreshnessViolated, SchedulerHeld

LOOK_SECONDS = 15.0  # machine seconds between looks
TWICE = 2  # looks that must agree on a cause before anybody is told
# Machine seconds that a cause must last before that: a daemon that could not write for a while says so within a
# heartbeat, and what explains nothing gives way to what does.
LASTING_SECONDS = {
    **dict.fromkeys((Cause.WORKER_DOWN, Cause.SCHEDULER_DOWN), 6.0),
    **dict.fromkeys(WEAK, SILENT_SECONDS + LOOK_SECONDS),
}
FORGOTTEN = timedelta(minutes=2)  # machine time: whoever opened it has not told anybody, so somebody else does


class FreshnessWatch:
    """One watcher; any number may run, each incident is told once."""

    def __init__(
        self,
        *,
        lake: Lake,
        clock: Clock,
        events: EventBus,
        alerts: Alerts,
        expectations: Sequence[Expectation],
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        """``look_seconds`` are machine time."""
        self._look_seconds = look_seconds
        self._lake = lake
        self._clock = clock
        self._events = events
        self._alerts = alerts
        self._expectations = tuple(expectations)
        self._incidents = IncidentBook(lake, clock)
        self._stale: dict[str, Cause] = {}
        self._seen: dict[Cause, _Seen] = {}
        self._looked_at = float("-inf")

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(min(1.0, self._look_seconds) * self._clock.speed)

    async def look(self) -> None:
        """Look, when it is time to; a lake that cannot be read is reported and looked at again."""
        now = self._clock.machine_monotonic()
        if now - self._looked_at < self._look_seconds:
            return
        self._looked_at = now
        try:
            await self.look_now()
        except UNREADABLE as error:
            self._events.emit(SchedulerHeld(message=first_line(error)))

    async def look_now(self) -> None:
        """Look now. Raises LakeError."""
        readings = await asyncio.to_thread(read_freshness, self._lake, self._clock, self._expectations)
        causes = _by_cause(readings)
        self._note(causes)
        sure = {cause: stale for cause, stale in causes.items() if self._is_sure(cause)}
        self._report(readings, sure)
        standing = await asyncio.to_thread(self._incidents.standing)
        for cause, stale in sure.items():
            known = next((incident for incident in standing.values() if is_same(incident.cause, cause)), None)
            await self._open(cause, stale, known)
        await self._end(standing, sure, readings)

    def _note(self, causes: Collection[Cause]) -> None:
        """Count the looks that agree on each cause, and forget what is gone."""
        now = self._clock.machine_monotonic()
        self._seen = {cause: self._seen.get(cause, _Seen(since=now)).again() for cause in causes}

    def _is_sure(self, cause: Cause) -> bool:
        seen = self._seen[cause]
        lasts = self._clock.machine_monotonic() - seen.since
        return seen.looks >= TWICE and lasts >= LASTING_SECONDS.get(cause, 0.0)

    def _report(self, readings: Sequence[Reading], sure: Collection[Cause]) -> None:
        for reading in readings:
            expectation, diagnosis = reading.expectation, reading.diagnosis
            known = self._stale.get(expectation.name)
            if diagnosis is not None and diagnosis.cause in sure and known != diagnosis.cause:
                self._stale[expectation.name] = diagnosis.cause
                self._events.emit(_violated(reading, diagnosis))
            elif reading.state is Freshness.FRESH and known is not None:
                del self._stale[expectation.name]
                self._events.emit(FreshnessRestored(table=expectation.table, symbol=expectation.symbol))

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
        self, standing: Mapping[str, Incident], sure: Collection[Cause], readings: Sequence[Reading]
    ) -> None:
        """An incident is over and told when nothing it affected is stale, over in silence when another cause was told.

        While the market sleeps nothing is over.
        """
        by_name = {reading.expectation.name: reading for reading in readings}
        for incident in standing.values():
            affected = [by_name[name] for name in incident.affected if name in by_name]
            causes = {reading.diagnosis.cause for reading in affected if reading.diagnosis is not None}
            is_asleep = affected and all(reading.state is Freshness.MARKET_CLOSED for reading in affected)
            lasts = any(is_same(incident.cause, cause) for cause in causes)
            if is_asleep or lasts or causes - set(sure):
                continue
            ended = await asyncio.to_thread(self._incidents.move, incident, IncidentState.OVER)
            if ended is not None and not causes:
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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """Since when (machine seconds) and in how many looks in a row a cause was seen."""

    since: float
    looks: int = 0

    def again(self) -> _Seen:
        """One more look."""
        return _Seen(since=self.since, looks=self.looks + 1)


def _by_cause(readings: Sequence[Reading]) -> dict[Cause, list[Reading]]:
    found: dict[Cause, list[Reading]] = {}
    for reading in readings:
        if reading.diagnosis is not None:
            found.setdefault(reading.diagnosis.cause, []).append(reading)
    return found


def _violated(reading: Reading, diagnosis: Diagnosis) -> FreshnessViolated:
    age = reading.age_minutes
    return FreshnessViolated(
        table=reading.expectation.table,
        symbol=reading.expectation.symbol,
        age_minutes=None if age is None else round(age, 1),
        cause=diagnosis.cause,
        detail=diagnosis.detail,
    )
