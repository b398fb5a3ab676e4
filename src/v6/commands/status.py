"""``v6 status``: is it collecting, and if not, why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import typer

from v6.app import App
from v6.commands.command import Call, command
from v6.commands.request_waits import longest_waits
from v6.commands.verdict import judge
from v6.commands.worker_words import last_words

if TYPE_CHECKING:
    from v6.data.ib_request_queue import QueueStats

FAILURES_WITHIN = timedelta(days=2)
FAILURES_SHOWN = 5


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="status")(command(status))


async def status(call: Call) -> None:
    """Is it collecting, is it complete, and if not, why not: with the queue, each worker and the last failures."""
    app = App(call.settings)
    queue = app.queue(source="cli")
    try:
        stats = await queue.stats()
    finally:
        await queue.close()
    counts, found, failed = _queue(stats), last_words(app), _failures(app)
    answer = {
        "lake": call.settings.lake,
        "gateway": f"{call.settings.gateway_host}:{call.settings.gateway_port}",
        **asdict(judge(queue=counts, workers=found, failures=len(failed), chains=_chains(app))),
        "queue": counts,
        "workers": found,
        "failures": failed[:FAILURES_SHOWN],
    }
    if call.out.as_json:
        call.out.json(answer)
    else:
        _show(call, answer)


def _queue(stats: QueueStats) -> dict[str, Any]:
    return {
        **{name.lower(): count for name, count in stats.counts.items()},
        "due": stats.due,
        "delayed": stats.delayed,
        "oldest_due_seconds": stats.oldest_due_seconds,
    }


def _failures(app: App) -> list[dict[str, Any]]:
    """Those of the requests made in the last two days that failed, the last first."""
    import polars as pl

    from v6.data.ib_request import REQUESTS
    from v6.data.queue_log import current

    since = (app.clock.now() - FAILURES_WITHIN).date()
    failed = current(app.lake.scan(REQUESTS).filter(pl.col("date") >= since)).filter(pl.col("status") == "FAILED")
    shown = ("request_id", "request_type", "symbol", "updated_at", "error_category", "error_message")
    return failed.sort("updated_at", descending=True).select(shown).collect().to_dicts()


def _chains(app: App) -> list[dict[str, Any]]:
    from v6.data.option_snapshots import OptionSnapshotsTable

    return OptionSnapshotsTable(app.lake, clock=app.clock).last_cycles().to_dicts()


def _show(call: Call, answer: dict[str, Any]) -> None:
    out = call.out
    out.line(f"collecting  {_said(answer['collecting'], answer['not_collecting_because'])}")
    out.line(f"complete    {_said(answer['complete'], answer['incomplete_because'])}")
    out.line("")
    out.fields({"lake": answer["lake"], "gateway": answer["gateway"], **answer["queue"]})
    if answer["workers"]:
        out.line("")
        columns = ("worker_id", "state", "in_flight", "account", "gateway", "silent_seconds", "reason")
        out.table(columns, [[row[name] for name in columns] for row in answer["workers"]])
    if waits := longest_waits(answer["workers"]):
        names = ("reason", "requests", "steps", "waited_seconds")
        out.line("")
        out.table(names, [[wait[name] for name in names] for wait in waits], title="waits")
    if answer["failures"]:
        shown = ("request_id", "request_type", "symbol", "updated_at", "error_message")
        out.line("")
        out.table(shown, [[row[name] for name in shown] for row in answer["failures"]], title="last failures")


def _said(answer: bool, reasons: Sequence[str]) -> str:
    return "yes" if answer else "no: " + "\n            ".join(reasons)
