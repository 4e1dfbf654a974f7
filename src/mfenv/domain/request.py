"""The complete input of a solve."""

from __future__ import annotations

from dataclasses import dataclass

from mfenv.domain.digest import RequestKey, identity
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Target
from mfenv.domain.spec import EnvironmentSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolutionRequest:
    """A spec and the target to find packages for."""

    spec: EnvironmentSpec
    target: Target
    constraints: tuple[MatchSpec, ...] = ()
    """What holds for packages if they are chosen at all; found while resolving, never written by the user."""

    @property
    def key(self) -> RequestKey:
        """What the user wrote, as an id.

        The order of packages does not count, that of channels does. The target is not part of it: it
        is looked up beside the key, so that one request has one id on all platforms.
        """
        return RequestKey(identity("mfenv/request/1", self.spec.canonical()))
