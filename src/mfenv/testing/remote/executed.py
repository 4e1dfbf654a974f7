"""How something that Metaflow deployed went, whoever executed it; and what all executors do alike."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from mfenv.testing.remote.sandbox import Container, Sandbox

WIDTH = 16
"""How many tasks of a foreach run at a time."""

One = TypeVar("One")


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """What an execution came to; its containers are in the sandbox's records."""

    run_id: str
    """As Metaflow has it, such as ``argo-name``."""
    failed: str = ""
    """The step that failed and the end of what it printed; empty if all went well."""


class TaskFailed(Exception):
    """A task failed in its last attempt. What was not begun yet, is not begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What a task's container is given in one attempt."""

    command: Sequence[str]
    variables: Mapping[str, str]
    image: str
    seconds: float
    """How long it may take."""


@dataclass(frozen=True, slots=True)
class Tasks:
    """Runs tasks in containers, until one fails or time is over."""

    sandbox: Sandbox
    deadline: float
    """On the clock of `time.monotonic`."""
    has_failed: threading.Event = field(default_factory=threading.Event)

    def run(
        self,
        name: str,
        attempt: Callable[[int], Attempt],
        *,
        attempts: int,
        results: Callable[[Container], One],
    ) -> One:
        """Run `attempt(0)` and so on until one ends well, and return its `results`. Raises `TaskFailed`."""
        tail = "not begun, as another task failed"
        for number in range(attempts):
            if self.has_failed.is_set():
                break
            given = attempt(number)
            container = self.sandbox.start(
                name,
                given.command,
                given.variables,
                image=given.image,
                seconds=min(given.seconds, max(0.0, self.deadline - time.monotonic())),
            )
            record = container.wait(is_stopped=self.has_failed.is_set)
            if record.code == 0:
                found = results(container)
                container.clean()
                return found
            tail = record.tail()
        self.has_failed.set()
        raise TaskFailed(tail)


def side_by_side(calls: Sequence[Callable[[], One]], *, width: int = WIDTH) -> list[One]:
    """Make calls in threads, at most `width` at a time, and return what they return, in their order.

    If some raise, what the first of them raised is raised when all are done.
    """
    with ThreadPoolExecutor(max(1, min(width, len(calls)))) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]
