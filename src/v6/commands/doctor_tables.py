"""``v6 doctor --tables``: the files of every table, what is wrong with them, and their repair after asking."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from v6.app import App
from v6.commands.command import Call
from v6.errors import ExitCode, LakeError, WorkerBusy

if TYPE_CHECKING:
    from v6.data.lake import Lake
    from v6.data.lake_repair import LakeRepair
    from v6.data.table_examination import Examination

QUESTION = "Repair? What is taken away is kept in the lake's folder .damaged. [y/N] "
MOST_NAMED = 20  # requests that lack rows are named up to so many; the file has them all


def doctor_tables(call: Call, names: Sequence[str], *, deep: bool, repair: bool, yes: bool) -> int:
    """Examine, ask, repair, examine again. Exit code 7 while something is damaged. Blocks."""
    from v6.data.lake_repair import LakeRepair, examine_lake

    app = App(call.settings)
    answer: dict[str, Any] = {"tables": [], "repairs": []}
    damaged = []
    for examination in examine_lake(app.lake, names, deep=deep):
        answer["tables"].append(_as_json(examination))
        _show(call, examination)
        if not examination.is_sound:
            damaged.append(examination)
    if damaged and (yes or _agreed(call, repair=repair)):
        _check_nobody_works(app.lake, damaged)
        repairer = LakeRepair(app.lake, app.clock.machine_now())
        for examination in damaged:
            answer["repairs"].append(_repair(call, repairer, examination))
        damaged = [
            again for again in examine_lake(app.lake, [d.table for d in damaged], deep=deep) if not again.is_sound
        ]
        if not call.out.as_json:
            call.out.line(f"kept: {repairer.aside.folder}")
    answer["damaged"] = [examination.table for examination in damaged]
    _end(call, answer)
    return ExitCode.UNHEALTHY if damaged else ExitCode.OK


def _show(call: Call, examination: Examination) -> None:
    if call.out.as_json:
        return
    log = examination.log
    size = f"version {log.version}, {len(log.files):,} files, {examination.rows:,} rows"
    call.out.line(f"{'ok      ' if examination.is_sound else 'DAMAGED '}{examination.table:<20} {size}")
    for fault in examination.faults:
        call.out.line(f"{'':8}{'':<20} → {fault}")


def _as_json(examination: Examination) -> dict[str, Any]:
    return {
        "table": examination.table,
        "version": examination.log.version,
        "files": len(examination.log.files),
        "rows": examination.rows,
        "faults": examination.faults,
    }


def _agreed(call: Call, *, repair: bool) -> bool:
    """Whether a person says yes; nobody is asked where the answer is for a program, or nobody is there."""
    if call.out.as_json and not repair:
        return False
    sys.stderr.write(QUESTION)
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        sys.stderr.write("\n")
    return answer.strip().lower() in {"y", "yes"}


def _check_nobody_works(lake: Lake, damaged: Sequence[Examination]) -> None:
    """The queue is repaired while nobody uses it: whoever folded it before would go on from what is no longer there."""
    from v6.core.worker_lock import living_workers
    from v6.data.ib_request import REQUESTS

    workers = living_workers(lake)
    if workers and any(examination.table == REQUESTS.name for examination in damaged):
        raise WorkerBusy(
            f"the table {REQUESTS.name} is damaged and {', '.join(workers)} is running: stop workers, schedulers and "
            "whoever inserts, then repair"
        )


def _repair(call: Call, repairer: LakeRepair, examination: Examination) -> dict[str, Any]:
    try:
        repair, short = repairer.repair(examination)
    except LakeError as error:
        if not call.out.as_json:
            call.out.line(f"FAILED  {examination.table:<20} {error}")
        return {"table": examination.table, "error": str(error)}
    if not call.out.as_json:
        for line in repair.done:
            call.out.line(f"repair  {examination.table:<20} {line}")
        for lacking in short[:MOST_NAMED]:
            call.out.line(f"LOST    {examination.table:<20} {lacking}")
        if len(short) > MOST_NAMED:
            call.out.line(f"LOST    {examination.table:<20} and {len(short) - MOST_NAMED:,} requests more")
    return {
        "table": examination.table,
        "done": repair.done,
        "rows_found": repair.rows_found,
        "rows_lost": repair.rows_lost,
        "lost": [lacking.as_json() for lacking in short],
    }


def _end(call: Call, answer: dict[str, Any]) -> None:
    if call.out.as_json:
        call.out.json(answer)
    elif answer["damaged"]:
        call.out.line(f"damaged: {', '.join(answer['damaged'])}; `v6 doctor --tables --yes` repairs without asking")
    else:
        call.out.line("every table is whole")
