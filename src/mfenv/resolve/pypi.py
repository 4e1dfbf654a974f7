"""The seam to PyPI resolvers, and what they are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mfenv.domain.flags import ResolverFlag
from mfenv.domain.index import PackageIndex
from mfenv.domain.markers import applies
from mfenv.domain.platform import Target
from mfenv.domain.requirement import Requirement
from mfenv.domain.resolved import ResolvedPypiPackage
from mfenv.domain.spec import SolveOptions
from mfenv.errors import ResolutionFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Provided:
    """A distribution that a conda package brings: fixed, as far as PyPI is concerned."""

    name: str
    """The project's name in the normal form of PEP 503."""
    version: str
    conda_name: str
    extra_requirements: tuple[str, ...] | None = None
    """What its extras need, as its metadata has it (``Requires-Dist``); None: not looked up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PypiRequest:
    """The complete input of a PyPI resolution."""

    requirements: tuple[Requirement, ...]
    python: str
    """The exact version that the environment has."""
    target: Target
    provided: tuple[Provided, ...] = ()
    indexes: tuple[PackageIndex, ...] = ()
    default_index: PackageIndex | None = None
    constraints: tuple[Requirement, ...] = ()
    """What holds for packages if they are chosen at all."""
    flags: tuple[ResolverFlag, ...] = ()
    options: SolveOptions = field(default_factory=SolveOptions)
    preferred: tuple[tuple[str, str], ...] = ()
    """Projects and versions that are taken as long as nothing speaks against them."""
    may_build: bool = True
    """Whether wheels can be built for the target here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Who, among the PyPI packages, needs which versions of something."""

    project: str
    specifier: str
    """Empty when it is not known which versions."""
    example: str = ""
    """A version that would do, when nothing else is known."""
    by: str = ""
    """The project that needs it; empty for the user."""
    through: str = ""
    """The requested package that brought `by`, when that is another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferred:
    """What a PyPI resolver would take, were it free to."""

    versions: Mapping[str, str]
    needed_by: Mapping[str, tuple[str, ...]]
    """Project to the projects that need it; requested ones are there under themselves too."""


class UnknownExtrasError(ResolutionFailed):
    """Somebody needs extras of provided distributions, whose `extra_requirements` are not known yet."""

    def __init__(self, projects: Sequence[str]) -> None:
        """Name the distributions."""
        super().__init__(f"extras of {', '.join(projects)} are needed", packages=projects)


class OutOfReachError(ResolutionFailed):
    """An index or a repository cannot be reached, or does not let one in: no other versions would change that."""


def hashes_of(request: PypiRequest) -> dict[str, frozenset[str]]:
    """Return, by project, the digests of which its file must have one, where somebody named some."""
    found: dict[str, frozenset[str]] = {}
    for wanted in (*request.requirements, *request.constraints):
        is_there = not wanted.marker or applies(wanted.marker, target=request.target, pythons=[request.python])
        if wanted.hashes and is_there:
            found[wanted.name] = found.get(wanted.name, frozenset()) | frozenset(wanted.hashes)
    return found


class PypiResolver(Protocol):
    """Finds PyPI packages for a target that need not be this machine.

    Called from a thread of its own, several at a time; changes no environment.
    """

    @property
    def name(self) -> str:
        """The backend's name in settings."""
        ...

    def resolve(self, request: PypiRequest) -> tuple[ResolvedPypiPackage, ...]:
        """Return what has to be installed besides what is provided.

        Raises `UnknownExtrasError` when it has to know extras of what is provided, `OutOfReachError` when
        asking for something else would not help, else `ResolutionFailed`.
        """
        ...

    def prefer(self, request: PypiRequest, candidates: Mapping[str, Sequence[str]] | None = None) -> Preferred:
        """Return what it would take when what is provided is only preferred.

        A project among `candidates` can have these versions and no others. Used after `resolve` failed, to learn what
        the PyPI side would need instead. Raises `ResolutionFailed` when there is no answer.
        """
        ...

    def demands(self, failure: ResolutionFailed, request: PypiRequest) -> tuple[Demand, ...]:
        """Return what `failure`, which came of `request`, tells of who needs what of the provided distributions."""
        ...
