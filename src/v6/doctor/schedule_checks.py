"""Whether the schedules can be read and fit the gateway, and whether every table grows as they let expect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from v6.data.ib_request import REQUESTS
from v6.data.readable import first_damage
from v6.doctor.finding import Finding, ok, problem, skipped, warning
from v6.errors import LakeError, SettingsError

if TYPE_CHECKING:
    from v6.app import App
    from v6.scheduler.freshness import Reading


def schedule_checks(app: App) -> Iterator[Finding]:
    """Schedules, then freshness: each stale table and symbol with its likely cause."""
    try:
        app.check_config()
        yield _schedules(app)
        yield from _freshness(app)
    except SettingsError as error:
        yield problem("schedules", str(error), "correct them: the scheduler does not start with them")
    except LakeError as error:
        yield problem("freshness", str(error), "run `v6 doctor --tables`")


def _schedules(app: App) -> Finding:
    schedules = app.schedules
    wrong = first_damage(app.lake, REQUESTS.name)
    if wrong is not None:
        return skipped(
            "schedules", f"{len(schedules)} can be read; whether they fit the gateway cannot be told: {wrong}"
        )
    capacity = app.capacity()
    seen = f"{len(schedules)} can be read; {capacity.describe()}"
    if capacity.fits or not schedules:
        return ok("schedules", seen)
    return warning("schedules", seen, "ask less often, for fewer expiries, or with more market-data lines")


def _freshness(app: App) -> Iterator[Finding]:
    from v6.scheduler.freshness import Freshness, read_freshness

    readings = read_freshness(app.lake, app.clock, app.expectations)
    yield from (_stale(reading) for reading in readings if reading.diagnosis is not None)
    counts = [(state, sum(reading.state is state for reading in readings)) for state in Freshness]
    others = ", ".join(f"{count} {state}" for state, count in counts if count and state is not Freshness.STALE)
    if others or not readings:
        yield ok("freshness", f"of {len(readings)} expectations {others or 'none'}")


def _stale(reading: Reading) -> Finding:
    expectation, diagnosis = reading.expectation, reading.diagnosis
    if diagnosis is None:
        raise ValueError(f"{expectation.name} is not stale")
    age = "cannot be told" if reading.age_minutes is None else f"{reading.age_minutes:,.0f} min"
    seen = f"{diagnosis.cause}: {diagnosis.detail}; age {age}, at most {expectation.minutes:g} min"
    return problem(f"freshness {expectation.name}", seen, diagnosis.advice)
