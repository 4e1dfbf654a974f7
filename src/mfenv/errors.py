"""Every error that a user can see.

::

    EnvironmentsError
    ├── InvalidSpec            the user wrote something unreadable           exit 2
    ├── ResolutionFailed       no solution; carries the backend's causes     exit 3
    ├── LockError              unreadable, unsupported version, stale        exit 4
    ├── StoreError             missing, corrupt (digest differs), denied     exit 5
    ├── HydrationFailed        a file or a program failed; has its output    exit 6
    ├── ToolNotFound           with what was searched and how to get it      exit 7
    └── PolicyViolation        a rule of the organisation forbids it         exit 8

A message is one sentence that names the thing and the place, with backticks around literals and no full
stop. A hint says what to do. Everything else is data, for programs and for `--json`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar


class EnvironmentsError(Exception):
    """What all errors of this package have in common: a message, perhaps a hint, an exit code."""

    exit_code: ClassVar[int] = 1
    headline: ClassVar[str] = "Environment error"

    def __init__(self, message: str, *, hint: str | None = None, output: str = "") -> None:
        """Keep `message` (one sentence), `hint` (what to do) and `output` (what a program printed)."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.output = output

    def explain(self, *, output_lines: int = 20) -> str:
        """Return the message, the last `output_lines` lines of a program's output, and the hint."""
        parts = [self.message]
        if tail := self.output.strip().splitlines()[-output_lines:]:
            parts.append("\n".join(f"  | {line}" for line in tail))
        if self.hint:
            parts.append(f"hint: {self.hint}")
        return "\n\n".join(parts)


class InvalidSpec(EnvironmentsError):
    """The user wrote something that cannot be read."""

    exit_code = 2
    headline = "Invalid environment"


class ResolutionFailed(EnvironmentsError):
    """There is no answer to a request; `causes` says why, as the backend found it."""

    exit_code = 3
    headline = "Environment cannot be resolved"

    def __init__(
        self, message: str, *, hint: str | None = None, output: str = "", packages: Iterable[str] = ()
    ) -> None:
        """Keep also the names of the requested `packages` that the backend blames, where it does."""
        super().__init__(message, hint=hint, output=output)
        self.packages = tuple(packages)


class LockError(EnvironmentsError):
    """A lock cannot be read, or does not hold what it must."""

    exit_code = 4
    headline = "Unusable lock"


class StoreError(EnvironmentsError):
    """Something kept in a store is missing, corrupt or out of reach."""

    exit_code = 5
    headline = "Environment store"


class HydrationFailed(EnvironmentsError):
    """An environment could not be put on disk."""

    exit_code = 6
    headline = "Environment cannot be created"


class ToolNotFound(EnvironmentsError):
    """A program or library that is needed is not there."""

    exit_code = 7
    headline = "Missing tool"


class PolicyViolation(EnvironmentsError):
    """Something is asked for that the settings do not allow."""

    exit_code = 8
    headline = "Not allowed"


class WorkerDied(HydrationFailed):
    """The helper process that solves and links ended without an answer; what it was doing can be repeated."""
