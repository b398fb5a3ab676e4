"""What each worker last said of itself, and which of them have fallen silent."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from v6.app import App

SILENT_AFTER = timedelta(seconds=60)  # machine time since a worker's last word: it is gone
HEARD_WITHIN = timedelta(days=1)  # machine time; who was silent for longer is left out


def last_words(app: App) -> list[dict[str, Any]]:
    """Each worker's last word of the last day; one that has been silent for a minute is gone."""
    from v6.data.worker_state import WorkerStateTable

    now = app.clock.machine_now()
    found = WorkerStateTable(app.lake, clock=app.clock).latest(since=now - HEARD_WITHIN).collect().to_dicts()
    for row in found:
        silent = now - row["known_at"]
        row["silent_seconds"] = round(max(0.0, silent.total_seconds()), 1)
        if silent > SILENT_AFTER and row["state"] != "stopped":
            last = f"; it last said: {row['reason']}" if row["reason"] else ""
            row["state"], row["reason"] = "gone", f"not heard of for a minute, start `v6 worker`{last}"
        for name in ("waiting", "limits_in_use"):
            row[name] = json.loads(row[name]) if row[name] else {}
    return found
