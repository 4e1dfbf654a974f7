"""Locks between processes that die with their holder.

``flock`` (Linux, macOS) rather than a lock library: their soft locks outlive a crash, and their hard ones
are this call. Who holds a lock alone may remove its file: who waits for it looks whether it is still the same.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from mfenv.errors import EnvironmentsError, HydrationFailed

_MOMENT = 10.0
"""Seconds after which nobody is still removing something."""


@contextlib.contextmanager
def held(
    path: Path,
    *,
    timeout: float,
    waiting: Callable[[str], None] | None = None,
    given_up: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Hold the lock at `path` for the duration of the block; other processes and threads wait.

    After `timeout` seconds raise `HydrationFailed` saying who holds it. `waiting` is called once, with
    the holder's description, if there is one to wait for. `given_up` tells whether the wait is still wanted;
    when it is not, `HydrationFailed` is raised at once.
    """
    with _opened(path) as file:
        for pause in _attempts(file, timeout, waiting, given_up):
            time.sleep(pause)
        yield


@contextlib.asynccontextmanager
async def held_async(path: Path, *, timeout: float) -> AsyncIterator[None]:
    """Do as `held`, without keeping a thread while waiting: the holder may need that very thread to finish."""
    import asyncio  # loaded here, since launching processes never need it

    with _opened(path) as file:
        for pause in _attempts(file, timeout, None, lambda: False):
            await asyncio.sleep(pause)
        yield


@contextlib.contextmanager
def used(path: Path) -> Iterator[None]:
    """Let others know, for the duration of the block, that something is in use; any number may at the same time.

    Waits for who removes it, which takes a moment. Where nobody can be told, since the folder cannot be written to or
    has no locks, it is used all the same.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(EnvironmentsError, OSError):
            _use(stack.enter_context(_opened(path)))
        yield


def hold_while_it_lives(path: Path) -> None:
    """Let others know that something is in use for as long as this process lives, whichever program it becomes.

    It waits, and is used all the same where nobody can be told, as with `used`.
    """
    with contextlib.suppress(EnvironmentsError, OSError):
        file = _LockFile(path)
        if _use(file):
            # Never closed: the program that takes over has it open, and the lock ends with it.
            os.set_inheritable(file.descriptor, True)  # noqa: FBT003


def _use(file: _LockFile) -> bool:
    """Lock with others who use the same; return whether that was so before whoever removes it should be done."""
    deadline = time.monotonic() + _MOMENT
    while not (is_locked := file.lock(fcntl.LOCK_SH)) and time.monotonic() < deadline:
        time.sleep(0.005)
    return is_locked


@contextlib.contextmanager
def unused(path: Path) -> Iterator[bool]:
    """Keep others, for the duration of the block, from using something; False when somebody does.

    Then nothing may be removed. What is in the file stays.
    """
    with _opened(path) as file:
        yield file.lock(fcntl.LOCK_EX)


class _LockFile:
    """An open lock file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = _open(path)

    def close(self) -> None:
        os.close(self.descriptor)

    def lock(self, kind: int) -> bool:
        """Lock, unless somebody else does; return whether that was so."""
        while True:
            if not _try(self.descriptor, self.path, kind):
                return False
            if self._is_still_there():
                return True
            # Somebody has cleared it away: who comes now locks another file.
            fresh = _open(self.path)
            self.close()
            self.descriptor = fresh

    def _is_still_there(self) -> bool:
        mine = os.fstat(self.descriptor)
        try:
            there = self.path.stat()
        except OSError:
            return False
        return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[_LockFile]:
    file = _LockFile(path)
    try:
        yield file
    finally:
        file.close()


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise HydrationFailed(
            f"the lock `{path}` cannot be opened: {error.strerror}",
            hint="Check that the folder can be written to, or set METAFLOW_CONDA_LOCAL_PATH to another",
        ) from error


def _attempts(
    file: _LockFile,
    timeout: float,
    waiting: Callable[[str], None] | None,
    given_up: Callable[[], bool],
) -> Iterator[float]:
    """Try to lock until it works; between attempts yield the seconds to wait."""
    deadline = time.monotonic() + timeout
    pause = 0.005
    while not file.lock(fcntl.LOCK_EX):
        holder = os.pread(file.descriptor, 100, 0).decode(errors="replace").strip() or "another process"
        if waiting:
            waiting(holder)
            waiting = None
        if given_up():
            raise HydrationFailed(f"the wait for {holder}, which holds `{file.path}`, was given up")
        if time.monotonic() > deadline:
            raise HydrationFailed(
                f"waited {timeout:.0f} seconds for {holder}, which holds `{file.path}`",
                hint="See whether that process still works; a longer wait can be set with "
                "METAFLOW_CONDA_LOCK_TIMEOUT (seconds)",
            )
        yield pause
        pause = min(pause * 1.5, 0.1)
    # For those who wait, and no more than that: a full disk is a reason to stop only for what needs room.
    with contextlib.suppress(OSError):
        os.ftruncate(file.descriptor, 0)
        os.pwrite(file.descriptor, f"process {os.getpid()}".encode(), 0)


def _try(descriptor: int, path: Path, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EAGAIN, errno.EACCES, errno.EINTR}:
            return False
        raise EnvironmentsError(
            f"the file system of `{path}` has no locks: {error.strerror}",
            hint="Set METAFLOW_CONDA_LOCAL_PATH to a folder on a local disk",
        ) from error
    return True
