"""``v6 schedule``: list, explain, pause, resume, run now, and backfill a range."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v6.app import App
from v6.commands.backfill import DryRun, backfill_schedule
from v6.commands.command import Call, command, group
from v6.commands.ledger_days import Day, LastDay, Symbol, asked_days
from v6.errors import RequestError

if TYPE_CHECKING:
    from v6.data.queue_controls import Action
    from v6.scheduler.schedule import Schedule, Slot

LOOK_AHEAD = (timedelta(days=1), timedelta(days=8), timedelta(days=40), timedelta(days=400))
ScheduleId = Annotated[str, typer.Argument(metavar="ID", help="the schedule's id, as `v6 schedule list` shows it")]
OptionalId = Annotated[str, typer.Argument(metavar="[ID]", help="the schedule's id; without one every schedule")]
LISTED = ("id", "request type", "symbols", "trigger", "calendar", "next slot (UTC)", "state")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    commands = group("List, explain, pause, resume, run and backfill schedules.")
    for name, function in (
        ("list", list_schedules),
        ("explain", explain),
        ("pause", pause),
        ("resume", resume),
        ("run", run_now),
        ("backfill", backfill),
    ):
        commands.command(name=name)(command(function))
    app.add_typer(commands, name="schedule")


def list_schedules(call: Call) -> None:
    """List the schedules in force, and whether they fit the gateway's limits."""
    app = App(call.settings)
    paused = _paused(app)
    now = app.clock.now()
    rows = []
    for s in app.schedules:
        following = next_slots(s, now, 1)
        state = "paused" if {"schedules", f"schedule:{s.id}"} & paused.keys() else "active"
        at = following[0].at if following else None
        symbols = " ".join(s.symbols) or "all"
        rows.append((s.id, s.request_type, symbols, s.trigger.describe(), s.calendar_name, at, state))
    capacity = app.capacity()
    if call.out.as_json:
        names = ("id", "request_type", "symbols", "trigger", "calendar", "next_slot", "state")
        listed = [dict(zip(names, row, strict=True)) for row in rows]
        call.out.json({"schedules": listed, "capacity": capacity.describe(), "fits": capacity.fits})
        return
    call.out.table(LISTED, rows)
    call.out.line("")
    call.out.line(f"gateway: {capacity.describe()}")


def explain(
    call: Call, schedule_id: ScheduleId, slots: Annotated[int, typer.Option(min=1, help="show so many slots")] = 10
) -> None:
    """Show what a schedule does and its next slots, in UTC and in its time zone."""
    app = App(call.settings)
    schedule = _find(app, schedule_id)
    following = next_slots(schedule, app.clock.now(), slots * len(schedule.symbols) * (schedule.months or 1))
    instants = sorted({slot.at for slot in following})[:slots]
    values = {"id": schedule.id, **json.loads(schedule.definition()), "time_zone": schedule.zone.key}
    if call.out.as_json:
        call.out.json({**values, "slots": [{"utc": at, "local": at.astimezone(schedule.zone)} for at in instants]})
        return
    call.out.fields({name: v if isinstance(v, str) else json.dumps(v) for name, v in values.items()})
    call.out.line("")
    local = [(at, f"{at.astimezone(schedule.zone):%a %Y-%m-%d %H:%M:%S %Z}") for at in instants]
    call.out.table(("next slots (UTC)", schedule.zone.key), local)
    if following:
        call.out.line("")
        call.out.line(f"asks: {schedule.request_type} {json.dumps(following[0].parameters())}")


def pause(
    call: Call,
    schedule_id: OptionalId = "",
    reason: Annotated[str, typer.Option(help="kept with the pause, and shown")] = "by hand",
) -> None:
    """Pause a schedule, or all of them: slots that come meanwhile are not asked, nor made up for."""
    from v6.data.queue_controls import Action

    _control(call, schedule_id, Action.PAUSE, reason)


def resume(call: Call, schedule_id: OptionalId = "") -> None:
    """Resume a schedule, or all of them."""
    from v6.data.queue_controls import Action

    _control(call, schedule_id, Action.RESUME, None)


async def run_now(
    call: Call,
    schedule_id: ScheduleId,
    symbol: Annotated[str | None, typer.Option(help="only for this symbol")] = None,
) -> None:
    """Insert what the schedule asks, now; its slots are not touched. History is asked for the last slot's interval."""
    from v6.data.ib_request import NewRequest

    app = App(call.settings)
    schedule = _find(app, schedule_id)
    if symbol is not None and symbol not in schedule.symbols:
        raise RequestError(f"schedule {schedule.id} has no symbol {symbol}: it has {', '.join(schedule.symbols)}")
    now = app.clock.now()
    new = [
        NewRequest(
            request_type=schedule.request_type,
            symbol=slot.symbol,
            priority=schedule.priority,
            parameters=slot.parameters(),
        )
        for slot in _newest_slots(schedule, now)
        if symbol in (None, slot.symbol)
    ]
    queue = app.queue(source="cli")
    try:
        ids = await queue.insert_many(new)
    finally:
        await queue.close()
    if call.out.as_json:
        call.out.json({"request_ids": ids})
        return
    for request, request_id in zip(new, ids, strict=True):
        call.out.line(f"{request_id} {request.request_type} {request.symbol}")


async def backfill(
    call: Call,
    schedule_id: ScheduleId,
    *,
    first: Day = None,
    last: LastDay = None,
    symbol: Symbol = None,
    dry_run: DryRun = False,
) -> None:
    """Ask for what the schedule would have brought on these days and is not there, from before it began too."""
    app = App(call.settings)
    await backfill_schedule(call, app, _find(app, schedule_id), asked_days(app, first, last), symbol, dry_run=dry_run)


def next_slots(schedule: Schedule, now: datetime, count: int) -> Sequence[Slot]:
    """At least ``count`` slots after now where so many come within a year and a month, oldest first."""
    found: Sequence[Slot] = ()
    for ahead in LOOK_AHEAD:
        found = schedule.slots(now, now + ahead)
        if len(found) >= count:
            break
    return found[:count]


def _newest_slots(schedule: Schedule, now: datetime) -> list[Slot]:
    """The slots of the newest instant: of history the last that has passed, else of the next, as it asks the same."""
    past = [slots for back in LOOK_AHEAD if (slots := schedule.slots(now - back, now))]
    slots = past[0] if past else list(next_slots(schedule, now, 1))
    if not slots:
        raise RequestError(f"schedule {schedule.id} has no slot within a year: `v6 schedule explain` shows it")
    at = slots[-1].at if past else slots[0].at
    return [slot for slot in slots if slot.at == at]


def _control(call: Call, schedule_id: str, action: Action, reason: str | None) -> None:
    from v6.data.queue_controls import SCHEDULES, QueueControlsTable

    app = App(call.settings)
    target = f"schedule:{_find(app, schedule_id).id}" if schedule_id else SCHEDULES
    controls = QueueControlsTable(app.lake, clock=app.clock)
    controls.record(target, action, reason=reason, source="cli")
    if call.out.as_json:
        call.out.json({"target": target, "action": str(action), "since": app.clock.now().astimezone(UTC)})
    else:
        call.out.line(f"{action}d {schedule_id or 'every schedule'}")
        if schedule_id and SCHEDULES in controls.paused_now():
            call.out.line("every schedule is paused: `v6 schedule resume` without an ID lets them go on")


def _find(app: App, schedule_id: str) -> Schedule:
    found = next((s for s in app.schedules if s.id == schedule_id), None)
    if found is None:
        known = ", ".join(s.id for s in app.schedules) or "none"
        raise RequestError(f"there is no schedule {schedule_id!r}: there are {known}")
    return found


def _paused(app: App) -> dict[str, Any]:
    from v6.data.queue_controls import QueueControlsTable

    return dict(QueueControlsTable(app.lake, clock=app.clock).paused_now())
