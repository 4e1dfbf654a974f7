"""Environments in the making while the flow already runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from mfenv.domain.digest import LockId
from mfenv.domain.locked import LockedEnvironment
from mfenv.hydrate.prefix import Prefix
from mfenv.hydrate.service import HydrationEvents, Hydrator

_AT_ONCE = 2


class _OfOne:
    """Says of each event which environment it is about."""

    def __init__(self, events: HydrationEvents, lock_id: LockId) -> None:
        self._events = events
        self._lock_id = lock_id

    def waiting(self, holder: str) -> None:
        self._events.waiting(holder)

    def fetched(self, event: dict[str, object]) -> None:
        self._events.fetched({**event, "environment": self._lock_id})


class BackgroundHydration:
    """Makes environments in the order in which they will be needed; whoever needs one waits for that one alone."""

    def __init__(
        self,
        hydrator: Hydrator,
        locks: Iterable[LockedEnvironment],
        events: HydrationEvents,
        *,
        on_ready: Callable[[LockId], None] = lambda _lock: None,
    ) -> None:
        """Begin with those of `locks` that are not there yet; `on_ready` is told of each that is, from any thread.

        What `events` hears names the ``environment`` that it is about, and when its making has ``ended``.
        """
        self.ready: dict[LockId, Prefix] = {}
        self.missing: list[LockedEnvironment] = []
        for lock in {lock.id: lock for lock in locks}.values():
            if prefix := hydrator.ready(lock):
                self.ready[lock.id] = prefix
            else:
                self.missing.append(lock)
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="mfenv-hydrate") if self.missing else None
        self._hydrator = hydrator
        self._events = events
        self._on_ready = on_ready
        self._coming: dict[LockId, Future[Prefix]] = {}

    def start(self) -> None:
        """Start making what is missing; returns at once."""
        for lock_id in self.ready:
            self._on_ready(lock_id)
        if self._pool:
            self._coming = {lock.id: self._pool.submit(self._make, lock) for lock in self.missing}

    def add(self, lock: LockedEnvironment) -> None:
        """Begin to make one more environment, unless it is there or coming."""
        if lock.id in self.ready or lock.id in self._coming:
            return
        if prefix := self._hydrator.ready(lock):
            self.ready[lock.id] = prefix
            self._on_ready(lock.id)
            return
        self._pool = self._pool or ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="mfenv-hydrate")
        self.missing.append(lock)
        self._coming[lock.id] = self._pool.submit(self._make, lock)

    def _make(self, lock: LockedEnvironment) -> Prefix:
        events = _OfOne(self._events, lock.id)
        try:
            prefix = self._hydrator.hydrate(lock, events)
        finally:
            events.fetched({"ended": True})
        self._on_ready(lock.id)
        return prefix

    def is_ready(self, lock_id: LockId) -> bool:
        """Tell whether nobody has to wait for an environment."""
        return lock_id in self.ready or self._coming[lock_id].done()

    def prefix(self, lock_id: LockId) -> Prefix:
        """Return an environment, when it is ready. Raises the `EnvironmentsError` that its making ended with."""
        return self.ready.get(lock_id) or self._coming[lock_id].result()

    def stop(self) -> None:
        """Begin nothing new and wait for nobody; what is under way goes on."""
        # Python waits for these threads when it ends, and another process may take its time.
        self._hydrator.give_up()
        if self._pool:
            self._pool.shutdown(wait=False, cancel_futures=True)
