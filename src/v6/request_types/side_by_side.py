"""Calls that run side by side and fail as one: the first error itself, not a group of errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def at_once() -> None:
    """The next call may begin as soon as the loop has had its turn."""


async def side_by_side(
    call: Callable[[Item], Awaitable[Result]],
    items: Iterable[Item],
    *,
    name: str,
    room: Callable[[], Awaitable[None]] = at_once,
) -> list[Result]:
    """The call's result of each item, in order. Each call begins when ``room`` returns.

    When one call raises, the others are cancelled and its error is raised.
    """

    async def answer(item: Item) -> Result:
        return await call(item)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = []
            for item in items:
                await room()
                tasks.append(group.create_task(answer(item), name=name))
                await asyncio.sleep(0)  # it begins, and the loop answers others: hundreds in one turn would block it
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
