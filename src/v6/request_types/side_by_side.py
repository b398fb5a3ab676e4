"""Calls that run side by side and fail as one: the first error itself, not a group of errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def at_once(_behind: int) -> None:
    """The next call may begin as soon as the loop has had its turn."""


async def side_by_side(
    call: Callable[[Item], Awaitable[Result]],
    items: Sequence[Item],
    *,
    name: str,
    room: Callable[[int], Awaitable[None]] = at_once,
) -> list[Result]:
    """The call's result of each item, in order. Each call begins when ``room`` returns, which is
    told how many come after it.

    When one call raises, the others are cancelled and its error is raised.
    """
    results: dict[int, Result] = {}

    async def answer(number: int, item: Item) -> None:
        results[number] = await call(item)

    try:
        async with asyncio.TaskGroup() as group:
            for number, item in enumerate(items):
                await room(len(items) - number - 1)
                group.create_task(answer(number, item), name=name)
                await asyncio.sleep(0)  # it begins, and the loop answers others: hundreds in one turn would block it
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [results[number] for number in sorted(results)]
