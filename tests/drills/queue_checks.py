"""What must hold of the requests: their histories, their ends, and as many rows as they say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

import polars as pl
from tests.drills.histories import faults_of
from tests.drills.lake_state import RESULTS, Finding, LakeState
from tests.drills.plan import Planned
from tests.drills.served import BAR_FIELDS

from v6.data.contracts import CONTRACTS
from v6.data.ib_request import RequestStatus
from v6.data.market_bars import MARKET_BARS
from v6.data.table_spec import TableSpec


def histories(state: LakeState) -> Iterator[Finding]:
    """Rows obey the states; SUCCESS comes once."""
    for request_id, rows in state.histories.items():
        yield from (("bad_histories", f"{request_id}: {fault}") for fault in faults_of(rows))
        if sum(row.status is RequestStatus.SUCCESS for row in rows) > 1:
            yield "doubled", f"{request_id} ended SUCCESS more than once"


def ends(state: LakeState) -> Iterator[Finding]:
    """Every request ended: SUCCESS, or FAILED where the gateway refused it."""
    for request_id, request in state.last.items():
        if request.status.is_open:
            yield "unfinished", f"{request_id} is {request.status}: {request.error_message}"
        elif request.status is RequestStatus.FAILED and not _was_refused(state, request_id):
            yield "wrongly_failed", f"{request_id}: {request.error_message}"


def _was_refused(state: LakeState, request_id: str) -> bool:
    """Whether the gateway sent its error code while the request ran; of a month it does not list, no code comes."""
    request, spans = state.last[request_id], state.claims(request_id)
    if state.is_folded(request_id):
        spans = [(request.created_at, request.updated_at)]
    if request.error_code == 200 and "no month" in (request.error_message or ""):
        return True
    refusals = [at for at, code in state.served.refusals if code == request.error_code]
    return any(since <= at <= until for at in refusals for since, until in spans)


def planned(
    state: LakeState, plan: Sequence[Planned], acknowledged: Mapping[str, Collection[str]]
) -> Iterator[Finding]:
    """Every planned request is there once, and every one that was acknowledged under the id that was given."""
    by_key: dict[str, list[str]] = defaultdict(list)
    for request_id, request in state.last.items():
        by_key[request.idempotency_key or ""].append(request_id)
    for wanted in plan:
        ids = by_key[wanted.key]
        if not ids:
            yield "lost", f"{wanted.key} was never inserted"
        if len(ids) > 1 and (wanted.slot or not wanted.refused):  # FAILED frees a key that is no slot's
            yield "doubled", f"{wanted.key} has the requests {ids}"
        ended = {str(state.last[request_id].status) for request_id in ids}
        if ended - {"FAILED" if wanted.refused else "SUCCESS"}:
            yield "wrongly_failed", f"{wanted.key} ended {ended}"
    for key, given in acknowledged.items():
        if set(given) - state.last.keys():
            yield "lost", f"{key} was acknowledged as {set(given)} and is not there"


def rows(state: LakeState) -> Iterator[Finding]:
    """No row twice, none of something else than a request, and of each request as many as it says."""
    for spec in (*RESULTS, CONTRACTS):
        key = [*spec.key, *BAR_FIELDS, "is_final"] if spec is MARKET_BARS else list(spec.key)
        twice = state.rows(spec).group_by(key).len().filter(pl.col("len") > 1)
        yield from (("doubled", f"{spec.name}: {row}") for row in twice.iter_rows(named=True))
    for spec in RESULTS:
        yield from _counts(state, spec)


def _counts(state: LakeState, spec: TableSpec) -> Iterator[Finding]:
    counts = dict(state.rows(spec)["request_id"].value_counts().iter_rows())
    for request_id in counts.keys() - state.last.keys():
        yield "doubled", f"{spec.name} has rows of {request_id}, which is no request"
    for request_id, request in state.last.items():
        if request.result_table != spec.name:
            continue
        there = counts.get(request_id, 0)
        said = int(request.result_data.get("rows", 0)) if request.status is RequestStatus.SUCCESS else 0
        if there != said:
            kind = "lost" if there < said else "doubled"
            yield kind, f"{spec.name}: {request_id} is {request.status}, {there} of {said} rows are there"
