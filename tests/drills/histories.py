"""Whether the rows of ``ib_requests`` obey the states of docs/requests.md, which is read for the allowed changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from v6.data.ib_request import IBRequest, RequestStatus

PAGE = Path(__file__).parents[2] / "docs" / "requests.md"
SAME_FOR_EVER = ("request_type", "symbol", "priority", "parameters_json", "result_table", "date", "idempotency_key")


@dataclass(frozen=True, slots=True)
class Change:
    """One allowed change of state and what it does to the attempts spent."""

    before: str
    after: str
    attempt: str  # same, + 1, or a number

    def fits(self, before: IBRequest, after: IBRequest) -> bool:
        """Whether two rows that follow each other are such a change."""
        if (self.before, self.after) != (str(before.status), str(after.status)):
            return False
        wanted = {"same": before.attempt, "+ 1": before.attempt + 1}
        return after.attempt == (int(self.attempt) if self.attempt.isdigit() else wanted[self.attempt])


@cache
def allowed_changes() -> tuple[Change, ...]:
    """The table of docs/requests.md."""
    cells = [[c.strip() for c in line.strip("|\n").split("|")] for line in PAGE.read_text().splitlines() if "|" in line]
    states = {str(status) for status in RequestStatus}
    rows = [row for row in cells if len(row) == 4 and row[0] in states]
    return tuple(Change(before, after, attempt) for before, to, _, attempt in rows for after in to.split(" or "))


def faults_of(rows: Sequence[IBRequest]) -> Iterator[str]:
    """What is wrong with one request's rows, given by revision; nothing where all is well."""
    births, later = [r for r in rows if r.revision == 0], [r for r in rows if r.revision > 0]
    if not births:  # a closed day is folded to the last rows of finished requests
        if len(later) != 1 or later[0].status.is_open:
            yield f"its first row is gone: revisions {[r.revision for r in later]}"
        return
    if any(r.status is not RequestStatus.PENDING or r.attempt for r in births):
        yield "it was not born PENDING without an attempt"
    chain = [births[0], *later]
    if [r.revision for r in chain] != list(range(len(chain))):
        yield f"revisions have holes or doubles: {[r.revision for r in chain]}"
    for before, after in pairwise(chain):
        yield from _faults_of_change(before, after)


def _faults_of_change(before: IBRequest, after: IBRequest) -> Iterator[str]:
    step = f"revision {after.revision}, {before.status} → {after.status}"
    if not any(change.fits(before, after) for change in allowed_changes()):
        yield f"{step} with attempt {before.attempt} → {after.attempt}: no such change"
    if after.updated_at < before.updated_at:
        yield f"{step}: it is older than the row before"
    changed = [name for name in SAME_FOR_EVER if getattr(before, name) != getattr(after, name)]
    if changed:
        yield f"{step}: {', '.join(changed)} changed"
    if before.status is after.status is RequestStatus.PROCESSING and "parts" not in after.result_data:
        yield f"{step}: no list of parts in it"
