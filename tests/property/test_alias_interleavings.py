"""Names, whatever the order in which many writers and readers come to the store, and wherever one is stopped."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mfenv.domain.alias import Alias
from mfenv.domain.digest import LockId
from mfenv.domain.platform import Platform
from mfenv.domain.reference import ByName
from mfenv.errors import StoreError
from mfenv.store.aliases import AliasExistsError, AliasStore
from mfenv.store.backends.memory import MemoryBlobStore
from mfenv.store.layout import Layout

TIME = datetime(2026, 1, 2, tzinfo=timezone.utc)
STAYS, MOVES = ByName(name="env", tag="v1"), ByName(name="env", tag="stable")


def said(ref: ByName, number: int, hour: int = 0) -> Alias:
    locks = {Platform.LINUX_64: LockId(f"{number:040x}")}
    return Alias.of(ref, locks, user=f"user{number}", time=TIME + timedelta(hours=hour))


class Stopped(BaseException):
    """A process ends, in whatever it is."""


class Actor:
    """A process that comes to a store one call at a time: each waits until it is this actor's turn."""

    def __init__(self, blobs: MemoryBlobStore, act: Callable[[AliasStore], Any]) -> None:
        self._blobs = blobs
        self._turns: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._waits: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self.outcome: Any = None
        self._thread = threading.Thread(target=self._run, args=(act,), daemon=True)
        self._thread.start()
        self.is_alive = self._waits.get(timeout=10)

    def __getattr__(self, name: str) -> Any:
        """Be a store."""
        method = getattr(self._blobs, name)
        if not callable(method):
            return method

        def in_turn(*arguments: Any) -> Any:
            self._waits.put(True)
            try:
                is_its_turn = self._turns.get(timeout=10)
            except queue.Empty:
                # The example was given up.
                raise Stopped from None
            if not is_its_turn:
                raise Stopped
            found = method(*arguments)
            return list(found) if isinstance(found, Iterator) else found

        return in_turn

    def _run(self, act: Callable[[AliasStore], Any]) -> None:
        try:
            self.outcome = act(AliasStore(self))  # type: ignore[arg-type]
        except (StoreError, Stopped) as error:
            self.outcome = error
        self._waits.put(False)

    def step(self, *, is_stopped: bool = False) -> None:
        """Let the actor make its next call, or end it there."""
        self._turns.put(not is_stopped)
        self.is_alive = self._waits.get(timeout=10)
        if not self.is_alive:
            self._thread.join(timeout=10)


def run(blobs: MemoryBlobStore, actors: list[Actor], data: st.DataObject, after: Callable[[], None]) -> None:
    """Let all actors come to their end, in any order, some by being stopped; look at the store after each call."""
    while alive := [actor for actor in actors if actor.is_alive]:
        actor = data.draw(st.sampled_from(alive))
        actor.step(is_stopped=data.draw(st.integers(0, 9)) == 9)
        after()


def pointing(alias: Alias) -> Callable[[AliasStore], Alias]:
    return lambda store: store.point(alias)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=5), st.data())
def test_a_name_that_stays_reads_the_same_for_ever_once_it_was_read(numbers: list[int], data: st.DataObject) -> None:
    blobs = MemoryBlobStore()
    seen: list[Alias | None] = []

    def look() -> None:
        seen.append(AliasStore(blobs).get(STAYS))

    actors = [Actor(blobs, pointing(said(STAYS, number, hour))) for hour, number in enumerate(numbers)]
    run(blobs, actors, data, look)
    first = next((alias for alias in seen if alias), None)
    assert [alias for alias in seen if alias] == [first] * sum(alias is not None for alias in seen)
    assert seen == sorted(seen, key=bool)
    for actor, number in zip(actors, numbers, strict=True):
        if isinstance(actor.outcome, Alias):
            assert actor.outcome == first
        elif isinstance(actor.outcome, AliasExistsError):
            assert first is not None
            assert first.locks != said(STAYS, number).locks
    history = AliasStore(blobs).history(STAYS)
    assert history in ([], [first])
    if any(isinstance(actor.outcome, Alias) for actor in actors):
        assert history == [first]


@given(st.lists(st.integers(1, 9), min_size=2, max_size=4, unique=True), st.data())
def test_all_that_a_moving_name_ever_stood_for_is_in_its_history(numbers: list[int], data: st.DataObject) -> None:
    blobs = MemoryBlobStore()
    store = AliasStore(blobs)
    store.point(said(MOVES, 0))

    def look() -> None:
        now = store.get(MOVES)
        assert now is not None
        assert now in store.history(MOVES)

    actors = [Actor(blobs, pointing(said(MOVES, number, -number))) for number in numbers]
    run(blobs, actors, data, look)
    history = store.history(MOVES)
    ended = [actor.outcome for actor in actors if isinstance(actor.outcome, Alias)]
    assert [one for one in ended if one not in history] == []
    assert history[-1] == said(MOVES, 0)
    if len(ended) == len(actors):
        assert sorted(history, key=str) == sorted([said(MOVES, 0), *ended], key=str)


@given(st.integers(0, 2), st.data())
def test_restoring_a_name_takes_back_nobodys_move(readers: int, data: st.DataObject) -> None:
    blobs = MemoryBlobStore()
    store = AliasStore(blobs)
    store.point(said(MOVES, 0))
    blobs.replace(Layout().alias(MOVES), b"damaged")
    move = Actor(blobs, pointing(said(MOVES, 1, 1)))
    actors = [move, *(Actor(blobs, lambda store: store.get(MOVES)) for _ in range(readers + 1))]
    run(blobs, actors, data, lambda: None)
    if isinstance(move.outcome, Alias) and not any(isinstance(actor.outcome, Stopped) for actor in actors):
        assert store.get(MOVES) == said(MOVES, 1, 1)
    for reader in actors[1:]:
        assert isinstance(reader.outcome, Stopped) or reader.outcome in store.history(MOVES)
