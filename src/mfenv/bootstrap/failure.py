"""The error of a bootstrap. Python 3.8 and the standard library only: see `mfenv.bootstrap`."""

from __future__ import annotations

from typing import Optional


class BootstrapError(Exception):
    """Something that whoever reads the task's log can act on."""

    def __init__(self, message: str, hint: Optional[str] = None, output: Optional[str] = None) -> None:
        """Say what happened in one sentence, and what to do about it."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.output = output
