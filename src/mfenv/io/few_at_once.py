"""Many requests, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


async def few_at_once(items: Sequence[Item], act: Callable[[Item], Awaitable[Answer]], *, most: int) -> list[Answer]:
    """Return what `act` answers to each of `items`, in their order, with at most `most` calls at the same time.

    When a call fails, its error is raised, those under way are stopped, and the rest is not begun.
    """
    room = asyncio.Semaphore(most)

    async def one(item: Item) -> Answer:
        async with room:
            return await act(item)

    tasks = [asyncio.ensure_future(one(item)) for item in items]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
