"""Fetches the numbered parts of a request, one ahead.

While a part's last quotes come in and its rows land, the next one is being collected already.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any

from v6.request_types.base import Fetched, Part

AHEAD = 1


@asynccontextmanager
async def fetched_ahead(
    fetch: Callable[[Part], Coroutine[Any, Any, Fetched]], parts: Iterable[Part]
) -> AsyncIterator[AsyncIterator[tuple[Part, Fetched]]]:
    """What each part brought, in their order. What is still being fetched when the context ends is cancelled."""
    running: deque[tuple[Part, asyncio.Task[Fetched]]] = deque()
    fetched = _in_order(fetch, parts, running)
    try:
        yield fetched
    finally:
        await fetched.aclose()
        for _, task in running:
            task.cancel()
        await asyncio.gather(*(task for _, task in running), return_exceptions=True)


async def _in_order(
    fetch: Callable[[Part], Coroutine[Any, Any, Fetched]],
    parts: Iterable[Part],
    running: deque[tuple[Part, asyncio.Task[Fetched]]],
) -> AsyncGenerator[tuple[Part, Fetched], None]:
    for part in parts:
        running.append((part, asyncio.create_task(fetch(part), name="part of a request")))
        if len(running) > AHEAD:
            yield await _first(running)
    while running:
        yield await _first(running)


async def _first(running: deque[tuple[Part, asyncio.Task[Fetched]]]) -> tuple[Part, Fetched]:
    part, task = running[0]
    fetched = await task
    running.popleft()
    return part, fetched
