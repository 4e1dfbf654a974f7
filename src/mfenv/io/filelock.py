"""Locks between processes that die with their holder.

``flock`` (Linux, macOS) rather than a lock library: their soft locks outlive a crash, and their hard ones
are this call. The lock file stays: removing it would let two holders in.
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
    with _opened(path) as descriptor:
        for pause in _attempts(descriptor, path, timeout, waiting, given_up):
            time.sleep(pause)
        yield


@contextlib.asynccontextmanager
async def held_async(path: Path, *, timeout: float) -> AsyncIterator[None]:
    """Do as `held`, without keeping a thread while waiting: the holder may need that very thread to finish."""
    import asyncio  # loaded here, since launching processes never need it

    with _opened(path) as descriptor:
        for pause in _attempts(descriptor, path, timeout, None, lambda: False):
            await asyncio.sleep(pause)
        yield


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _open(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise HydrationFailed(
            f"the lock `{path}` cannot be opened: {error.strerror}",
            hint="Check that the folder can be written to, or set METAFLOW_CONDA_LOCAL_PATH to another",
        ) from error


def _attempts(
    descriptor: int,
    path: Path,
    timeout: float,
    waiting: Callable[[str], None] | None,
    given_up: Callable[[], bool],
) -> Iterator[float]:
    """Try to lock until it works; between attempts yield the seconds to wait."""
    deadline = time.monotonic() + timeout
    pause = 0.005
    while not _try(descriptor, path):
        holder = os.pread(descriptor, 100, 0).decode(errors="replace").strip() or "another process"
        if waiting:
            waiting(holder)
            waiting = None
        if given_up():
            raise HydrationFailed(f"the wait for {holder}, which holds `{path}`, was given up")
        if time.monotonic() > deadline:
            raise HydrationFailed(
                f"waited {timeout:.0f} seconds for {holder}, which holds `{path}`",
                hint="See whether that process still works; a longer wait can be set with "
                "METAFLOW_CONDA_LOCK_TIMEOUT (seconds)",
            )
        yield pause
        pause = min(pause * 1.5, 0.1)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()}".encode(), 0)


def _try(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EAGAIN, errno.EACCES, errno.EINTR}:
            return False
        raise EnvironmentsError(
            f"the file system of `{path}` has no locks: {error.strerror}",
            hint="Set METAFLOW_CONDA_LOCAL_PATH to a folder on a local disk",
        ) from error
    return True
