"""Is it collecting, is it complete, and if not, why not."""

from typing import Any

from v6.commands.verdict import Verdict, judge

EMPTY: dict[str, Any] = {"pending": 0, "processing": 0, "success": 0, "failed": 0, "cancelled": 0}
EMPTY |= {"due": 0, "delayed": 0, "oldest_due_seconds": None}
QUIET = {**EMPTY, "success": 12}
READY: dict[str, Any] = {"worker_id": "worker", "state": "ready", "reason": None, "waiting": {}}
WHOLE = {"symbol": "SPY", "planned": 200, "contracts": 200, "lacking": 0}


def verdict(**changes: Any) -> Verdict:
    return judge(**{"queue": QUIET, "workers": [READY], "failures": 0, "chains": [WHOLE], **changes})


def test_a_ready_worker_with_nothing_left_is_collecting_and_complete() -> None:
    assert verdict() == Verdict(collecting=True, not_collecting_because=(), complete=True, incomplete_because=())


def test_without_a_worker_it_is_not_collecting_and_says_what_to_start() -> None:
    assert "start `v6 worker`" in verdict(workers=[]).not_collecting_because[0]


def test_a_worker_that_waits_says_why() -> None:
    held = {**READY, "state": "held", "reason": "another session of this user has the market data"}
    found = verdict(workers=[held])
    assert not found.collecting
    assert found.not_collecting_because == ("worker worker is held: another session of this user has the market data",)


def test_of_two_workers_one_that_is_ready_is_enough() -> None:
    assert verdict(workers=[{**READY, "worker_id": "b", "state": "stopped"}, READY]).collecting


def test_what_waits_fails_or_is_short_makes_it_incomplete() -> None:
    queue = {**QUIET, "due": 3, "delayed": 1, "processing": 2, "oldest_due_seconds": 40.4}
    short = {"symbol": "QQQ", "planned": 200, "contracts": 150, "lacking": 4}
    found = verdict(queue=queue, failures=2, chains=[WHOLE, short])
    assert found.incomplete_because == (
        "3 requests are due, the oldest for 40 s",
        "1 requests wait for their time to try again",
        "2 requests are being worked on",
        "2 requests failed in the last two days: `v6 requests list --status failed`",
        "the last QQQ chain has 150 of 200 contracts, 4 of them lack something (column `missing`)",
    )


def test_what_is_held_back_is_named_with_its_reason() -> None:
    worker = {**READY, "state": "degraded", "waiting": {"session degraded: 2105: HMDS": 3}}
    found = verdict(queue={**QUIET, "due": 3, "oldest_due_seconds": 5.0}, workers=[worker])
    assert found.incomplete_because[-1] == "3 of these are held back: session degraded: 2105: HMDS"


def test_a_lake_of_which_nothing_was_asked_is_not_complete() -> None:
    (reason,) = verdict(queue=EMPTY).incomplete_because
    assert "nothing has been asked" in reason
    assert "v6 scheduler" in reason
