"""Calls side by side: their order, when they begin, their first error."""

from __future__ import annotations

import asyncio

import pytest

from v6.core.request_gateway import WAITING_QUOTES, Approach
from v6.request_types.side_by_side import side_by_side


async def test_results_come_in_the_order_of_the_items() -> None:
    async def one(item: int) -> str:
        for _ in range(5 - item % 3):
            await asyncio.sleep(0)
        return f"answer {item}"

    assert await side_by_side(one, range(100), name="calls") == [f"answer {item}" for item in range(100)]
    assert await side_by_side(one, [], name="calls") == []


async def test_the_first_error_cancels_the_others_and_begins_no_more() -> None:
    begun, cancelled = list[int](), list[int]()

    async def one(item: int) -> None:
        begun.append(item)
        if item == 12:
            raise LookupError("twelve")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(item)
            raise

    with pytest.raises(LookupError, match="twelve"):
        await side_by_side(one, range(1000), name="calls")
    assert sorted([*cancelled, 12]) == begun
    assert len(begun) < 20


async def test_of_thousands_few_wait_for_a_line_and_each_line_is_taken() -> None:
    approach, lines = Approach(), asyncio.Semaphore(3)

    async def room() -> None:
        await approach.room.wait()

    waiting = most = 0

    async def one(item: int) -> int:
        nonlocal waiting, most
        with approach.towards_a_line() as arrived:
            waiting += 1
            most = max(most, waiting)
            async with lines:
                waiting -= 1
                arrived()
                for _ in range(10):
                    await asyncio.sleep(0)
        return item

    assert await side_by_side(one, range(2000), name="quotes", room=room) == list(range(2000))
    assert most == WAITING_QUOTES


async def test_a_quote_that_fails_on_its_way_makes_room() -> None:
    approach = Approach()
    for _ in range(2 * WAITING_QUOTES):
        with pytest.raises(LookupError), approach.towards_a_line():
            raise LookupError
    assert approach.room.is_set()


async def test_a_call_that_ends_cancelled_is_no_missing_result() -> None:
    async def one(item: int) -> int:
        if item == 3:
            raise asyncio.CancelledError
        return item

    with pytest.raises(asyncio.CancelledError):
        await side_by_side(one, range(6), name="calls")
