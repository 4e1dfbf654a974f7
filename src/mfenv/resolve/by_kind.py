"""Requests for conda and PyPI packages together may go to a resolver of their own."""

from __future__ import annotations

from dataclasses import dataclass

from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.resolved import ResolvedEnvironment
from mfenv.resolve.base import Resolver


@dataclass(frozen=True, slots=True, kw_only=True)
class ByKind:
    """Sends each request to the resolver for its kind; see `mfenv.resolve.base.Resolver`."""

    mixed: Resolver
    """For conda and PyPI packages in one environment."""
    others: Resolver
    not_asked_for: frozenset[MatchSpec]
    """conda packages for whose sake an environment is not mixed, nor for Python's: nobody asked for them."""

    @property
    def name(self) -> str:
        """Both names; an answer has that of who gave it."""
        return f"{self.mixed.name}, {self.others.name}"

    def resolve(self, request: ResolutionRequest) -> ResolvedEnvironment:
        """See `mfenv.resolve.base.Resolver`."""
        asked = [one for one in request.spec.conda if one.name != "python" and one not in self.not_asked_for]
        is_mixed = bool(request.spec.pypi and asked)
        return (self.mixed if is_mixed else self.others).resolve(request)
