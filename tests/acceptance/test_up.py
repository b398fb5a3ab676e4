"""``v6 up`` with its real daemons: one that falls is started again, all end in order, and none outlives a kill -9."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

BARE = {name: value for name, value in os.environ.items() if not name.startswith("V6_")}
DAEMONS = ["gateway", "worker", "scheduler", "freshness"]
SECONDS = 240


def free_port() -> int:
    """One below those that the system gives away by itself, which another process may get at any moment."""
    for port in random.Random().sample(range(10_000, 30_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("none of a hundred ports is free")


class Up:
    """The supervisor and what its log says, line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def events(self) -> Iterator[dict[str, Any]]:
        """The supervisor's own events; its daemons' lines begin with their names."""
        assert self.process.stderr is not None
        return (json.loads(line) for line in self.process.stderr if line.startswith("{"))

    def until(self, name: str, daemon: str) -> dict[str, Any]:
        return next(event for event in self.events() if (event["event"], event.get("daemon")) == (name, daemon))

    def started(self) -> dict[str, int]:
        """The process of each daemon, once all have been started."""
        return {daemon: self.until("daemon.started", daemon)["pid"] for daemon in DAEMONS}


@contextmanager
def running(folder: Path) -> Iterator[Up]:
    env = {**BARE, "V6_LAKE": str(folder / "lake"), "V6_GATEWAY_PORT": str(free_port()), "V6_LOG_FORMAT": "json"}
    command = [sys.executable, "-m", "v6", "up", "--simulated", "--now", "2026-11-24T15:00:00Z"]
    with subprocess.Popen(command, env=env, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Up(process)
        finally:
            if process.poll() is None:
                process.terminate()


def ended(pids: list[int], signal_it: Callable[[], None]) -> bool:
    """Whether all of these processes end after what is done."""
    watched = [os.pidfd_open(pid) for pid in pids]
    try:
        signal_it()
        waiting = set(watched)
        while waiting:
            gone, _, _ = select.select(list(waiting), [], [], SECONDS)
            if not gone:
                return False
            waiting -= set(gone)
        return True
    finally:
        for descriptor in watched:
            os.close(descriptor)


def test_a_daemon_that_falls_is_started_again_and_all_end_in_order(tmp_path: Path) -> None:
    with running(tmp_path) as up:
        pids = up.started()
        os.kill(pids["scheduler"], signal.SIGKILL)
        fell = up.until("daemon.fell", "scheduler")
        assert (fell["exit_code"], fell["falls"], fell["retry_seconds"]) == (-signal.SIGKILL, 1, 1.0)
        assert up.until("daemon.started", "scheduler")["pid"] != pids["scheduler"]
        up.process.send_signal(signal.SIGTERM)
        order = [event["daemon"] for event in up.events() if event["event"] == "daemon.ended"]
        assert up.process.wait(SECONDS) == 0
    assert order == list(reversed(DAEMONS))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a process to its parent")
def test_no_daemon_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    with running(tmp_path) as up:
        pids = list(up.started().values())
        assert ended(pids, up.process.kill)
