"""Random interleavings of two workers, a person and producers on a real table never disagree with a small model.

Workers hold places in epochs, take each other's over, go on unaware of it, and die before or after a commit; days are
folded and files joined in between. ``make fuzz`` runs 500 of 50 steps each; here is a short form.
"""

import asyncio
import os
import random
import shutil
import tempfile
import uuid
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from unittest.mock import patch

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from v6.clock import ManualClock
from v6.data import delta, opened_table, queue_writer
from v6.data.ib_request import REQUESTS, IBRequest
from v6.data.ib_request_queue import IBRequestQueue, NewRequest
from v6.data.outcome import Crashed, Done, FailedBecause, Outcome, RetryAt, SnoozeUntil
from v6.data.queue_state import ClaimLimits
from v6.errors import ErrorCategory, LeaseLost, RequestConflict
from v6.maintenance.maintainer import Maintainer

NOON = datetime(2026, 11, 23, 17, 0, tzinfo=UTC)
LIFETIME = 600
Result = TypeVar("Result")
WORKERS = st.sampled_from(["a", "b"])
EVERYBODY = st.sampled_from(["a", "b", ""])
RUNS = int(os.environ.get("FUZZ_RUNS", "12"))
STEPS = int(os.environ.get("FUZZ_STEPS", "25"))


class Killed(Exception):
    """The process that was committing is no more."""


@contextmanager
def around_the_next_commit(before: Callable[[], None], after: Callable[[], None]) -> Iterator[None]:
    """Do something immediately before and after the next commit of a change of state."""
    real, done = delta.append, False

    def append(*arguments: Any, **keywords: Any) -> int:
        nonlocal done
        if done:
            return real(*arguments, **keywords)
        done = True
        before()
        version = real(*arguments, **keywords)
        after()
        return version

    with patch.object(queue_writer, "append", append):
        yield


def nothing() -> None:
    return


def die() -> None:
    raise Killed


class ModelledRequest:
    """What the model knows of one request."""

    def __init__(self, priority: int, created: datetime, key: str | None) -> None:
        self.priority, self.created, self.key = priority, created, key
        self.status, self.worker, self.attempt, self.crashes = "PENDING", "", 0, 0
        self.deadline: datetime | None = None
        self.not_before: datetime | None = None
        self.cancel_asked = False
        self.changed = created

    def holds(self, now: datetime) -> bool:
        if self.status in ("PENDING", "PROCESSING"):
            return True
        return self.status == "SUCCESS" and now - self.changed < timedelta(seconds=LIFETIME)


class QueueMachine(RuleBasedStateMachine):
    """Drives three queue objects on one table and the model beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        seeded = random.Random(0)  # the same ids in every replay, else hypothesis cannot shrink
        self.ids = patch("uuid.uuid4", lambda: uuid.UUID(int=seeded.getrandbits(128), version=4))
        self.ids.start()
        self.short_lives = patch.object(opened_table, "OBJECT_COMMITS", 6)  # so that table objects are renewed in a run
        self.short_lives.start()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock(NOON)
        self.queues = {name: self.open(name) for name in ("a", "b", "")}
        self.model: dict[str, ModelledRequest] = {}
        self.epochs = {"a": 0, "b": 0}
        self.has_place = {"a": False, "b": False}
        self.lost = {"a": False, "b": False}  # another holds the place, and this one does not know

    def open(self, name: str) -> IBRequestQueue:
        return IBRequestQueue(self.folder, clock=self.clock, worker_id=name, check=NewRequest.checked)

    def run(self, call: Coroutine[Any, Any, Result]) -> Result:
        return self.loop.run_until_complete(call)

    def teardown(self) -> None:
        for q in self.queues.values():
            self.run(q.close())
        self.ids.stop()
        self.short_lives.stop()
        self.loop.close()
        shutil.rmtree(self.folder)

    @rule(name=EVERYBODY, priority=st.integers(1, 3), count=st.integers(1, 3))
    def insert(self, name: str, priority: int, count: int) -> None:
        new = [NewRequest(request_type="t", symbol="SPY", priority=priority) for _ in range(count)]
        for request_id in self.run(self.queues[name].insert_many(new)):
            assert request_id not in self.model
            self.model[request_id] = ModelledRequest(priority, self.clock.now(), None)

    @rule(name=EVERYBODY, key=st.sampled_from(["k", "l"]))
    def insert_with_key(self, name: str, key: str) -> None:
        now = self.clock.now()
        holders = [i for i, r in self.model.items() if r.key == key and r.holds(now)]
        insert = self.queues[name].insert(request_type="t", symbol="SPY", priority=2, idempotency_key=key)
        request_id = self.run(insert)
        if holders:
            assert request_id in holders
        else:
            assert request_id not in self.model
            self.model[request_id] = ModelledRequest(2, now, key)

    @rule(name=EVERYBODY, seconds=st.integers(0, 40))
    def insert_with_deadline(self, name: str, seconds: int) -> None:
        deadline = self.clock.now() + timedelta(seconds=seconds)
        request_id = self.run(self.queues[name].insert(request_type="t", symbol="SPY", priority=2, deadline=deadline))
        self.model[request_id] = ModelledRequest(2, self.clock.now(), None)
        self.model[request_id].deadline = deadline

    def expire(self) -> None:
        """What every turn does first."""
        now = self.clock.now()
        for r in self.model.values():
            if r.status == "PENDING" and r.deadline is not None and r.deadline <= now:
                r.status, r.changed = "FAILED", now

    def claim_in_model(self, name: str, limit: int) -> list[str]:
        self.expire()
        now = self.clock.now()
        due = [
            (r.priority, r.created, i)
            for i, r in self.model.items()
            if r.status == "PENDING" and (r.not_before is None or r.not_before <= now)
        ]
        chosen = [i for *_, i in sorted(due)[:limit]]
        for i in chosen:
            row = self.model[i]
            row.status, row.worker, row.not_before, row.changed = "PROCESSING", name, None, now
        return chosen

    @rule(name=WORKERS, limit=st.integers(1, 4))
    def claim(self, name: str, limit: int) -> None:
        if self.lost[name]:
            self.refused(self.queues[name].claim(limit))
            return
        claimed = self.run(self.queues[name].claim(limit))
        assert [c.request_id for c in claimed] == self.claim_in_model(name, limit)

    def refused(self, call: Coroutine[Any, Any, Any]) -> None:
        """What a worker does that lost its place is refused whole."""
        try:
            self.run(call)
        except LeaseLost:
            return
        raise AssertionError("a worker without its place wrote")

    @rule(limit=st.integers(1, 4))
    def two_claim_from_one_snapshot(self, limit: int) -> None:
        """The rival commits between this worker's decision and its commit."""
        if any(self.lost.values()):
            return
        rival, stolen = self.queues["b"], list[str]()

        def claim_first() -> None:
            turn = rival._turn({}, ClaimLimits(limit=limit))
            stolen.extend(c.request_id for c in turn.claimed)

        with around_the_next_commit(claim_first, nothing):
            claimed = self.run(self.queues["a"].claim(limit))
        if stolen:
            assert stolen == self.claim_in_model("b", limit)
        assert [c.request_id for c in claimed] == self.claim_in_model("a", limit)

    @rule(name=WORKERS, limit=st.integers(1, 4), lands=st.booleans())
    def die_in_a_claim(self, name: str, limit: int, lands: bool) -> None:
        if self.lost[name]:
            return
        with around_the_next_commit(nothing if lands else die, die if lands else nothing):
            try:
                self.run(self.queues[name].claim(limit))
            except Killed:
                if lands:
                    self.claim_in_model(name, limit)
        self.start(name)

    @rule(name=WORKERS, lands=st.booleans())
    def die_in_a_settlement(self, name: str, lands: bool) -> None:
        mine = self.claims_of(name)
        if self.lost[name] or not mine:
            return
        with around_the_next_commit(nothing if lands else die, die if lands else nothing):
            try:
                self.run(self.queues[name].settle(dict.fromkeys(mine, Done())))
            except Killed:
                if lands:
                    self.expire()
                    self.settle_in_model(mine, "done", None)
        self.start(name)

    def claims_of(self, name: str) -> list[str]:
        return [i for i, r in self.model.items() if r.status == "PROCESSING" and r.worker == name]

    @rule(name=WORKERS)
    def start(self, name: str) -> None:
        """A worker's process begins anew and takes its place; what it left claimed it recovers."""
        self.restart_one(name)
        epoch = self.run(self.queues[name].take_place())
        assert epoch > self.epochs[name]
        self.epochs[name], self.has_place[name], self.lost[name] = epoch, True, False
        self.recover(self.queues[name], name, epoch)

    @rule(name=WORKERS)
    def take_over(self, name: str) -> None:
        """The other one's lease has run out, as this one sees it."""
        other = "b" if name == "a" else "a"
        if self.lost[name] or not self.claims_of(other):
            return
        claimants = self.run(self.queues[name].claimants())
        assert claimants == {other: self.epochs[other]}
        stale = self.epochs[other]
        epoch = self.run(self.queues[name].take_over_place(other, seen=stale))
        assert epoch == stale + 1
        assert self.run(self.queues[name].take_over_place(other, seen=stale)) is None
        assert self.run(self.queues[name].settle_left(other, stale, {})) is None
        self.lost[other] = self.has_place[other]  # who never took a place holds none that can be lost
        self.epochs[other] = epoch
        self.recover(self.queues[name], other, epoch)

    def recover(self, q: IBRequestQueue, worker: str, epoch: int) -> None:
        """Of what was left the first landed, the second crashed, the rest had sent nothing."""
        left = self.claims_of(worker)
        assert {r.request_id for r in self.run(q.unfinished(worker))} == set(left)
        now = self.clock.now()
        fates: list[Outcome] = [Done(), Crashed(at=now, reason="r"), SnoozeUntil(at=now, reason="r")]
        outcomes = {i: fates[min(n, 2)] for n, i in enumerate(sorted(left))}
        turn = self.run(q.settle_left(worker, epoch, outcomes))
        assert turn is not None
        assert turn.settled == set(left)
        for i, outcome in outcomes.items():
            kind = {Done: "done", Crashed: "crash"}.get(type(outcome), "snooze")
            self.settle_in_model([i], kind, now)

    @rule(days=st.integers(0, 1))
    def maintain(self, days: int) -> None:
        """Join files and fold the days that are closed, beside the writers."""
        self.clock.step(timedelta(days=days))
        list(Maintainer(self.queues[""].lake, self.clock, specs=[REQUESTS]).round(thorough=True))

    @rule(name=WORKERS, kind=st.sampled_from(["done", "retry", "snooze", "fail"]), seconds=st.integers(0, 60))
    def settle(self, name: str, kind: str, seconds: int) -> None:
        mine = {i for i, r in self.model.items() if r.status == "PROCESSING" and r.worker == name}
        at = self.clock.now() + timedelta(seconds=seconds)
        outcomes: dict[str, Outcome] = {
            "done": Done(),
            "retry": RetryAt(at=at, message="m", category=ErrorCategory.TIMEOUT),
            "snooze": SnoozeUntil(at=at, reason="r"),
            "fail": FailedBecause(message="m", category=ErrorCategory.CONTRACT),
        }
        settling = self.queues[name].settle(dict.fromkeys(self.model, outcomes[kind]))
        if self.lost[name]:
            self.refused(settling)
            return
        turn = self.run(settling)
        assert turn.settled == mine
        if self.model:
            self.expire()
        self.settle_in_model(mine, kind, at)

    def settle_in_model(self, ids: Iterable[str], kind: str, at: datetime | None) -> None:
        for i in ids:
            row = self.model[i]
            is_cancelled = row.cancel_asked and kind in ("retry", "snooze", "crash")
            row.status = "CANCELLED" if is_cancelled else {"done": "SUCCESS", "fail": "FAILED"}.get(kind, "PENDING")
            row.attempt += kind not in ("snooze", "crash") and not is_cancelled
            row.crashes += kind == "crash" and not is_cancelled
            row.cancel_asked = False
            row.not_before = at if row.status == "PENDING" else None
            row.changed = self.clock.now()

    @precondition(lambda self: self.model)
    @rule(data=st.data(), replay=st.booleans())
    def cancel_or_replay(self, data: st.DataObject, replay: bool) -> None:
        request_id = data.draw(st.sampled_from(list(self.model)))
        row, q = self.model[request_id], self.queues[""]
        rivals = [r for r in self.model.values() if row.key and r.key == row.key and r is not row]
        allowed = row.status in (("FAILED",) if replay else ("PENDING", "PROCESSING"))
        is_blocked = any(r.status in ("PENDING", "PROCESSING") for r in rivals)
        allowed = allowed and (row.status == "PROCESSING" or not is_blocked)
        try:
            changed: IBRequest = self.run(q.retry(request_id) if replay else q.cancel(request_id))
        except RequestConflict:
            assert not allowed
            return
        assert allowed
        row.cancel_asked = row.status == "PROCESSING"
        assert (changed.cancel_reason is not None) == row.cancel_asked
        if row.cancel_asked:
            return
        row.status = str(changed.status)
        row.changed, row.not_before = self.clock.now(), None
        if replay:
            row.attempt, row.crashes, row.deadline = 0, 0, None

    @rule(seconds=st.sampled_from([1, 30, 601]))
    def pass_time(self, seconds: int) -> None:
        self.clock.step(timedelta(seconds=seconds))

    @rule(name=EVERYBODY)
    def refresh_one(self, name: str) -> None:
        self.run(self.queues[name].refresh())

    def restart_one(self, name: str) -> None:
        self.run(self.queues[name].close())
        self.queues[name] = self.open(name)

    @invariant()
    def the_table_says_what_the_model_says(self) -> None:
        if not self.model:
            return
        reader = self.queues[""]
        rows = {r["request_id"]: r for r in reader.requests().collect().iter_rows(named=True)}
        assert {i: (r["status"], r["attempt"], r["crashes"]) for i, r in rows.items()} == {
            i: (r.status, r.attempt, r.crashes) for i, r in self.model.items()
        }
        assert reader.lake.scan(REQUESTS).select("request_id", "revision").collect().is_unique().all()


TestQueueAgreesWithItsModel = QueueMachine.TestCase
TestQueueAgreesWithItsModel.settings = settings(
    max_examples=RUNS,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize="FUZZ_RUNS" not in os.environ,  # the short form is the same every day; `make fuzz` looks for new ground
)
