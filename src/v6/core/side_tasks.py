"""What a worker does beside its loop, each in a named task: one that ends stops the worker loudly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any


class SideTasks:
    """The tasks of one worker, none before ``begin``."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        """``on_end`` is called when any of them has ended."""
        self._on_end = on_end
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def have_begun(self) -> bool:
        """Whether there are any."""
        return bool(self._tasks)

    def begin(self, work: Mapping[str, Coroutine[Any, Any, None]]) -> None:
        """Run each in a task of that name."""
        self._tasks = [asyncio.create_task(coroutine, name=name) for name, coroutine in work.items()]
        for task in self._tasks:
            task.add_done_callback(lambda _: self._on_end())

    def check(self) -> None:
        """Raise what ended one of them; RuntimeError where one ended for no reason."""
        for task in self._tasks:
            if task.done():
                task.result()
                raise RuntimeError(f"the worker's task {task.get_name()} ended")

    async def end(self, *, ends_by_itself: str) -> None:
        """Cancel all but the one that ends by itself, and wait until all have ended."""
        for task in self._tasks:
            if task.get_name() != ends_by_itself:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
