"""Whether every table is as fresh as expected, and if not, why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from v6.clock import Clock
from v6.data.lake import Lake
from v6.scheduler.diagnosis import Diagnosis, diagnose
from v6.scheduler.evidence import Sightings, began, gather, sightings
from v6.scheduler.expectations import Expectation

LONGEST = timedelta(days=14)  # session time is counted no further back


class Freshness(StrEnum):
    """How an expectation stands."""

    FRESH = "fresh"
    STALE = "stale"
    MARKET_CLOSED = "market closed"
    NOT_BEGUN = "not begun"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """One expectation as it stands; ages in minutes of the session, with a diagnosis where it is stale."""

    expectation: Expectation
    state: Freshness
    newest: datetime | None
    age_minutes: float | None
    diagnosis: Diagnosis | None = None


def read_freshness(lake: Lake, clock: Clock, expectations: Sequence[Expectation]) -> list[Reading]:
    """Every expectation as it stands now. Blocks."""
    seen = sightings(lake, clock, expectations)
    since = began(lake, clock)
    readings = [_reading(expectation, seen, since, clock.now()) for expectation in expectations]
    if not any(reading.state is Freshness.STALE for reading in readings):
        return readings
    evidence = gather(lake, clock, seen=seen, expectations=expectations, has_begun=bool(since))
    return [
        _with(reading, diagnose(reading.expectation, evidence)) if reading.state is Freshness.STALE else reading
        for reading in readings
    ]


def _with(reading: Reading, diagnosis: Diagnosis) -> Reading:
    return Reading(
        expectation=reading.expectation,
        state=reading.state,
        newest=reading.newest,
        age_minutes=reading.age_minutes,
        diagnosis=diagnosis,
    )


def _reading(expectation: Expectation, seen: Sightings, since: Mapping[str, datetime], now: datetime) -> Reading:
    newest = seen.newest.get((expectation.table, expectation.symbol))
    counted_from = newest or since.get(expectation.schedule_id or "")
    is_damaged = expectation.table in seen.damage or bool(seen.chain_damage)
    state, age = _state(expectation, counted_from, now, is_damaged=is_damaged)
    return Reading(expectation=expectation, state=state, newest=newest, age_minutes=age)


def _state(
    expectation: Expectation, counted_from: datetime | None, now: datetime, *, is_damaged: bool
) -> tuple[Freshness, float | None]:
    if is_damaged:
        return Freshness.STALE, None
    if counted_from is None and expectation.schedule_id is not None and not expectation.is_written:
        return Freshness.NOT_BEGUN, None
    age = expectation.calendar.seconds_open(max(counted_from or now - LONGEST, now - LONGEST), now) / 60
    if not expectation.calendar.is_open(now):
        return Freshness.MARKET_CLOSED, age
    return (Freshness.STALE if age > expectation.minutes else Freshness.FRESH), age
