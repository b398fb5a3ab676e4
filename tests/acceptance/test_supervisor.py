"""The process tree: daemons that fall are started again, all end together, and none outlives the supervisor."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from v6.clock import Clock
from v6.events import Event, EventBus
from v6.supervisor.daemon import Daemon, DaemonFailed
from v6.supervisor.supervisor import Supervisor
from v6.supervisor.supervisor_events import DaemonEnded, DaemonFell, DaemonStarted

SECONDS = 240.0  # until a test that waits for ever fails
FOREVER = "import signal; print('up', flush=True); signal.pause()"


class Tree:
    """Daemons of small programs, and what was reported of them."""

    def __init__(self) -> None:
        self.events = EventBus()
        self.seen: list[Event] = []
        self.lines: list[str] = []
        self.events.subscribe(Event, self.seen.append)
        self.news = asyncio.Event()
        self.events.subscribe(Event, lambda _: self.news.set())

    def daemon(self, name: str, program: str, *arguments: str, announces: bool = False) -> Daemon:
        return Daemon(
            name=name,
            program=[sys.executable, "-c", program, *arguments],
            environment=dict(os.environ),
            clock=Clock(),
            events=self.events,
            say=self.lines.append,
            announces=announces,
        )

    async def until(self, kind: type[Event], count: int) -> list[Event]:
        async with asyncio.timeout(SECONDS):
            while sum(isinstance(event, kind) for event in self.seen) < count:
                self.news.clear()
                await self.news.wait()
        return [event for event in self.seen if isinstance(event, kind)]


async def test_a_daemon_that_falls_is_started_again(tmp_path: Path) -> None:
    tree = Tree()
    falls_once = (
        f"import pathlib, sys; p = pathlib.Path({str(tmp_path / 'fell')!r})\n"
        f"if not p.exists(): p.touch(); sys.exit(9)\n{FOREVER}"
    )
    supervisor = Supervisor([tree.daemon("worker", falls_once)])
    running = asyncio.create_task(supervisor.run())
    await tree.until(DaemonStarted, 2)
    supervisor.stop()
    await running
    [fell] = await tree.until(DaemonFell, 1)
    assert isinstance(fell, DaemonFell)
    assert (fell.daemon, fell.exit_code, fell.retry_seconds) == ("worker", 9, 1.0)


@pytest.mark.parametrize("code", [2, 3, 6])
async def test_what_no_restart_mends_ends_the_others_and_is_told(code: int) -> None:
    tree = Tree()
    hopeless = f"import sys; sys.stderr.write('error: the lake is a file\\n'); sys.exit({code})"
    supervisor = Supervisor([tree.daemon("gateway", FOREVER, announces=True), tree.daemon("worker", hopeless)])
    with pytest.raises(DaemonFailed, match="the worker cannot run: the lake is a file") as failure:
        await supervisor.run()
    assert failure.value.exit_code == code
    [ended] = await tree.until(DaemonEnded, 1)
    assert isinstance(ended, DaemonEnded)
    assert ended.daemon == "gateway"


async def test_daemons_start_when_the_one_before_is_ready_and_end_in_reverse(tmp_path: Path) -> None:
    tree, log = Tree(), tmp_path / "log"
    slow = (
        "import pathlib, signal, sys; p = pathlib.Path(sys.argv[1])\n"
        "def say(text): p.open('a').write(f'{sys.argv[2]} {text}\\n')\n"
        "signal.signal(signal.SIGTERM, lambda *_: (say('ends'), sys.exit(0)))\n"
        "say('starts'); print('up', flush=True); signal.pause()"
    )
    supervisor = Supervisor([tree.daemon(name, slow, str(log), name, announces=True) for name in "ABC"])
    running = asyncio.create_task(supervisor.run())
    await tree.until(DaemonStarted, 3)
    async with asyncio.timeout(SECONDS):
        while log.read_text(encoding="utf-8").count("starts") < 3:
            await Clock().sleep(0.05)
    supervisor.stop()
    await running
    assert log.read_text(encoding="utf-8").split("\n")[:-1] == [
        *("A starts", "B starts", "C starts"),
        *("C ends", "B ends", "A ends"),
    ]


SUPERVISOR = """
import asyncio, sys
from tests.acceptance.test_supervisor import FOREVER, Tree
from v6.supervisor.supervisor import Supervisor
from v6.supervisor.supervisor_events import DaemonStarted
async def main():
    tree = Tree()
    running = asyncio.create_task(Supervisor([tree.daemon("worker", FOREVER, announces=True)]).run())
    [started] = await tree.until(DaemonStarted, 1)
    print(started.pid, flush=True)
    await running
asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a process to its parent")
def test_no_daemon_outlives_a_supervisor_that_was_killed() -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR], stdout=subprocess.PIPE, text=True, cwd=root
    ) as supervisor:
        assert supervisor.stdout is not None
        pid = int(supervisor.stdout.readline())
        watched = os.pidfd_open(pid)
        supervisor.send_signal(signal.SIGKILL)
    try:
        # A process's descriptor becomes readable when it ends.
        ended, _, _ = select.select([watched], [], [], SECONDS)
        assert ended == [watched]
    finally:
        os.close(watched)
