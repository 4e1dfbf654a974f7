"""The complete input of a solve."""

from __future__ import annotations

from dataclasses import dataclass

from mfenv.domain.digest import RequestKey, identity
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Target
from mfenv.domain.python import PythonConstraint
from mfenv.domain.resolved import ResolvedPackage
from mfenv.domain.spec import EnvironmentSpec
from mfenv.errors import InvalidSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolutionRequest:
    """A spec and the target to find packages for."""

    spec: EnvironmentSpec
    target: Target
    constraints: tuple[MatchSpec, ...] = ()
    """What holds for packages if they are chosen at all; found while resolving, never written by the user."""
    kept: tuple[ResolvedPackage, ...] = ()
    """Packages that are in the answer as they are, first and in this order; the spec asks for none of their names."""

    preferred: tuple[ResolvedPackage, ...] = ()
    """Packages that are taken as long as nothing speaks against them: those of an earlier answer."""
    preferred_pypi: tuple[tuple[str, str], ...] = ()
    """The same for PyPI packages: project and version."""

    @property
    def match_specs(self) -> tuple[MatchSpec, ...]:
        """Python and the requested conda packages, without those whose markers do not hold for the target.

        Raises `InvalidSpec` when a marker holds for some of the Pythons that are asked for, and for others not.
        """
        python = self.spec.python
        return tuple(spec for spec in self.spec.match_specs if not spec.marker or self._is_wanted(spec, python))

    def _is_wanted(self, spec: MatchSpec, python: PythonConstraint | None) -> bool:
        from mfenv.domain.markers import applies, pythons_of

        wanted = applies(spec.marker, target=self.target, pythons=pythons_of(python) if python else ("3.12",))
        if wanted is None:
            raise InvalidSpec(
                f"`{spec.name}` from conda: whether `{spec.marker}` holds depends on which Python of `{python}` it is",
                hint="Ask for one minor version of Python, such as `3.11`, or for the package without the marker",
            )
        return wanted

    @property
    def key(self) -> RequestKey:
        """What the user wrote, as an id.

        The order of packages does not count, that of channels does. The target is not part of it: it
        is looked up beside the key, so that one request has one id on all platforms.
        """
        return RequestKey(identity("mfenv/request/1", self.spec.canonical()))
