"""Environments shared with others while the flow already runs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from mfenv.app.bytecode import BytecodePublisher
from mfenv.app.share import Shared, Sharer
from mfenv.app.toolchain import ToolchainPublisher
from mfenv.domain.digest import LockId
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.domain.toolchain import Toolchain
from mfenv.errors import EnvironmentsError, StoreError
from mfenv.store.base import OnTransfer


class SharingStoppedError(Exception):
    """Nobody waits for what is being sent any more."""


class BackgroundSharing:
    """Shares the environments of a run as they become ready; the run does not wait for it before its end."""

    def __init__(self, sharer: Sharer, *, flow: str, run_id: str) -> None:
        """Share with `sharer`, and note there that this run of `flow` used what is shared."""
        self._sharer = sharer
        self._run = (flow, run_id)
        self._waiting: queue.SimpleQueue[LockId | None] = queue.SimpleQueue()
        self._seen: set[LockId] = set()
        self._left = 0
        self._changed = threading.Condition()
        self._is_stopped = False
        self.listener: OnTransfer = lambda _key, _size: None
        """Told of each file that is sent."""
        self.shared: list[Shared] = []
        self.troubles: list[EnvironmentsError] = []

    def add(self, lock_id: LockId) -> None:
        """Share one more environment, whose files are here; returns at once."""
        with self._changed:
            if lock_id in self._seen or self._is_stopped:
                return
            if not self._seen:
                # A daemon: a run that fails does not wait for what it sends.
                threading.Thread(target=self._work, name="mfenv-sharing", daemon=True).start()
            self._seen.add(lock_id)
            self._left += 1
        self._waiting.put(lock_id)

    @property
    def under_way(self) -> int:
        """How many environments are not shared yet."""
        return self._left

    def wait(self) -> None:
        """Wait until all is shared, or was not to be."""
        with self._changed:
            self._changed.wait_for(lambda: not self._left)

    def stop(self) -> None:
        """Begin nothing new, and break off what is being sent after the files under way."""
        self._is_stopped = True
        self._waiting.put(None)

    def _work(self) -> None:
        while (lock_id := self._waiting.get()) is not None:
            try:
                self._share(lock_id)
            except SharingStoppedError:
                return
            except Exception as caught:  # noqa: BLE001
                # Whatever it is, it is no reason for a run to wait for ever.
                error = caught if isinstance(caught, EnvironmentsError) else StoreError(" ".join(str(caught).split()))
                if error.message not in {known.message for known in self.troubles}:
                    self.troubles.append(error)
            finally:
                with self._changed:
                    self._left -= 1
                    self._changed.notify_all()

    def _share(self, lock_id: LockId) -> None:
        # The note first: from then on nobody clears the environment away, if it is there already.
        self._sharer.mark_run(*self._run, [lock_id])
        if shared := self._sharer.share([lock_id], self._sent):
            self.shared.append(shared)

    def _sent(self, key: str, size: int) -> None:
        if self._is_stopped:
            raise SharingStoppedError
        self.listener(key, size)


class Publication:
    """Gets environments, and what makes them, to the store for other machines; those wait for what they need."""

    def __init__(
        self,
        sharer: Sharer,
        publisher: ToolchainPublisher,
        bytecode: BytecodePublisher,
        platforms: Iterable[Platform],
    ) -> None:
        """Look for the toolchains of `platforms`, at once and in the background."""
        self._sharer = sharer
        self._publisher = publisher
        self._bytecode = bytecode
        self._pool = ThreadPoolExecutor(3, thread_name_prefix="mfenv-publish")
        self._compiling: list[Future[None]] = []
        self._found = [self._pool.submit(publisher.find, one) for one in sorted(platforms, key=lambda one: one.value)]
        self._tools: Future[None] | None = None
        self._locks: dict[LockId, Future[None]] = {}
        self._is_stopped = False
        self.listener: OnTransfer = lambda _key, _size: None
        """Told of each file that is sent."""

    def toolchains(self) -> tuple[Toolchain, ...]:
        """Return what makes environments on those platforms. Raises the `EnvironmentsError` of looking for it."""
        return tuple(future.result() for future in self._found)

    def start(self, flow: str, run_id: str, locks: Iterable[LockedEnvironment]) -> None:
        """Begin to send what is not there, in this order, for a run that is noted there; returns at once.

        Called again, it does nothing.
        """
        if self._tools is not None:
            return
        locks = list(locks)
        self._tools = self._pool.submit(self._send_tools, flow, run_id, [lock.id for lock in locks])
        # One after the other: they have packages in common.
        before: Future[None] | None = None
        for lock in locks:
            before = self._locks[lock.id] = self._pool.submit(self._send, lock.id, before)
        # Tasks do not wait for it: without it they only begin a little later.
        compiling = self._pool.submit(self._compile, locks, before)
        self._compiling.append(compiling)

    def is_done(self, lock_id: LockId | None = None) -> bool:
        """Tell whether nobody has to wait for what a machine needs that is to have an environment."""
        return all(future.done() for future in self._awaited(lock_id))

    def wait(self, lock_id: LockId | None = None) -> None:
        """Wait until that is in the store; without an id, until all is. Raises the `EnvironmentsError` of sending."""
        for future in self._awaited(lock_id):
            future.result()

    def wait_for_bytecode(self) -> None:
        """Wait until what could be compiled here is in the store. Raises the `EnvironmentsError` of that."""
        for future in self._compiling:
            future.result()

    def stop(self) -> None:
        """Send nothing more."""
        self._is_stopped = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _awaited(self, lock_id: LockId | None) -> list[Future[None]]:
        tools = [self._tools] if self._tools else []
        return [*tools, *([self._locks[lock_id]] if lock_id else self._locks.values())]

    def _send_tools(self, flow: str, run_id: str, lock_ids: Iterable[LockId]) -> None:
        # The notes first: from then on nobody clears these environments away.
        self._sharer.mark_run(flow, run_id, lock_ids)
        for toolchain in self.toolchains():
            self._publisher.publish(toolchain)

    def _compile(self, locks: Iterable[LockedEnvironment], before: Future[None] | None) -> None:
        if before is not None:
            before.exception()
        for lock in locks:
            if not self._is_stopped:
                self._bytecode.publish(lock)

    def _send(self, lock_id: LockId, before: Future[None] | None) -> None:
        if before is not None:
            # What became of it is for those who wait for it.
            before.exception()
        # Nobody else brings what is missing: a node asks the store and no one else.
        self._sharer.share([lock_id], self._sent, looks=True)

    def _sent(self, key: str, size: int) -> None:
        if self._is_stopped:
            raise SharingStoppedError
        self.listener(key, size)
