"""The process that maintains for a worker: ``python -m v6.maintenance.helper``, one round for each line it is given.

It takes its settings from the environment, a line of JSON a round from stdin, and answers with one line of JSON a table
and an empty one at the end. It ends when stdin does, also when the worker was killed; wherever it is, that is harmless.
"""

from __future__ import annotations

import json
import os
import signal
import sys

from v6.clock import Clock
from v6.data.lake import Lake
from v6.maintenance.maintainer import Maintainer, Promises
from v6.settings import load_settings

NICENESS = 5  # the worker goes first, but files must not pile up on a busy machine


def main() -> None:
    """Maintain as asked until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the worker, which closes stdin
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    maintainer = _maintainer()
    for line in sys.stdin:
        for report in maintainer.round(thorough=bool(json.loads(line).get("thorough"))):
            _say(json.dumps(report.as_row()))
        _say("")


def _maintainer() -> Maintainer:
    settings = load_settings().settings
    lake = Lake(settings.lake, flushes=settings.flush_commits)
    return Maintainer(lake, Clock(settings.clock), Promises.of(settings))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
