"""How far a transfer is, in one line: written anew on a terminal, and said once at its end elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TextIO

_EVERY = 0.1
"""Seconds between two states of the line."""


class TransferLine:
    """Counts files and bytes as they pass. Called from any thread."""

    def __init__(self, title: str, stream: TextIO, *, now: Callable[[], float] = time.monotonic) -> None:
        """Tell of a transfer called `title` on `stream`; `now` is a clock in seconds."""
        self._title = title
        self._stream = stream
        self._now = now
        self._began = self._told = now()
        self._is_terminal = stream.isatty()
        self._mutex = threading.Lock()
        self.files = 0
        self.size = 0

    def passed(self, _key: str, size: int) -> None:
        """Count a file of `size` bytes."""
        with self._mutex:
            self.files += 1
            self.size += size
            if self._is_terminal and self._now() - self._told >= _EVERY:
                self._told = self._now()
                self._stream.write(f"\r{self._title} ... {self.files} files, {in_words(self.size)}")
                self._stream.flush()

    def ended(self, how: str = "done") -> None:
        """Say how it ended."""
        seconds = self._now() - self._began
        passed = f" ({self.files} files, {in_words(self.size)})" if self.files else ""
        begin = "\r" if self._is_terminal else ""
        # Blanks over what is left of a longer line.
        end = " " * 12 if self._is_terminal else ""
        self._stream.write(f"{begin}{self._title} ... {how} in {seconds:.1f} seconds{passed}.{end}\n")
        self._stream.flush()


def in_words(size: int) -> str:
    """Return a number of bytes as people read it.

    >>> [in_words(n) for n in (0, 999, 1_500, 2_340_000_000)]
    ['0 B', '999 B', '1.5 kB', '2.3 GB']
    """
    amount, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
