"""The scheduler: at every tick, slots that are due become requests. It never talks to the gateway.

APScheduler only ticks. Which slots are due follows from the tables: from the last slot that was decided, the schedules
and the calendars. A slot's request has the slot for its identity, so two schedulers, a restart, a late tick or a
stepped clock can neither skip nor double one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

from v6.clock import Clock
from v6.data.coverage import CoverageRow, CoverageState
from v6.data.ib_request_queue import IBRequestQueue
from v6.data.lake import Lake
from v6.data.queue_controls import Pause, QueueControlsTable
from v6.data.readable import UNREADABLE, first_damage, first_line
from v6.data.schedule_log import ScheduleLogTable
from v6.data.scheduler_state import SchedulerState, SchedulerStateTable
from v6.errors import LakeError
from v6.events import EventBus
from v6.scheduler.decisions import Decision, Situation, decide
from v6.scheduler.evidence import CHAIN
from v6.scheduler.ledger import Ledger
from v6.scheduler.schedule import Schedule, Slot
from v6.scheduler.scheduler_events import (
    IntervalsLost,
    SchedulerHeld,
    SchedulerStarted,
    SchedulerStopped,
    SlotsAsked,
    SlotsSkipped,
)

LATE_SECONDS = 60.0  # clock seconds after which a slot counts as missed and the catch-up policy decides
SETTLE_SECONDS = 5.0  # machine seconds between looks at how requests ended
HEARTBEAT_SECONDS = 5.0  # machine seconds between rows of scheduler_state
RELOAD_SECONDS = 60.0  # machine seconds between readings of what others wrote to the ledger
REPAIR = "run `v6 doctor --tables`"
HUNG_SECONDS = 300.0  # machine seconds after which a tick that does not end stops the process
AHEAD = timedelta(days=7)

Result = TypeVar("Result")


class Watch(Protocol):
    """Looks after something beside the slots, in its own rhythm."""

    async def run(self) -> None:
        """Look after it until cancelled."""
        ...


class UnifiedScheduler:
    """Turns due slots into requests and keeps the ledger."""

    def __init__(
        self,
        *,
        queue: IBRequestQueue,
        schedules: Sequence[Schedule],
        history_types: Sequence[str],
        lake: Lake,
        clock: Clock,
        events: EventBus,
        name: str = "scheduler",
        tick_seconds: float = 1.0,
        watches: Sequence[Watch] = (),
    ) -> None:
        """``tick_seconds`` are machine time; ``watches`` run beside the ticks."""
        self._queue = queue
        self._lake = lake
        self._schedules = tuple(schedules)
        self._clock = clock
        self._events = events
        self._name = name
        self._tick_seconds = tick_seconds
        self._watches = tuple(watches)
        self._ledger = Ledger(lake, clock, history_types=history_types)
        self._controls = QueueControlsTable(lake, clock=clock)
        self._log = ScheduleLogTable(lake, clock=clock)
        self._states = SchedulerStateTable(lake, clock=clock)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scheduler-tables")
        self._decided: dict[str, datetime] = {}
        self._waiting: dict[tuple[Any, ...], CoverageRow] = {}
        self._asked = 0
        self._held: str | None = None
        self._last: dict[str, float] = {}
        self._stopping = asyncio.Event()
        self._ticking = asyncio.Lock()
        self._failure: Exception | None = None

    async def run(self) -> None:
        """Tick until stopped.

        Raises:
            LakeError: the lake cannot be used at the start.
            SettingsError: the clock is outside the days that the calendars know.
        """
        from apscheduler.schedulers.asyncio import AsyncIOScheduler
        from apscheduler.triggers.interval import IntervalTrigger

        await self.begin()
        ticker = AsyncIOScheduler(timezone=UTC)
        trigger = IntervalTrigger(seconds=self._tick_seconds, timezone=UTC)
        ticker.add_job(self.guarded_tick, trigger, coalesce=True, max_instances=1, misfire_grace_time=None)
        ticker.start()
        tasks = [asyncio.create_task(watch.run(), name=type(watch).__name__) for watch in self._watches]
        for task in tasks:
            task.add_done_callback(self._note_end)
        try:
            await self._stopping.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            async with self._ticking:  # a tick that runs is let finish: APScheduler would cancel it
                ticker.shutdown(wait=False)
            await self._end()
        if self._failure is not None:
            raise self._failure

    def _note_end(self, task: asyncio.Task[None]) -> None:
        """A watch that ends by itself stops the scheduler loudly."""
        if task.cancelled():
            return
        error = task.exception()
        self._failure = error if isinstance(error, Exception) else RuntimeError(f"{task.get_name()} ended")
        self._stopping.set()

    def stop(self) -> None:
        """End after the tick that runs."""
        self._stopping.set()

    async def begin(self) -> None:
        """Find out from the tables up to where slots were decided, and note new and changed schedules."""
        wrong = await self._call(first_damage, self._lake, *CHAIN)
        if wrong is not None:
            raise LakeError(f"{wrong.removesuffix(f': {REPAIR}')}: {REPAIR}")
        changed = await self._call(self._note_schedules)
        self._events.emit(
            SchedulerStarted(scheduler=self._name, schedules=len(self._schedules), changed=", ".join(changed) or None)
        )

    def _note_schedules(self) -> list[str]:
        now = self._clock.now()
        known = self._log.in_force()
        definitions = {schedule.id: schedule.definition() for schedule in self._schedules}
        changed: dict[str, str | None] = {
            i: definition
            for i, definition in definitions.items()
            if i not in known or known[i].definition != definition
        }
        changed |= dict.fromkeys(known.keys() - definitions.keys())
        if changed:
            self._log.record(changed)
        last_slots = self._ledger.table.last_slots()
        for schedule_id in definitions:
            since = known[schedule_id].since if schedule_id in known else now
            last = last_slots.get(schedule_id)
            decided = since if last is None else max(since, last)
            self._decided[schedule_id] = min(decided, now)  # later ones stem from a clock that was ahead
        return sorted(changed)

    # Ticking

    async def guarded_tick(self) -> None:
        """A tick that a lake in trouble holds up and does not end."""
        if self._stopping.is_set():
            return
        try:
            async with self._ticking, asyncio.timeout(HUNG_SECONDS):
                await self.tick()
            self._held = None
        except UNREADABLE as error:
            await self._hold(error)
        except Exception as error:  # noqa: BLE001 - handed to run, which raises it: APScheduler would only log it
            self._failure = error
            self._stopping.set()

    async def _hold(self, error: BaseException) -> None:
        """Say once why nothing is asked, and go on trying: a lake that is repaired needs no restart."""
        message = await self._call(first_damage, self._lake, *CHAIN) or first_line(error)
        if message != self._held:
            self._events.emit(SchedulerHeld(message=message))
        self._held = message

    async def tick(self) -> None:
        """Ask what is due, settle what ended, say that it lives."""
        await self._ask()
        if self._is_time("settle", SETTLE_SECONDS):
            await self._settle()
        if self._is_time("heartbeat", HEARTBEAT_SECONDS):
            await self._call(self._states.record, self._state("running"))

    def _is_time(self, what: str, seconds: float) -> bool:
        now = self._clock.machine_monotonic()
        if now - self._last.get(what, float("-inf")) < seconds:
            return False
        self._last[what] = now
        return True

    async def _ask(self) -> None:
        now = self._clock.now()
        # A clock that was set back makes slots due again: those that were asked are known, and none is lost.
        self._decided = {schedule_id: min(at, now) for schedule_id, at in self._decided.items()}
        due = {s.id: s.slots(self._decided[s.id], now) for s in self._schedules if self._decided[s.id] < now}
        if any(due.values()):
            situation = await self._situation(now, [slot for slots in due.values() for slot in slots])
            decisions = [d for s in self._schedules if due.get(s.id) for d in decide(s, due[s.id], situation)]
            decisions = await self._insert(decisions)
            rows = await self._call(self._ledger.expect, decisions)
            self._take_note(rows)
            self._report(decisions, known=situation.known)
        for schedule_id in due:
            self._decided[schedule_id] = now

    async def _situation(self, now: datetime, due: Sequence[Slot]) -> Situation:
        pauses: list[Pause] = await self._call(self._controls.pauses)
        known = await self._queue.slot_ids([slot.key for slot in due])
        open_requests = await self._queue.open_requests()
        late = max(LATE_SECONDS, 3 * self._tick_seconds * self._clock.speed)
        return Situation(
            now=now,
            late_after=timedelta(seconds=late),
            known=known,
            open_keys=[key for key in open_requests.values() if key is not None],
            pauses=pauses,
            history_days=self._queue.history_days,
        )

    async def _insert(self, decisions: Sequence[Decision]) -> list[Decision]:
        new = [decision for decision in decisions if decision.is_asked and decision.request_id is None]
        ids = await self._queue.insert_many([decision.slot.request() for decision in new]) if new else []
        self._asked += len(new)
        by_key = {decision.slot.key: request_id for decision, request_id in zip(new, ids, strict=True)}
        return [replace(d, request_id=by_key.get(d.slot.key, d.request_id)) for d in decisions]

    def _report(self, decisions: Sequence[Decision], *, known: Mapping[str, str]) -> None:
        asked: dict[str, list[datetime]] = {}
        skipped = Counter[tuple[str, str]]()
        for decision in decisions:
            schedule_id = decision.slot.schedule.id
            if decision.reason is not None:
                skipped[schedule_id, decision.reason.partition(":")[0]] += 1
            elif decision.slot.key not in known:
                asked.setdefault(schedule_id, []).append(decision.slot.at)
        for schedule_id, instants in asked.items():
            first, last = (at.isoformat() for at in (min(instants), max(instants)))
            self._events.emit(SlotsAsked(schedule=schedule_id, slots=len(instants), first=first, last=last))
        for (schedule_id, reason), count in skipped.items():
            self._events.emit(SlotsSkipped(schedule=schedule_id, slots=count, reason=reason))

    # The ledger

    async def _settle(self) -> None:
        if self._is_time("reload", RELOAD_SECONDS):
            self._waiting = {row.interval.key: row for row in await self._call(self._ledger.waiting)}
        if not self._waiting:
            return
        waiting = list(self._waiting.values())
        open_ids = (await self._queue.open_requests()).keys()
        settled = await self._call(self._ledger.settle, waiting, open_ids)
        self._take_note(settled.rows)

    def _take_note(self, rows: Sequence[CoverageRow]) -> None:
        lost = Counter[tuple[str, str, str]]()
        for row in rows:
            key = row.interval.key
            if row.state is CoverageState.EXPECTED:
                self._waiting[key] = row
                continue
            self._waiting.pop(key, None)
            if row.state is CoverageState.LOST:
                lost[row.interval.request_type, row.interval.series, (row.reason or "").partition(":")[0]] += 1
        for (request_type, series, reason), count in lost.items():
            self._events.emit(IntervalsLost(request_type=request_type, series=series, intervals=count, reason=reason))

    # Ending

    async def _end(self) -> None:
        try:
            await self._call(self._states.record, self._state("stopped"))
        except UNREADABLE as error:
            self._events.emit(SchedulerHeld(message=first_line(error)))
        await asyncio.to_thread(self._thread.shutdown)
        self._events.emit(SchedulerStopped(scheduler=self._name, slots_asked=self._asked))

    def _state(self, state: str) -> SchedulerState:
        now = self._clock.now()
        following = [self._next(schedule, now) for schedule in self._schedules]
        return SchedulerState(
            scheduler_id=self._name,
            state=state,
            schedules=len(self._schedules),
            slots_asked=self._asked,
            next_slot=min((at for at in following if at is not None), default=None),
        )

    def _next(self, schedule: Schedule, now: datetime) -> datetime | None:
        slots = schedule.slots(now, now + timedelta(days=1)) or schedule.slots(now, now + AHEAD)
        return slots[0].at if slots else None

    async def _call(self, work: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
