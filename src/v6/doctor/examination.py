"""All looks in the order in which a request meets them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING

from v6.data.ib_request import REQUESTS
from v6.data.queue_controls import QUEUE_CONTROLS
from v6.data.readable import first_damage
from v6.data.scheduler_state import SCHEDULER_STATE
from v6.data.worker_state import WORKER_STATE
from v6.doctor import daemon_checks, lake_checks, schedule_checks
from v6.doctor.calendar_check import MARKETS, calendar_check
from v6.doctor.finding import Finding, Verdict, ok, problem
from v6.doctor.gateway_checks import gateway_checks
from v6.errors import LakeError
from v6.settings import DEFAULT

if TYPE_CHECKING:
    from v6.app import App
    from v6.settings import SettingsInForce

TABLES = "run `v6 doctor --tables`"


async def examine(app: App, in_force: SettingsInForce, symbols: Sequence[str]) -> AsyncIterator[Finding]:
    """Each finding as soon as it is known."""
    yield settings_check(in_force)
    lake_is_usable = True
    for finding in await asyncio.to_thread(lambda: list(lake_checks.lake_checks(app.lake, app.clock))):
        lake_is_usable = lake_is_usable and not (finding.check == "lake" and finding.verdict is Verdict.PROBLEM)
        yield finding
    worker = None
    if lake_is_usable:
        async for finding in _queue(app):
            yield finding
        for finding in await asyncio.to_thread(lambda: list(_daemons(app))):
            yield finding
        for finding in await asyncio.to_thread(lambda: list(schedule_checks.schedule_checks(app))):
            yield finding
        worker = await asyncio.to_thread(_live_worker, app)
    probing = gateway_checks(
        app.probe,
        client_id=app.settings.client_id,
        worker=worker,
        lake=app.lake,
        clock=app.clock,
        symbols=symbols,
    )
    async for finding in probing:
        yield finding
    for market in MARKETS:
        yield await asyncio.to_thread(calendar_check, market, app.clock.now())


def settings_check(in_force: SettingsInForce) -> Finding:
    """They are read and checked by now; this says which were set."""
    changed = [f"{name} ({source})" for name, source in in_force.sources.items() if source != DEFAULT]
    return ok("settings", f"valid; set: {', '.join(changed) or 'none, all are defaults'}")


async def _queue(app: App) -> AsyncIterator[Finding]:
    wrong = await asyncio.to_thread(first_damage, app.lake, REQUESTS.name, QUEUE_CONTROLS.name)
    if wrong is not None:
        yield problem("queue", wrong, TABLES)
        return
    queue = app.queue(source="cli")
    try:
        stats = await queue.stats()
        for finding in await asyncio.to_thread(lambda: list(daemon_checks.queue_checks(stats, app.lake, app.clock))):
            yield finding
    except LakeError as error:
        yield problem("queue", str(error), TABLES)
    finally:
        await queue.close()


def _daemons(app: App) -> Iterator[Finding]:
    """Worker and scheduler, each by its own table."""
    wrong = first_damage(app.lake, WORKER_STATE.name)
    if wrong is not None:
        yield problem("worker", wrong, TABLES)
    else:
        yield from daemon_checks.worker_check(app.lake, app.clock)
    wrong = first_damage(app.lake, SCHEDULER_STATE.name)
    if wrong is not None:
        yield problem("scheduler", wrong, TABLES)
    else:
        yield daemon_checks.scheduler_check(app.lake, app.clock)


def _live_worker(app: App) -> str | None:
    """The live worker that is configured here, if any: it holds the client id."""
    if first_damage(app.lake, WORKER_STATE.name) is not None:
        return None
    alive = daemon_checks.live_workers(app.lake, app.clock)
    names = [str(row["worker_id"]) for row in alive if row["worker_id"] == app.settings.worker_name]
    return names[0] if names else None
