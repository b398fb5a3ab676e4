"""Stops a process again and again until it is gone."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def environment() -> dict[str, str]:
    """This process's, without settings of v6."""
    return {name: text for name, text in os.environ.items() if not name.startswith("V6_")}


def born_holding(command: Sequence[str], cwd: Path | None = None) -> subprocess.Popen[str]:
    """A process to which signals wait from its birth on: before its first line it could do nothing about them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=cwd, env=environment(), stdout=pipe, stderr=pipe, text=True)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def storm(process: subprocess.Popen[str], *, seconds: float, pause: float = 0.002) -> tuple[int, str]:
    """Send SIGTERM and SIGINT in turn until it has ended: how many were sent, and what it said on stderr."""
    sent = 0
    for number in itertools.cycle(SIGNALS):
        with suppress(subprocess.TimeoutExpired):
            process.wait(pause)
            break
        process.send_signal(number)
        sent += 1
        if sent * pause > seconds:
            process.kill()
    _, said = process.communicate(timeout=seconds)
    return sent, said
