"""Many requests, a few at a time."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.io.few_at_once import few_at_once


@given(st.lists(st.integers(min_value=0, max_value=3), max_size=20), st.integers(min_value=1, max_value=5))
def test_answers_are_in_order_and_never_more_calls_at_once_than_wanted(turns: list[int], most: int) -> None:
    running, highest = 0, 0

    async def act(pair: tuple[int, int]) -> int:
        nonlocal running, highest
        running += 1
        highest = max(highest, running)
        for _ in range(pair[1]):
            await asyncio.sleep(0)
        running -= 1
        return pair[0]

    assert asyncio.run(few_at_once(list(enumerate(turns)), act, most=most)) == list(range(len(turns)))
    assert highest <= most


def test_after_a_failure_the_rest_is_not_begun() -> None:
    begun = []

    async def act(item: int) -> None:
        begun.append(item)
        await asyncio.sleep(0)
        if item == 1:
            raise ValueError(item)
        await asyncio.Event().wait()

    with pytest.raises(ValueError, match="1"):
        asyncio.run(few_at_once(range(1000), act, most=3))
    # One more gets the room of the one that failed before anybody hears of it.
    assert len(begun) <= 4
