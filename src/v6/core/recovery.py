"""What becomes of requests that a dead worker left claimed: settled when their rows landed, else put back.

The order matters. Whoever recovers holds the dead worker's place in the queue first, then fences it from every table,
and only then looks what landed: nothing can land any more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from v6.core.landed import landed_parts, landed_rows
from v6.data.ib_request import IBRequest
from v6.data.lake import Lake
from v6.data.outcome import Cancelled, Crashed, Done, Outcome, SnoozeUntil
from v6.data.table_spec import TableSpec
from v6.data.table_writer import fence, stored_epoch

PUT_BACK = "put back: the worker that ran it died"


@dataclass(frozen=True, kw_only=True, slots=True)
class Left:
    """What a worker left: its claims, those of them that had sent something, and what a crash does to those.

    ``crash_limit`` is how many crashes a request may have had before it runs alone; one more is poison.
    """

    requests: Sequence[IBRequest]
    sent: Collection[str] = ()
    crash_limit: int = 3

    def outcome(self, request: IBRequest, now: datetime) -> Outcome:
        """What becomes of a request whose rows did not land."""
        if request.cancel_reason is not None:
            return Cancelled(reason=request.cancel_reason)
        if request.request_id not in self.sent:
            return SnoozeUntil(at=now, reason=PUT_BACK)
        crashes = request.crashes + 1
        if crashes <= self.crash_limit:
            return Crashed(at=now, reason=f"{PUT_BACK} ({crashes} crashes)" if crashes > 1 else PUT_BACK)
        text = f"poison: the worker died {crashes} times while it ran this, the last time alone; mend the cause, then "
        return Crashed(at=None, reason=text + f"`v6 requests retry {request.request_id}`")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovered:
    """How many claims were settled as landed, and of the rest: put back, of those crashed, poisoned, cancelled."""

    landed: int = 0
    put_back: int = 0
    crashed: int = 0
    poisoned: int = 0
    cancelled: int = 0

    @classmethod
    def of(cls, outcomes: Collection[Outcome]) -> Recovered:
        """Count outcomes."""
        crashes = [outcome for outcome in outcomes if isinstance(outcome, Crashed)]
        poisoned = sum(crash.at is None for crash in crashes)
        snoozed = sum(isinstance(outcome, SnoozeUntil) for outcome in outcomes)
        return cls(
            landed=sum(isinstance(outcome, Done) for outcome in outcomes),
            put_back=snoozed + len(crashes) - poisoned,
            crashed=len(crashes) - poisoned,
            poisoned=poisoned,
            cancelled=sum(isinstance(outcome, Cancelled) for outcome in outcomes),
        )


def outcomes_of_left(
    left: Left, lake: Lake, result_tables: Mapping[str, TableSpec], now: datetime
) -> dict[str, Outcome]:
    """Done where all rows of a request landed, otherwise due again ``now``; no attempt is spent. Blocks.

    ``result_tables`` gives each request type's table; a request of an unknown type wrote nothing.

    Raises:
        LakeError: a result table cannot be read.
    """
    outcomes = {request.request_id: left.outcome(request, now) for request in left.requests}
    requests = {request.request_id: request for request in left.requests if request.request_type in result_tables}
    specs = {spec.name: spec for spec in (result_tables[request.request_type] for request in requests.values())}
    for spec in specs.values():
        rows = landed_rows(lake, spec, list(requests))
        for (request_id,), own in rows.group_by("request_id"):
            parts = requests[str(request_id)].result_data.get("parts") or [{}]
            if landed_parts(own) >= len(parts):
                result = {"parts": len(parts), "rows": own.height, "recovered": True}
                outcomes[str(request_id)] = Done(result=result)
    return outcomes


def last_epoch(lake: Lake, specs: Collection[TableSpec], worker: str) -> int:
    """The last epoch in which a worker wrote to any of the tables. Blocks. Raises LakeError."""
    return max((stored_epoch(lake, spec, worker) for spec in specs), default=0)


def fence_all(lake: Lake, specs: Collection[TableSpec], worker: str, epoch: int) -> None:
    """Fence a worker's earlier epochs from every table, those it has not opened yet included. Blocks.

    Raises:
        LakeError: one could not be fenced; trying again is safe.
    """
    for spec in specs:
        fence(lake, spec, app_id=worker, epoch=epoch)
