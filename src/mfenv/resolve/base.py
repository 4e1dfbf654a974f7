"""The resolver seam."""

from __future__ import annotations

from typing import Protocol

from mfenv.domain.request import ResolutionRequest
from mfenv.domain.resolved import ResolvedEnvironment


class Resolver(Protocol):
    """Turns a request into exact packages.

    Called at most once for each distinct request of a run, from a thread of its own, several at a time.
    Must not create or change any prefix. Raises `ResolutionFailed` with the backend's own causes when there
    is no solution.
    """

    @property
    def name(self) -> str:
        """The backend's name in settings."""
        ...

    def resolve(self, request: ResolutionRequest) -> ResolvedEnvironment:
        """Return packages that satisfy `request`, in the order in which they can be installed.

        Those that it has as kept come first and are what they were, whatever the channels have of their names today.
        """
        ...
