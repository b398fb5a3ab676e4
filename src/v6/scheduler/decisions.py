"""What becomes of the slots that are due: a pure rule over what the tables say."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from v6.data.ib_request import HISTORY_DAYS
from v6.data.queue_controls import SCHEDULES, Pause
from v6.scheduler.schedule import CatchUp, Overlap, Schedule, Slot


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """One slot: asked, with the request's id once it has one, or not asked because ``reason``."""

    slot: Slot
    reason: str | None = None
    request_id: str | None = None

    @property
    def is_asked(self) -> bool:
        """True when it has a request or is to get one."""
        return self.reason is None


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """What the tables say at one moment."""

    now: datetime
    late_after: timedelta
    known: Mapping[str, str] = field(default_factory=dict)  # idempotency key → request id
    open_keys: Collection[str] = ()
    pauses: Sequence[Pause] = ()
    history_days: int | None = HISTORY_DAYS  # the queue refuses older slots: it could not tell that they had run

    def forgets(self, at: datetime) -> bool:
        """True when the queue may not know any more whether a slot of that instant ran."""
        return self.history_days is not None and at < self.now - timedelta(days=self.history_days - 1)


def decide(schedule: Schedule, due: Sequence[Slot], situation: Situation) -> list[Decision]:
    """What becomes of each due slot of one schedule, oldest first within a symbol."""
    found: list[Decision] = []
    for slots in _by_series(due):
        found += _decide_series(schedule, slots, situation)
    return found


def _by_series(slots: Iterable[Slot]) -> list[list[Slot]]:
    groups: dict[str, list[Slot]] = {}
    for slot in slots:
        groups.setdefault(slot.series_key, []).append(slot)
    return list(groups.values())


def _decide_series(schedule: Schedule, slots: Sequence[Slot], situation: Situation) -> list[Decision]:
    unfinished = any(key.startswith(slots[0].series_key) for key in situation.open_keys)
    found = []
    for slot in slots:
        if slot.key in situation.known:
            found.append(Decision(slot=slot, request_id=situation.known[slot.key]))
            continue
        reason = _obstacle(slot, situation) or _missed(schedule, slot, slots[-1], situation)
        if reason is None and schedule.overlap is Overlap.SKIP and unfinished and not _is_late(slot, situation):
            reason = "overlap: the slot before was not finished"
        found.append(Decision(slot=slot, reason=reason))
        unfinished = unfinished or reason is None
    return found


def _obstacle(slot: Slot, situation: Situation) -> str | None:
    targets = (SCHEDULES, f"schedule:{slot.schedule.id}")
    pause = next((p for p in situation.pauses if p.target in targets and p.covers(slot.at)), None)
    if pause is not None:
        return f"paused: {pause.reason or 'by hand'}"
    if slot.deadline is not None and slot.deadline <= situation.now:
        return f"missed: nobody asked before its deadline {slot.deadline:%Y-%m-%d %H:%M} UTC"
    if situation.forgets(slot.at):
        return f"missed: it is older than the queue's {situation.history_days} days"
    return None


def _missed(schedule: Schedule, slot: Slot, last: Slot, situation: Situation) -> str | None:
    if not _is_late(slot, situation) or schedule.catch_up is CatchUp.ALL:
        return None
    if schedule.catch_up is CatchUp.LAST and slot is last:
        return None
    return f"missed: no scheduler ran, and catch_up is {schedule.catch_up}"


def _is_late(slot: Slot, situation: Situation) -> bool:
    return situation.now - slot.at > situation.late_after
