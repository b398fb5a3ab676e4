"""What becomes of requests that a dead worker left claimed: settled when their rows landed, else put back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from v6.core.landed import landed_parts, landed_rows
from v6.data.delta import Lake, TableSpec
from v6.data.ib_request import IBRequest
from v6.data.outcome import Done, Outcome, SnoozeUntil

PUT_BACK = "put back: the worker that ran it died"


def outcomes_of_left(
    left: Sequence[IBRequest], lake: Lake, result_tables: Mapping[str, TableSpec], now: datetime
) -> dict[str, Outcome]:
    """Done where all rows of a request landed, otherwise due again ``now``; no attempt is spent. Blocks.

    ``result_tables`` gives each request type's table; a request of an unknown type wrote nothing.

    Raises:
        LakeError: a result table cannot be read.
    """
    outcomes: dict[str, Outcome] = {request.request_id: SnoozeUntil(at=now, reason=PUT_BACK) for request in left}
    requests = {request.request_id: request for request in left if request.request_type in result_tables}
    specs = {spec.name: spec for spec in (result_tables[request.request_type] for request in requests.values())}
    for spec in specs.values():
        rows = landed_rows(lake, spec, list(requests))
        for (request_id,), own in rows.group_by("request_id"):
            parts = requests[str(request_id)].result_data.get("parts") or [{}]
            if landed_parts(own) >= len(parts):
                result = {"parts": len(parts), "rows": own.height, "recovered": True}
                outcomes[str(request_id)] = Done(result=result)
    return outcomes
