"""The seam to PyPI resolvers, and what they are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from mfenv.domain.index import PackageIndex
from mfenv.domain.platform import Target
from mfenv.domain.requirement import Requirement
from mfenv.domain.resolved import ResolvedPypiPackage
from mfenv.domain.spec import SolveOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Provided:
    """A distribution that a conda package brings: fixed, as far as PyPI is concerned."""

    name: str
    """The project's name in the normal form of PEP 503."""
    version: str
    conda_name: str


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
    options: SolveOptions = field(default_factory=SolveOptions)
    may_build: bool = True
    """Whether wheels can be built for the target here."""


class PypiResolver(Protocol):
    """Finds PyPI packages for a target that need not be this machine.

    Called from a thread of its own, several at a time; changes no environment.
    """

    @property
    def name(self) -> str:
        """The backend's name in settings."""
        ...

    def resolve(self, request: PypiRequest) -> tuple[ResolvedPypiPackage, ...]:
        """Return what has to be installed besides what is provided. Raises `ResolutionFailed`."""
        ...

    def prefer(self, request: PypiRequest) -> Mapping[str, str]:
        """Return project to version when what is provided is only preferred, and may be left for another version.

        Used after `resolve` failed, to learn what the PyPI side would need instead. Raises `ResolutionFailed` when
        the PyPI side alone has no answer.
        """
        ...
