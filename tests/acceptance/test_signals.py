"""A daemon that is told to stop exits 0: however often it is told, and however early or late."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.acceptance.stop_storm import born_holding, environment, storm

SECONDS = 240.0  # until a test that waits for ever fails
DAEMONS = {
    "worker that waits for its gateway": ["worker", "--gateway-port", "1", "--wait-for-gateway"],
    "gateway": ["gateway", "--port", "0"],
    "scheduler": ["scheduler"],
    "watch": ["freshness", "--watch"],
    "process tree": ["up", "--gateway-port", "1"],
}


@pytest.mark.parametrize("arguments", DAEMONS.values(), ids=DAEMONS.keys())
def test_a_daemon_that_is_told_to_stop_from_its_birth_to_its_end_exits_0(tmp_path: Path, arguments: list[str]) -> None:
    daemon = born_holding([sys.executable, "-m", "v6", *arguments], cwd=tmp_path)
    told, said = storm(daemon, seconds=SECONDS)
    assert daemon.returncode == 0, said
    assert told > 2
    assert "Traceback" not in said


ENDS_AT_ONCE = """
import asyncio, sys
from v6.signals import hold_signals, stop_on_signals
hold_signals()
async def main():
    stopped = asyncio.Event()
    with stop_on_signals(stopped.set):
        await stopped.wait()
asyncio.run(main())
"""


def test_no_moment_is_left_in_which_a_signal_ends_the_process_otherwise() -> None:
    """Many short lives: most of each is the beginning and the end of the interpreter."""
    for _ in range(15):
        process = born_holding([sys.executable, "-c", ENDS_AT_ONCE])
        _, said = storm(process, seconds=SECONDS, pause=0.0005)
        assert process.returncode == 0, said


def test_each_signal_is_one_call() -> None:
    tell = "lambda: (print('told', flush=True), told.append(1), len(told) == 3 and stopped.set())"
    program = ENDS_AT_ONCE.replace("stopped.set", tell).replace(
        "await stopped", "print('open', flush=True)\n        await stopped"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", f"told = []\n{program}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        process.send_signal(number)
        assert process.stdout.readline() == "told\n"
    assert process.communicate(timeout=SECONDS) == ("", "")
    assert process.returncode == 0


def test_ctrl_c_while_a_command_loads_is_one_exit_code_and_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "v6", "submit", "position_update", "--wait"]
    process = born_holding(command, cwd=tmp_path)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=SECONDS)
    assert (process.returncode, said) == (130, "")
    assert not list(tmp_path.iterdir())


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a process to its parent and lists its children")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 130), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_no_process_of_the_demo_outlives_it(tmp_path: Path, number: signal.Signals, code: int) -> None:
    command = [sys.executable, "-m", "v6", "demo", "--grace-seconds", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=environment()) as demo:
        assert demo.stderr is not None
        next(line for line in demo.stderr if " PROCESSING" in line)
        watched = [os.fdopen(os.pidfd_open(child)) for child in children_of(demo.pid)]
        assert len(watched) == 2
        demo.send_signal(number)
        rest = demo.communicate(timeout=SECONDS)[1]
    assert demo.returncode == code
    assert "Traceback" not in rest
    for process in watched:
        with closing(process):
            assert select.select([process], [], [], SECONDS)[0], "a process of the demo is still there"
