"""conda and PyPI in one environment that agrees with itself.

conda is solved first. What its packages provide on the Python side is read from the packages themselves, and is a
fixed fact for the PyPI resolver. Where PyPI needs another version of something that conda chose, it is asked which of
the versions that the channels have it would take, and conda is asked again with that wish, a bounded number of times.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.resolved import ResolvedEnvironment, ResolvedPackage
from mfenv.domain.spec import EnvironmentSpec
from mfenv.errors import InvalidSpec, ResolutionFailed
from mfenv.resolve.base import Resolver
from mfenv.resolve.clash import clash, refuse_addresses, unreadable
from mfenv.resolve.foreign import ForeignBuildError, with_conda
from mfenv.resolve.pypi import OutOfReachError, Provided, PypiRequest, PypiResolver, UnknownExtrasError
from mfenv.resolve.versions import normal_version

_ROUNDS = 12
_PYTHONS = 6

Candidates = Mapping[str, Mapping[str, str]]
"""Project to the versions that the channels have of it: as PyPI writes them, and as conda does; newest first."""


class Distributions(Protocol):
    """Knows which distributions are in conda packages, and which versions of those the channels have."""

    def provided_by(self, packages: Sequence[ResolvedPackage]) -> tuple[Provided, ...]:
        """Return what `packages` bring on the Python side, read from the packages. Raises `ResolutionFailed`."""
        ...

    def with_extras(
        self, packages: Sequence[ResolvedPackage], provided: Sequence[Provided], projects: Sequence[str]
    ) -> tuple[Provided, ...]:
        """Return `provided`, with what the extras of `projects` need, read from the packages."""
        ...

    def versions(
        self, request: ResolutionRequest, specs: Sequence[MatchSpec], beside: Sequence[ResolvedPackage]
    ) -> Mapping[str, Sequence[str]]:
        """Return, by name, the versions that match `specs` on the request's channels, newest first.

        Those that are built for another Python than the one in `beside` are left out.
        """
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
        _refuse_python_among(request.spec.conda_only, self.conda, request)
        if not request.spec.pypi:
            return self.conda.resolve(request)
        base = self.conda.resolve(request)
        try:
            return self._agree(request, base)
        except ForeignBuildError as error:
            raise with_conda(error, lambda specs: self.distributions.versions(request, specs, base.packages)) from error
        except OutOfReachError:
            raise
        except ResolutionFailed:
            for python in self._other_pythons(request, base):
                try:
                    asked = replace(request, constraints=(python,))
                    return self._agree(asked, self.conda.resolve(asked))
                except OutOfReachError:
                    raise
                except ResolutionFailed:
                    continue
            raise

    def _agree(self, request: ResolutionRequest, base: ResolvedEnvironment) -> ResolvedEnvironment:
        """Join PyPI's answer to `base`, or to what conda answers with PyPI's wishes."""
        asked = self._asked(request, base)
        refuse_addresses(asked)
        try:
            return self._joined(asked, base)
        except (ForeignBuildError, OutOfReachError):
            raise
        except ResolutionFailed as failure:
            first = failure
        latest, candidates, wishes = asked, self._candidates(request, asked, base), dict[str, str]()
        refused: _CondaRefusesError | None = None
        for _ in range(_ROUNDS):
            found = self._wishes(latest, candidates)
            if not found or wishes.items() >= found.items():
                break
            tried = wishes | found
            try:
                base = self._with(request, tried, candidates, latest)
                latest = self._asked(request, base)
                return self._joined(latest, base)
            except _CondaRefusesError as refusal:
                refused = refused or refusal
                candidates = _without(candidates, refusal.wishes)
                wishes = {}
            except OutOfReachError:
                raise
            except ResolutionFailed:
                wishes = tried
                candidates = {**self._candidates(request, latest, base), **candidates}
        raise self._explained(request, asked, first, refused)

    def _joined(self, asked: PypiRequest, base: ResolvedEnvironment) -> ResolvedEnvironment:
        try:
            found = self.pypi.resolve(asked)
        except UnknownExtrasError as unknown:
            provided = self.distributions.with_extras(base.packages, asked.provided, unknown.packages)
            found = self.pypi.resolve(replace(asked, provided=provided))
        return replace(base, pypi=found, resolver=f"{base.resolver}, {self.pypi.name}")

    def _asked(self, request: ResolutionRequest, base: ResolvedEnvironment) -> PypiRequest:
        provided = self.distributions.provided_by(base.packages)
        return pypi_request(request, base, provided, may_build=request.target.platform is self.host)

    def _candidates(self, request: ResolutionRequest, asked: PypiRequest, base: ResolvedEnvironment) -> Candidates:
        """Return the versions that conda could provide in place of those it does, within what the user asked of it."""
        wanted = {spec.name: spec for spec in request.match_specs}
        specs = [wanted.get(provided.conda_name, MatchSpec(name=provided.conda_name)) for provided in asked.provided]
        versions = self.distributions.versions(request, specs, base.packages)
        records = {package.record.name: package.record.version for package in base.packages}
        candidates = {}
        for provided in asked.provided:
            mine = {normal_version(provided.version) or "": records[provided.conda_name]}
            # Where conda counts otherwise than PyPI, only the version that was looked at is known.
            if normal_version(records[provided.conda_name]) in mine:
                mine |= {normal: text for text in versions[provided.conda_name] if (normal := normal_version(text))}
            candidates[provided.name] = {normal: text for normal, text in mine.items() if normal}
        return {name: versions for name, versions in candidates.items() if versions}

    def _wishes(self, asked: PypiRequest, candidates: Candidates) -> dict[str, str]:
        """Return the versions, as PyPI writes them, that conda should provide; empty when none would help."""
        try:
            preferred = self.pypi.prefer(asked, {name: list(versions) for name, versions in candidates.items()})
        except OutOfReachError:
            raise
        except ResolutionFailed:
            return {}
        return {
            provided.name: version
            for provided in asked.provided
            if (version := preferred.versions.get(provided.name)) in candidates.get(provided.name, ())
            and version is not None
            and version != normal_version(provided.version)
        }

    def _with(
        self, request: ResolutionRequest, wishes: Mapping[str, str], candidates: Candidates, asked: PypiRequest
    ) -> ResolvedEnvironment:
        """Ask conda again. Raises `_CondaRefusesError` with the wishes that it cannot grant."""
        conda_names = {provided.name: provided.conda_name for provided in asked.provided}
        specs = {
            name: MatchSpec(name=conda_names[name], version=f"=={candidates[name][version]}")
            for name, version in wishes.items()
            if name in conda_names
        }
        try:
            return self.conda.resolve(_constrained(request, specs.values()))
        except ResolutionFailed as failure:
            refused = [name for name, spec in specs.items() if not self._grants(request, spec)]
            # Each can be had, but not all: another version of the first may change that.
            refused = refused or list(specs)[:1]
            raise _CondaRefusesError({name: wishes[name] for name in refused}, failure.output) from failure

    def _grants(self, request: ResolutionRequest, spec: MatchSpec) -> bool:
        try:
            self.conda.resolve(_constrained(request, [spec]))
        except ResolutionFailed:
            return False
        return True

    def _other_pythons(self, request: ResolutionRequest, base: ResolvedEnvironment) -> Iterator[MatchSpec]:
        """Yield the other minor versions of Python that the request leaves room for, newest first."""
        if request.spec.python is None:
            return
        versions = self.distributions.versions(request, [request.spec.python.match_spec], ())["python"]
        chosen = _minor(_python_of(base))
        for minor in list(dict.fromkeys(map(_minor, versions)))[:_PYTHONS]:
            if minor != chosen:
                yield MatchSpec(name="python", version=f"{minor}.*")

    def _explained(
        self,
        request: ResolutionRequest,
        asked: PypiRequest,
        failure: ResolutionFailed,
        refused: _CondaRefusesError | None,
    ) -> ResolutionFailed:
        """Say who needs what on both sides, or that PyPI has no answer even without conda's word.

        `refused` is what conda said to the first wish that it did not grant.
        """
        if not asked.provided:
            return failure
        try:
            preferred = self.pypi.prefer(asked)
        except ResolutionFailed as alone:
            return unreadable(asked, alone) or alone
        base = self.conda.resolve(request)
        versions = self.distributions.versions(
            request, [MatchSpec(name=provided.conda_name) for provided in asked.provided], base.packages
        )
        demands = self.pypi.demands(failure, asked)
        output = "\n".join(text for text in (failure.output, refused.output if refused else "") if text)
        return clash(request, asked, base, preferred, versions, demands, output)


class _CondaRefusesError(ResolutionFailed):
    def __init__(self, wishes: Mapping[str, str], output: str) -> None:
        super().__init__("conda refuses", output=output, packages=wishes)
        self.wishes = wishes


def _constrained(request: ResolutionRequest, specs: Iterable[MatchSpec]) -> ResolutionRequest:
    return replace(request, constraints=(*request.constraints, *specs))


def _without(candidates: Candidates, refused: Mapping[str, str]) -> Candidates:
    return {
        name: {version: text for version, text in versions.items() if refused.get(name) != version}
        for name, versions in candidates.items()
    }


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _python_of(base: ResolvedEnvironment) -> str:
    python = next((p.record.version for p in base.packages if p.record.name == "python"), None)
    if python is None:
        raise ResolutionFailed("the conda side has no Python to install PyPI packages for")
    return python


def pypi_request(
    request: ResolutionRequest, base: ResolvedEnvironment, provided: tuple[Provided, ...], *, may_build: bool
) -> PypiRequest:
    """Return what a PyPI resolver is asked, beside conda's answer `base` and what that provides."""
    return PypiRequest(
        requirements=request.spec.pypi,
        python=_python_of(base),
        target=request.target,
        provided=provided,
        indexes=request.spec.indexes,
        default_index=request.spec.default_index,
        constraints=request.spec.pypi_constraints,
        flags=request.spec.flags,
        options=request.spec.options,
        preferred=request.preferred_pypi,
        may_build=may_build,
    )


def _refuse_python_among(specs: Sequence[MatchSpec], conda: Resolver, request: ResolutionRequest) -> None:
    """Refuse `conda_only` packages that would bring a Python of their own: that is the mixed mode's business."""
    if not specs:
        return
    alone = EnvironmentSpec(
        python=None, conda=tuple(specs), channels=request.spec.channels, options=request.spec.options
    )
    found = conda.resolve(ResolutionRequest(spec=alone, target=request.target))
    if any(package.record.name == "python" for package in found.packages):
        names = ", ".join(f"`{spec.name}`" for spec in specs)
        raise InvalidSpec(
            f"conda_only: {names} would bring a Python",
            hint="Ask for it with @conda: the step then has a mixed environment, in which both sides agree",
        )
