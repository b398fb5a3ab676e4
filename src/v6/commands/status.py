"""``v6 status``: is it collecting, and if not, why not."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import typer

from v6.app import App
from v6.commands.command import Call, command

if TYPE_CHECKING:
    from v6.data.ib_request_queue import QueueStats

SILENT_AFTER = timedelta(seconds=60)  # machine time since a worker's last word: it is gone
FAILURES_SHOWN = 5


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="status")(command(status))


async def status(call: Call) -> None:
    """Show the queue in numbers, each worker with its session, and the last failures."""
    app = App(call.settings)
    queue = app.queue(source="cli")
    try:
        stats = await queue.stats()
    finally:
        await queue.close()
    answer = {
        "lake": call.settings.lake,
        "gateway": f"{call.settings.gateway_host}:{call.settings.gateway_port}",
        "queue": _queue(stats),
        "workers": workers(app),
        "failures": _failures(app),
    }
    if call.out.as_json:
        call.out.json(answer)
    else:
        _show(call, answer)


def workers(app: App) -> list[dict[str, Any]]:
    """Each worker's last word; one that has been silent for a minute is gone."""
    from v6.data.worker_state import WorkerStateTable

    found = WorkerStateTable(app.lake, clock=app.clock).latest().collect().to_dicts()
    for row in found:
        silent = app.clock.machine_now() - row["known_at"]
        row["silent_seconds"] = round(silent.total_seconds(), 1)
        if silent > SILENT_AFTER and row["state"] != "stopped":
            row["state"], row["reason"] = "gone", "it has not been heard of for a minute: start `v6 worker`"
        for name in ("waiting", "limits_in_use"):
            row[name] = json.loads(row[name]) if row[name] else {}
    return found


def _queue(stats: QueueStats) -> dict[str, Any]:
    return {
        **{name.lower(): count for name, count in stats.counts.items()},
        "due": stats.due,
        "delayed": stats.delayed,
        "oldest_due_seconds": stats.oldest_due_seconds,
    }


def _failures(app: App) -> list[dict[str, Any]]:
    import polars as pl

    from v6.data.ib_request import REQUESTS
    from v6.data.queue_log import current

    failed = current(app.lake.scan(REQUESTS)).filter(pl.col("status") == "FAILED")
    shown = ("request_id", "request_type", "symbol", "updated_at", "error_category", "error_message")
    return failed.sort("updated_at", descending=True).head(FAILURES_SHOWN).select(shown).collect().to_dicts()


def _show(call: Call, answer: dict[str, Any]) -> None:
    out = call.out
    out.fields({"lake": answer["lake"], "gateway": answer["gateway"], **answer["queue"]})
    out.line("")
    if not answer["workers"]:
        out.line("no worker has worked on this lake: start one with `v6 worker`")
    else:
        columns = ("worker_id", "state", "reason", "in_flight", "account", "gateway", "silent_seconds")
        out.table(columns, [[row[name] for name in columns] for row in answer["workers"]])
    for row in answer["workers"]:
        for reason, count in row["waiting"].items():
            out.line(f"{row['worker_id']}: {count} waiting: {reason}")
    if answer["failures"]:
        shown = ("request_id", "request_type", "symbol", "updated_at", "error_message")
        out.line("")
        out.table(shown, [[row[name] for name in shown] for row in answer["failures"]], title="last failures")
