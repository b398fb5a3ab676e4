"""Is it collecting, is it complete, and if not, why not: decided from what queue, workers and chains say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WORKING = frozenset({"ready", "degraded"})  # of the session's states, those in which rows come in
STATES = ("pending", "processing", "success", "failed", "cancelled")  # of the queue's counts

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Two answers, and for each that is no the reasons, one line each."""

    collecting: bool
    not_collecting_because: tuple[str, ...]
    complete: bool
    incomplete_because: tuple[str, ...]


def judge(*, queue: Row, workers: Sequence[Row], failures: int, chains: Sequence[Row]) -> Verdict:
    """The answers.

    ``queue`` has counts by state, due, delayed and oldest_due_seconds; ``workers`` each worker's last word; failures
    are those of the last two days; ``chains`` each symbol's last cycle: contracts planned, there and lacking something.
    """
    idle = tuple(_why_idle(worker) for worker in workers if worker["state"] not in WORKING)
    collecting = any(worker["state"] in WORKING for worker in workers)
    short = [_short(chain) for chain in chains if _is_short(chain)]
    missing = (*_unasked(queue), *_unfinished(queue), *_failed(failures), *short)
    waiting = tuple(f"{count} of {reason}" for worker in workers for reason, count in _waits(worker))
    return Verdict(
        collecting=collecting,
        not_collecting_because=() if collecting else idle or ("no worker has worked on this lake: start `v6 worker`",),
        complete=not missing,
        incomplete_because=(*missing, *waiting) if missing else (),
    )


def _why_idle(worker: Row) -> str:
    return (
        f"worker {worker['worker_id']} is {worker['state']}{': ' if worker['reason'] else ''}{worker['reason'] or ''}"
    )


def _waits(worker: Row) -> list[tuple[str, int]]:
    return [(f"these are held back: {reason}", count) for reason, count in worker["waiting"].items()]


def _unasked(queue: Row) -> list[str]:
    asked = any(queue[state] for state in STATES)
    return [] if asked else ["nothing has been asked of this lake yet: `v6 submit`, or `v6 scheduler` for what is due"]


def _unfinished(queue: Row) -> list[str]:
    found = []
    if queue["due"]:
        found.append(f"{queue['due']:,} requests are due, the oldest for {queue['oldest_due_seconds'] or 0:,.0f} s")
    if queue["delayed"]:
        found.append(f"{queue['delayed']:,} requests wait for their time to try again")
    if queue["processing"]:
        found.append(f"{queue['processing']:,} requests are being worked on")
    return found


def _failed(failures: int) -> list[str]:
    return (
        [f"{failures:,} requests failed in the last two days: `v6 requests list --status failed`"] if failures else []
    )


def _is_short(chain: Row) -> bool:
    return bool(chain["contracts"] < chain["planned"] or chain["lacking"])


def _short(chain: Row) -> str:
    text = f"the last {chain['symbol']} chain has {chain['contracts']:,} of {chain['planned']:,} contracts"
    return f"{text}, {chain['lacking']:,} of them lack something (column `missing`)" if chain["lacking"] else text
