"""Calls that run side by side and fail as one: the first error itself, not a group of errors."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

Result = TypeVar("Result")
STARTED_AT_ONCE = 20  # a loop that starts hundreds in one turn answers nobody meanwhile


async def side_by_side(calls: Iterable[Coroutine[Any, Any, Result]], *, name: str) -> list[Result]:
    """The results in order. When one call raises, the others are cancelled and its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = []
            for number, call in enumerate(calls, start=1):
                tasks.append(group.create_task(call, name=name))
                if number % STARTED_AT_ONCE == 0:
                    await asyncio.sleep(0)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
