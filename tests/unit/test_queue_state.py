"""The folded queue of a process that lives for months: what has ended leaves only its id behind."""

import pickle
import random
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

from v6.data.ib_request import IBRequest, RequestStatus
from v6.data.queue_state import ClaimLimits, QueueState

NOON = datetime(2026, 11, 23, 17, 0, tzinfo=UTC)
ENDED = 40_000
ID_BYTES = 12
PER_ENDED_REQUEST = 50  # bytes at most: an id, and what gathers until it is worth going through the heaps


def request(seeded: random.Random, at: datetime) -> IBRequest:
    return IBRequest(
        request_id=str(uuid.UUID(int=seeded.getrandbits(128), version=4)),
        revision=0,
        request_type="option_chain",
        symbol="SPY",
        priority=2,
        status=RequestStatus.PENDING,
        parameters_json="{}",
        result_table="",
        created_at=at,
        updated_at=at,
        date=at.date(),
        not_before=at + timedelta(seconds=seeded.randrange(2)) if seeded.random() < 0.2 else None,
        deadline=at + timedelta(days=900) if seeded.random() < 0.2 else None,
    )


def test_who_only_looks_on_keeps_twelve_bytes_of_what_has_ended_and_the_order_of_what_has_not() -> None:
    state, seeded = QueueState(), random.Random(1)
    waiting = [request(seeded, NOON + timedelta(seconds=n)) for n in range(5)]
    for row in waiting:
        state.fold(row)
    for n in range(ENDED):  # others claim and settle them; this one never asks what is due
        row = request(seeded, NOON + timedelta(minutes=n))
        claimed = row.next(RequestStatus.PROCESSING, now=row.created_at, worker_id="w")
        for each in (row, claimed, claimed.next(RequestStatus.SUCCESS, now=row.created_at)):
            state.fold(each)
    assert ENDED * ID_BYTES < len(pickle.dumps(state)) < ENDED * PER_ENDED_REQUEST
    due = state.due(ClaimLimits(limit=50), NOON + timedelta(days=1))
    assert [row.request_id for row in due] == [row.request_id for row in waiting]


def test_requests_that_expire_together_are_not_compared_with_each_other() -> None:
    state, seeded = QueueState(), random.Random(2)
    rows = [replace(request(seeded, NOON), deadline=NOON) for _ in range(3)]
    for row in rows:
        state.fold(row)
    with patch.object(IBRequest, "__eq__", side_effect=AssertionError("every one with every other")):
        assert len(state.expired(NOON)) == len(rows)
        assert len(state.expired(NOON)) == len(rows), "they are until they are settled"
