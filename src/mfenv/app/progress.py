"""What a transfer came to, in one line; how far it is, is shown by `mfenv.app.reporting`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TextIO


class TransferLine:
    """Counts files and bytes as they pass. Called from any thread."""

    def __init__(self, title: str, stream: TextIO, *, now: Callable[[], float] = time.monotonic) -> None:
        """Tell of a transfer called `title` on `stream`; `now` is a clock in seconds."""
        self._title = title
        self._stream = stream
        self._now = now
        self._began = now()
        self._mutex = threading.Lock()
        self.files = 0
        self.size = 0

    def passed(self, _key: str, size: int) -> None:
        """Count a file of `size` bytes."""
        with self._mutex:
            self.files += 1
            self.size += size

    def ended(self, how: str = "done") -> None:
        """Say how it ended."""
        seconds = self._now() - self._began
        passed = f" ({self.files} files, {in_words(self.size)})" if self.files else ""
        self._stream.write(f"{self._title} ... {how} in {seconds:.1f} seconds{passed}.\n")
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
