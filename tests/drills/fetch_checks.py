"""Nothing was fetched again whose rows had landed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator

from tests.drills.lake_state import ON_THE_WAY, Finding, LakeState
from tests.drills.served import Fetch


def claims(state: LakeState) -> Iterator[Finding]:
    """No request was claimed after the last of its rows had landed."""
    for request_id, landed in state.landed.items():
        last = max(landed.values())
        if request_id in state.last and any(since > last for since, _ in state.claims(request_id)):
            yield "refetched", f"{request_id} was claimed again after its rows had landed"


def fetches(state: LakeState) -> Iterator[Finding]:
    """Whenever something was fetched that became rows, a request was at work whose rows had not landed.

    Several requests may ask for one contract: then one of them is enough.
    """
    owners = _owners(state)
    for fetch in state.served.of_kind("quote"):
        yield from _judged(state, fetch, owners.get(fetch.con_id, ()))
    for request_id, request in state.of_type("market_bars"):
        if state.landed.get(request_id):
            for fetch in state.bar_fetches(request):
                yield from _judged(state, fetch, [request_id])


def _owners(state: LakeState) -> dict[int, list[str]]:
    """The requests whose rows are quotes of a contract."""
    found: dict[int, list[str]] = defaultdict(list)
    for request_id, landed in state.landed.items():
        request = state.last.get(request_id)
        if request is not None and request.request_type in ("option_chain", "futures_snapshot"):
            for con_id in landed:
                found[con_id].append(request_id)
    return found


def _judged(state: LakeState, fetch: Fetch, owners: Collection[str]) -> Iterator[Finding]:
    if owners and not any(_wanted_it(state, fetch, request_id) for request_id in owners):
        where = f"{fetch.kind} of {fetch.con_id} at {fetch.at}"
        yield "refetched", f"{where}: the rows of {', '.join(list(owners)[:3])} had landed"


def _wanted_it(state: LakeState, fetch: Fetch, request_id: str) -> bool:
    """Whether the claim that it was fetched in is one that the rows had not landed before, or a moment before."""
    if state.is_folded(request_id):
        return True
    landed = state.landed[request_id]
    at = landed.get(fetch.con_id) or max(landed.values())
    late = ON_THE_WAY * state.clock.speed
    return fetch.at <= at + late and any(
        since <= min(fetch.at, at) and fetch.at <= until + late for since, until in state.claims(request_id)
    )
