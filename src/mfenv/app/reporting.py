"""What people see on a terminal while something takes its time: lines that move, and are gone when it is done.

Elsewhere (a file, a pipe, a terminal that is none, one without colours) nothing of it is printed: the plain lines
around it are all there is.
rich draws it, and is loaded when there is something to draw.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from mfenv.app.progress import in_words
from mfenv.io import debug_log

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from mfenv.domain.resolved import ResolvedEnvironment
    from mfenv.errors import EnvironmentsError

_TIMES_A_SECOND = 8
# More would not fit on a small terminal, and could not be taken away again.
_MOST = 8
_on_screen: list[Live] = []


def is_terminal(stream: TextIO, environment: Mapping[str, str] | None = None) -> bool:
    """Tell whether a line that moves can be drawn on `stream`."""
    environment = os.environ if environment is None else environment
    if environment.get("TERM", "") in {"", "dumb"} or environment.get("CI") or environment.get("NO_COLOR"):
        return False
    try:
        return stream.isatty()
    except ValueError:
        # It was closed.
        return False


@contextmanager
def aside() -> Iterator[None]:
    """Take what moves off the terminal while the block prints lines of its own. Called from any thread."""
    lives = _on_screen[-1:]
    if not lives:
        yield
        return
    with lives[0].hidden():
        yield


@dataclass(slots=True, kw_only=True)
class _Row:
    """One line: what it is, and how much of it passed."""

    title: str
    total: int | None = None
    noun: str = "packages"
    began: float = field(default_factory=time.monotonic)
    files: int = 0
    size: int = 0
    answers: int = 0
    is_shown: bool = True
    suffix: str = ""

    def passed(self) -> str:
        """Return the counts as people read them; nothing as long as there are none."""
        of = f"/{self.total}" if self.total else ""
        if self.answers:
            return f"{self.answers}{of} solved, {self.files} packages"
        return f"{self.files}{of} {self.noun}, {in_words(self.size)}" if self.files else ""


class Live:
    """Shows what goes on, for how long, and how many files and bytes passed. Called from any thread.

    It counts from the start, and is shown for the duration of its block, which may be entered several times.
    """

    def __init__(
        self,
        title: str = "",
        *,
        total: int | None = None,
        noun: str = "packages",
        stream: TextIO | None = None,
        is_shown: bool = True,
        after: float = 0.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Show `title`; of `total` files, where that is known. Not `is_shown`, it only counts.

        What is over within `after` seconds is not shown. Without a title there are only the rows that are added.
        `now` is a clock in seconds.
        """
        self._is_shown = is_shown
        self._stream = stream or sys.stderr
        self._after = after
        self._now = now
        self._rows = {"": _Row(title=title, total=total, noun=noun, began=now())} if title else {}
        self._mutex = threading.Lock()
        self._terminal = threading.RLock()
        self._timer: threading.Timer | None = None
        self._is_open = False
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    @property
    def files(self) -> int:
        """How many files passed."""
        return sum(row.files for row in self._rows.values())

    @property
    def size(self) -> int:
        """How many bytes passed."""
        return sum(row.size for row in self._rows.values())

    def __enter__(self) -> Live:
        # Of two, one inside the other, the outer one moves; lines of a debug log would come in between.
        if self._is_shown and not _on_screen and is_terminal(self._stream) and not debug_log.is_on():
            self._is_open = True
            _on_screen.append(self)
            if self._after:
                self._timer = threading.Timer(self._after, self._show)
                self._timer.daemon = True
                self._timer.start()
            else:
                self._show()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_open:
            return
        if self._timer:
            self._timer.cancel()
        with self._terminal:
            self._is_open = False
            _on_screen.remove(self)
            self._hide()

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Take it off the terminal for the duration of the block."""
        with self._terminal:
            was_shown = self._progress is not None
            self._hide()
            try:
                yield
            finally:
                if was_shown:
                    self._show()

    def row(self, key: str, title: str, *, total: int | None = None, is_shown: bool = True) -> None:
        """Add a line for `key`, as events name it; not `is_shown`, it is seen from its first event on."""
        with self._terminal:
            known = self._rows.setdefault(key, _Row(title=title, total=total, is_shown=is_shown))
            known.is_shown |= is_shown
            self._draw(key)

    def passed(self, _key: str, size: int) -> None:
        """Count a file of `size` bytes."""
        self._count("", size)

    def fetched(self, event: Mapping[str, Any]) -> None:
        """Hear of an event of a hydration: see `mfenv.hydrate.service.HydrationEvents`."""
        key = str(event.get("environment", ""))
        key = key if key in self._rows else ""
        if event.get("ended"):
            with self._terminal:
                self._rows.pop(key, None)
                if self._progress and key in self._tasks:
                    self._progress.remove_task(self._tasks.pop(key))
        elif linking := event.get("linking"):
            self.says(f": linking {linking} packages", key)
        elif isinstance(size := event.get("bytes"), int):
            self._count(key, size)

    def answered(self, answer: ResolvedEnvironment | EnvironmentsError) -> None:
        """Count a request that was solved; not one that has no solution."""
        if isinstance(answer, Exception):
            return
        with self._mutex:
            if row := self._rows.get(""):
                row.answers, row.files = row.answers + 1, row.files + len(answer.packages) + len(answer.pypi)
        self._draw("")

    def ended(self, how: str = "done") -> None:
        """Write a line that stays: how it ended, how long it took, and what passed."""
        row = self._rows[""]
        noun = row.noun.removesuffix("s") if row.files == 1 else row.noun
        passed = f" ({row.files} {noun}, {in_words(row.size)})" if row.files else ""
        self._stream.write(f"{row.title} ... {how} in {self._now() - row.began:.1f} seconds{passed}.\n")
        self._stream.flush()

    def says(self, suffix: str, key: str = "") -> None:
        """Show `suffix` after the title."""
        with self._mutex:
            if row := self._rows.get(key):
                row.suffix, row.is_shown = suffix, True
        self._draw(key)

    def _count(self, key: str, size: int) -> None:
        with self._mutex:
            if row := self._rows.get(key):
                row.files, row.size, row.is_shown = row.files + 1, row.size + size, True
        self._draw(key)

    def _show(self) -> None:
        """Draw all rows from now on. A new drawing each time: rich's own does not forget where the last one was."""
        with self._terminal:
            if not self._is_open or self._progress:
                return
            self._progress = _progress(self._stream, has_bar=any(row.total for row in self._rows.values()))
            self._tasks = {}
            for key in list(self._rows):
                self._draw(key)
            self._progress.start()

    def _hide(self) -> None:
        with self._terminal:
            if self._progress:
                self._progress.stop()
                self._progress = None

    def _draw(self, key: str) -> None:
        if self._progress is None:
            return
        with self._terminal:
            row, progress = self._rows.get(key), self._progress
            if row is None or progress is None or not row.is_shown:
                return
            if key not in self._tasks:
                if len(self._tasks) >= _MOST:
                    return
                self._tasks[key] = progress.add_task(row.title, passed="")
                next(task for task in progress.tasks if task.id == self._tasks[key]).start_time = row.began
            progress.update(
                self._tasks[key],
                description=row.title + row.suffix,
                # Not done when the last file is here: it is still linked then.
                total=row.total + 1 if row.total else None,
                completed=row.answers or row.files,
                passed=row.passed(),
            )


def _progress(stream: TextIO, *, has_bar: bool) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        *([BarColumn(bar_width=20)] if has_bar else []),
        TextColumn("{task.fields[passed]}", markup=False),
        TimeElapsedColumn(),
        console=Console(file=stream, highlight=False),
        transient=True,
        refresh_per_second=_TIMES_A_SECOND,
        # What is printed meanwhile takes it away first: see `aside`.
        redirect_stdout=False,
        redirect_stderr=False,
        get_time=time.monotonic,
    )
