"""Random interleavings of two workers, a person and producers on a real table never disagree with a small model."""

import asyncio
import random
import shutil
import tempfile
import uuid
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from unittest.mock import patch

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from v6.clock import ManualClock
from v6.data.ib_request import REQUESTS, IBRequest
from v6.data.ib_request_queue import IBRequestQueue, NewRequest
from v6.data.outcome import Done, FailedBecause, Outcome, RetryAt, SnoozeUntil
from v6.errors import ErrorCategory, RequestConflict

NOON = datetime(2026, 11, 23, 17, 0, tzinfo=UTC)
LIFETIME = 600
Result = TypeVar("Result")
WORKERS = st.sampled_from(["a", "b"])


class ModelledRequest:
    """What the model knows of one request."""

    def __init__(self, priority: int, created: datetime, key: str | None) -> None:
        self.priority, self.created, self.key = priority, created, key
        self.status, self.worker, self.attempt = "PENDING", "", 0
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
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock(NOON)
        self.queues = {name: self.open(name) for name in ("a", "b", "")}
        self.model: dict[str, ModelledRequest] = {}

    def open(self, name: str) -> IBRequestQueue:
        return IBRequestQueue(self.folder, clock=self.clock, worker_id=name, check=NewRequest.checked)

    def run(self, call: Coroutine[Any, Any, Result]) -> Result:
        return self.loop.run_until_complete(call)

    def teardown(self) -> None:
        for q in self.queues.values():
            self.run(q.close())
        self.ids.stop()
        self.loop.close()
        shutil.rmtree(self.folder)

    @rule(name=st.sampled_from(["a", "b", ""]), priority=st.integers(1, 3), count=st.integers(1, 3))
    def insert(self, name: str, priority: int, count: int) -> None:
        new = [NewRequest(request_type="t", symbol="SPY", priority=priority) for _ in range(count)]
        for request_id in self.run(self.queues[name].insert_many(new)):
            assert request_id not in self.model
            self.model[request_id] = ModelledRequest(priority, self.clock.now(), None)

    @rule(name=st.sampled_from(["a", "b", ""]), key=st.sampled_from(["k", "l"]))
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

    @rule(name=WORKERS, limit=st.integers(1, 4))
    def claim(self, name: str, limit: int) -> None:
        now = self.clock.now()
        due = [
            (r.priority, r.created, i)
            for i, r in self.model.items()
            if r.status == "PENDING" and (r.not_before is None or r.not_before <= now)
        ]
        claimed = self.run(self.queues[name].claim(limit))
        assert [c.request_id for c in claimed] == [i for *_, i in sorted(due)[:limit]]
        for c in claimed:
            row = self.model[c.request_id]
            row.status, row.worker, row.not_before, row.changed = "PROCESSING", name, None, now

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
        turn = self.run(self.queues[name].settle(dict.fromkeys(self.model, outcomes[kind])))
        assert turn.settled == mine
        for i in mine:
            row = self.model[i]
            is_cancelled = row.cancel_asked and kind in ("retry", "snooze")
            row.status = "CANCELLED" if is_cancelled else {"done": "SUCCESS", "fail": "FAILED"}.get(kind, "PENDING")
            row.attempt += kind != "snooze" and not is_cancelled
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
        row.attempt = 0 if replay else row.attempt

    @rule(seconds=st.sampled_from([1, 30, 601]))
    def pass_time(self, seconds: int) -> None:
        self.clock.step(timedelta(seconds=seconds))

    @rule(name=st.sampled_from(["a", "b", ""]))
    def refresh_one(self, name: str) -> None:
        self.run(self.queues[name].refresh())

    @rule(name=st.sampled_from(["a", "b", ""]))
    def restart_one(self, name: str) -> None:
        self.run(self.queues[name].close())
        self.queues[name] = self.open(name)

    @invariant()
    def the_table_says_what_the_model_says(self) -> None:
        if not self.model:
            return
        reader = self.queues[""]
        rows = {r["request_id"]: r for r in reader.requests().collect().iter_rows(named=True)}
        assert {i: (r["status"], r["attempt"]) for i, r in rows.items()} == {
            i: (r.status, r.attempt) for i, r in self.model.items()
        }
        assert reader.lake.scan(REQUESTS).select("request_id", "revision").collect().is_unique().all()


TestQueueAgreesWithItsModel = QueueMachine.TestCase
TestQueueAgreesWithItsModel.settings = settings(
    max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
