"""Work that is stopped before each thing that it does to the file system, to go on, to fail there, or to die there.

Python tells audit hooks (PEP 578) of an operation before it is carried out, and does not carry it out when the hook
raises: so the code under test runs as it is, on a real folder, and fails where the test wants it to. No library that
fakes a file system has OS locks, and several threads that take turns.

Death is raised at every operation from then on, so that nothing that cleans up gets to the disk; files that are open
are closed, as the system would do it, and with them go the locks.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

_EVENTS = frozenset(
    {
        *("open", "fcntl.flock", "shutil.rmtree"),
        *("os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate"),
        *("os.listdir", "os.scandir", "os.utime"),
    }
)
_LONGEST_STEP = 30.0


class Died(BaseException):
    """What stands for the end of a process by SIGKILL: no handler of errors takes it for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong: at operation number `at`, counted from 0."""

    at: int
    number: int | None = None
    """An error number, such as ``errno.ENOSPC``; None for death."""
    lasts: bool = False
    """Whether all that comes after fails like that, too. Death always lasts."""

    def __str__(self) -> str:
        """Return a name for tests."""
        what = errno.errorcode[self.number] if self.number else "died"
        return f"{what}{' from' if self.lasts else ''} at {self.at}"


@dataclass(slots=True)
class Work:
    """Something that runs step by step in a thread of its own, and how it ended."""

    do: Callable[[], Any]
    fault: Fault | None = None
    steps: list[str] = field(default_factory=list)
    """The operations that it came to."""
    result: Any = None
    error: BaseException | None = None
    is_over: bool = False
    _may_go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _stands: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def begin(self) -> None:
        """Run to the first operation."""
        threading.Thread(target=self._run, name="stepped-work", daemon=True).start()
        self._wait()

    def step(self) -> None:
        """Carry out the operation before which this stands, and run to the next one, or to the end."""
        self._may_go.release()
        self._wait()

    def _wait(self) -> None:
        if not self._stands.acquire(timeout=_LONGEST_STEP):
            raise AssertionError(f"no operation came for {_LONGEST_STEP:.0f} seconds after {self.steps[-3:]}")

    def _run(self) -> None:
        _here.work = self
        try:
            self.result = self.do()
        except BaseException as error:  # noqa: BLE001
            self.error = error
        finally:
            _here.work = None
            self.is_over = True
            self._stands.release()

    def _comes_to(self, event: str, subject: object) -> None:
        self._stands.release()
        self._may_go.acquire()
        number = len(self.steps)
        self.steps.append(f"{event} {subject}")
        fault = self.fault
        if fault is None or number < fault.at:
            return
        if fault.number is None:
            raise Died
        if fault.lasts or number == fault.at:
            raise OSError(fault.number, os.strerror(fault.number), subject if isinstance(subject, str) else None)


_here = threading.local()
_is_on = False
_is_installed = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _is_on or event not in _EVENTS:
        return
    work: Work | None = getattr(_here, "work", None)
    if work is not None:
        subject = arguments[0] if arguments else ""
        work._comes_to(event, os.fspath(subject) if isinstance(subject, os.PathLike) else subject)  # noqa: SLF001


@contextmanager
def stepping() -> Iterator[None]:
    """Have `Work` stop at operations for the duration of the block. A hook cannot be taken away again: it sleeps."""
    global _is_on, _is_installed
    if not _is_installed:
        sys.addaudithook(_hook)
        _is_installed = True
    _is_on = True
    try:
        yield
    finally:
        _is_on = False


def interleave(works: list[Work], choose: Callable[[int], int], look: Callable[[], None] = lambda: None) -> None:
    """Run all `works` to their end; `choose` says which of so many that are not over takes the next step.

    `look` is called before each step, with everybody standing still.
    """
    with stepping():
        for work in works:
            work.begin()
        while living := [work for work in works if not work.is_over]:
            look()
            living[choose(len(living))].step()
    look()
