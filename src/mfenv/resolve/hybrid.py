"""conda and PyPI in one environment that agrees with itself.

conda is solved first. What its packages provide on the Python side is read from the packages themselves, and is a
fixed fact for the PyPI resolver. Where PyPI needs another version of something that conda chose, conda is asked again
with that wish, a bounded number of times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.resolved import ResolvedEnvironment, ResolvedPackage
from mfenv.domain.spec import EnvironmentSpec
from mfenv.errors import InvalidSpec, ResolutionFailed
from mfenv.resolve.base import Resolver
from mfenv.resolve.pypi import Provided, PypiRequest, PypiResolver

_ROUNDS = 6


class Distributions(Protocol):
    """Knows which distributions are in conda packages."""

    def provided_by(self, packages: Sequence[ResolvedPackage]) -> tuple[Provided, ...]:
        """Return what `packages` bring on the Python side, read from the packages. Raises `ResolutionFailed`."""
        ...


@dataclass(frozen=True, kw_only=True)
class HybridResolver:
    """Composes a conda resolver and a PyPI resolver; see `mfenv.resolve.base.Resolver`."""

    conda: Resolver
    pypi: PypiResolver
    distributions: Distributions
    host: Platform
    name: str = "hybrid"

    def resolve(self, request: ResolutionRequest) -> ResolvedEnvironment:
        """See `mfenv.resolve.base.Resolver`; requests without PyPI packages go to the conda resolver as they are."""
        if not request.spec.pypi:
            return self.conda.resolve(request)
        _refuse_python_among(request.spec.conda_only, self.conda, request)
        wishes: dict[str, MatchSpec] = {}
        for _ in range(_ROUNDS):
            base = self._solve_conda(request, wishes)
            provided = self.distributions.provided_by(base.packages)
            asked = _pypi_request(request, base, provided, may_build=request.target.platform is self.host)
            try:
                found = self.pypi.resolve(asked)
            except ResolutionFailed:
                more = self._wishes(asked, wishes)
                if not more:
                    raise
                wishes |= more
                continue
            return replace(base, pypi=found, resolver=f"{base.resolver}, {self.pypi.name}")
        raise ResolutionFailed(
            f"conda and PyPI did not come to agree on {', '.join(f'`{name}`' for name in wishes)} in {_ROUNDS} rounds",
            hint="Ask for a version of it that suits both sides, with @conda",
            packages=list(wishes),
        )

    def _solve_conda(self, request: ResolutionRequest, wishes: dict[str, MatchSpec]) -> ResolvedEnvironment:
        if not wishes:
            return self.conda.resolve(request)
        constrained = replace(request, constraints=tuple(wishes.values()))
        try:
            return self.conda.resolve(constrained)
        except ResolutionFailed as failure:
            wanted = ", ".join(f"`{wish}`" for wish in wishes.values())
            raise ResolutionFailed(
                f"the PyPI packages need {wanted}, which the conda packages leave no room for",
                hint="Loosen one of the two sides, or take that package and those who need it from the same side",
                output=failure.output or failure.message,
                packages=[*failure.packages, *wishes],
            ) from failure

    def _wishes(self, asked: PypiRequest, wishes: dict[str, MatchSpec]) -> dict[str, MatchSpec]:
        """Return what to ask of conda, since PyPI cannot live with what conda chose; empty when that would not help."""
        if not asked.provided:
            return {}
        try:
            preferred = self.pypi.prefer(asked)
        except ResolutionFailed:
            # Without conda's word there is no answer either: the first failure tells why.
            return {}
        found = {}
        for provided in asked.provided:
            version = preferred.get(provided.name)
            if version is not None and not _same(version, provided.version):
                wish = _wish(provided, version)
                if wishes.get(provided.conda_name) != wish:
                    found[provided.conda_name] = wish
        return found


def _pypi_request(
    request: ResolutionRequest, base: ResolvedEnvironment, provided: tuple[Provided, ...], *, may_build: bool
) -> PypiRequest:
    python = next((p.record.version for p in base.packages if p.record.name == "python"), None)
    if python is None:
        raise ResolutionFailed("the conda side has no Python to install PyPI packages for")
    return PypiRequest(
        requirements=request.spec.pypi,
        python=python,
        target=request.target,
        provided=provided,
        indexes=request.spec.indexes,
        default_index=request.spec.default_index,
        options=request.spec.options,
        may_build=may_build,
    )


def _wish(provided: Provided, version: str) -> MatchSpec:
    """Ask conda for the version that PyPI would take, or the nearest below it.

    `version` is the newest that suits the PyPI side, so an upper bound is what it tells for sure. If conda chose an
    older one, it has to come closer from below.
    """
    from packaging.version import Version

    newer = Version(version) > Version(provided.version)
    text = f">{provided.version},<={version}" if newer else f"<={version}"
    return MatchSpec(name=provided.conda_name, version=text)


def _same(left: str, right: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(left) == Version(right)
    except InvalidVersion:
        return left == right


def _refuse_python_among(specs: Sequence[MatchSpec], conda: Resolver, request: ResolutionRequest) -> None:
    """Refuse `conda_only` packages that would bring a Python of their own: that is the mixed mode's business."""
    if not specs:
        return
    alone = EnvironmentSpec(python=None, conda=tuple(specs), channels=request.spec.channels)
    found = conda.resolve(ResolutionRequest(spec=alone, target=request.target))
    if any(package.record.name == "python" for package in found.packages):
        names = ", ".join(f"`{spec.name}`" for spec in specs)
        raise InvalidSpec(
            f"conda_only: {names} would bring a Python",
            hint="Ask for it with @conda: the step then has a mixed environment, in which both sides agree",
        )
