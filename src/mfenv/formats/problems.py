"""All that is wrong with a file, collected, so that a user hears of everything at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from mfenv.errors import InvalidSpec


class Problems:
    """Collects what is wrong with one file, and with those that it includes."""

    def __init__(self, path: str) -> None:
        """Name the file `path` in messages."""
        self._path = path
        self._found: dict[str, str | None] = {}

    def where(self, line: int, column: int = 1, *, path: str | None = None) -> str:
        """Return a place for messages; lines and columns count from 1."""
        return f"{path or self._path}:{line}:{column}"

    def add(self, where: str, message: str, *, hint: str | None = None) -> None:
        """Note a problem at `where` (see `Problems.where`)."""
        self._found[f"{where}: {message}"] = hint

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Note the `InvalidSpec` that this block raises, and go on behind it; its message names its place."""
        try:
            yield
        except InvalidSpec as error:
            self._found[error.message] = error.hint

    def raise_if_any(self) -> None:
        """Raise one `InvalidSpec` for all that was noted, in the order of the file."""
        if self._found:
            hints = dict.fromkeys(hint for hint in self._found.values() if hint)
            raise InvalidSpec("\n".join(self._found), hint="; ".join(hints) or None)
