"""What people see on a terminal while something takes its time: a line that moves, and is gone when it is done.

Elsewhere (a file, a pipe, a terminal that is none) nothing of it is printed: the plain lines around it are all there
is.
rich draws it, and is loaded when there is something to draw.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from mfenv.app.progress import in_words
from mfenv.store.base import OnTransfer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_TIMES_A_SECOND = 8


def is_terminal(stream: TextIO, environment: Mapping[str, str] | None = None) -> bool:
    """Tell whether a line that moves can be drawn on `stream`."""
    environment = os.environ if environment is None else environment
    try:
        return stream.isatty() and environment.get("TERM", "") not in {"", "dumb"} and not environment.get("CI")
    except ValueError:
        # It was closed.
        return False


class Live:
    """Shows what goes on, for how long, and how many files and bytes passed. Called from any thread."""

    def __init__(
        self, title: str, *, total: int | None = None, stream: TextIO | None = None, is_shown: bool = True
    ) -> None:
        """Show `title`; of `total` files, where that is known. Not `is_shown`, it only counts."""
        self._is_shown = is_shown
        self._title = title
        self._total = total
        self._stream = stream or sys.stderr
        self._mutex = threading.Lock()
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self.files = 0
        self.size = 0

    def __enter__(self) -> Live:
        if self._is_shown and is_terminal(self._stream):
            from rich.console import Console
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            bar = [BarColumn(bar_width=20)] if self._total else []
            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                *bar,
                TextColumn("{task.fields[passed]}", markup=False),
                TimeElapsedColumn(),
                console=Console(file=self._stream, highlight=False),
                transient=True,
                refresh_per_second=_TIMES_A_SECOND,
                # What is printed meanwhile goes its own way.
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._progress.start()
            # Not done when the last file is here: it is still linked then.
            steps = self._total + 1 if self._total else None
            self._task = self._progress.add_task(self._title, total=steps, passed="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress:
            self._progress.stop()

    def passed(self, _key: str, size: int) -> None:
        """Count a file of `size` bytes."""
        with self._mutex:
            self.files, self.size = self.files + 1, self.size + size
            self._draw()

    def fetched(self, event: Mapping[str, Any]) -> None:
        """Hear of an event of a hydration: see `mfenv.hydrate.service.HydrationEvents`."""
        if linking := event.get("linking"):
            self.says(f"{self._title}: linking {linking} packages")
        elif isinstance(size := event.get("bytes"), int):
            self.passed("", size)

    def says(self, title: str) -> None:
        """Show another title."""
        if self._progress and self._task is not None:
            self._progress.update(self._task, description=title)

    def _draw(self) -> None:
        if self._progress and self._task is not None:
            of = f"/{self._total}" if self._total else ""
            self._progress.update(
                self._task, completed=self.files, passed=f"{self.files}{of} packages, {in_words(self.size)}"
            )


def both(first: OnTransfer, second: OnTransfer) -> OnTransfer:
    """Return what tells two listeners of each file."""

    def passed(key: str, size: int) -> None:
        first(key, size)
        second(key, size)

    return passed
