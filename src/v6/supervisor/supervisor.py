"""Runs daemons side by side until it is stopped, and ends them in order: the last one started ends first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from v6.supervisor.daemon import Daemon


class Supervisor:
    """A process tree. When one daemon cannot run at all, the others are ended too."""

    def __init__(self, daemons: Sequence[Daemon]) -> None:
        """``daemons`` in the order in which they depend on each other."""
        self._daemons = daemons
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Keep all of them running until ``stop``. Raises DaemonFailed for the first one that cannot run."""
        stopping = asyncio.create_task(self._stopping.wait(), name="stop of the supervisor")
        tasks: list[asyncio.Task[None]] = []
        try:
            for daemon in self._daemons:
                tasks.append(asyncio.create_task(daemon.run(), name=f"daemon {daemon.name}"))
                ready = asyncio.create_task(daemon.ready.wait(), name=f"{daemon.name} ready")
                await asyncio.wait({*tasks, stopping, ready}, return_when=asyncio.FIRST_COMPLETED)
                ready.cancel()
            await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            for daemon in reversed(self._daemons):
                await asyncio.shield(daemon.stop())
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def stop(self) -> None:
        """End all of them; ``run`` returns when they have."""
        self._stopping.set()
