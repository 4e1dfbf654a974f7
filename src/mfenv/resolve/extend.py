"""Building upon what is there: everything of it is kept as it is, and only what is missing is found.

What is kept is a fixed fact for both sides: pinned for the conda resolver, provided for the PyPI resolver. So nothing
that is asked for on top can change or drop it; where the two do not go together, that is an error which names both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from mfenv.domain.artifact import Artifact, LockedArtifact
from mfenv.domain.base import LockFile, LockFileContent, LockFilePypiPackage
from mfenv.domain.channel import Channel
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.matchspec import MatchSpec, parse_version_spec
from mfenv.domain.platform import Platform, Target
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.requirement import Requirement
from mfenv.domain.resolved import ResolvedEnvironment, ResolvedPackage, ResolvedPypiPackage
from mfenv.errors import InvalidSpec, ResolutionFailed
from mfenv.resolve.base import Resolver
from mfenv.resolve.clash import demands_on, need_of, unreadable
from mfenv.resolve.foreign import ForeignBuildError, with_conda
from mfenv.resolve.hybrid import Distributions, pypi_request
from mfenv.resolve.pypi import OutOfReachError, Provided, PypiRequest, PypiResolver, UnknownExtrasError
from mfenv.resolve.satisfies import (
    Distribution,
    is_wanted,
    may_hold_python,
    normal_name,
    other_distribution,
    other_package,
    shown,
)

_HINT = "Ask for another version, or do not build upon that environment"
_OF_PYTHON = frozenset({"python", "python_abi"})


class LockFiles(Protocol):
    """Reads lock files of other tools. Called from any thread; changes nothing."""

    def content(self, lock_file: LockFile, target: Target) -> LockFileContent:
        """Return what `lock_file` holds for `target`: conda packages whole and in install order.

        Raises `LockError` naming file and field.
        """
        ...


class Select(Protocol):
    """Chooses among the PyPI packages of a lock file; see `mfenv.resolve.lock_files.select`."""

    def __call__(
        self,
        packages: Sequence[LockFilePypiPackage],
        *,
        target: Target,
        python: str,
        requires_python: str = "",
        environments: Collection[str] = (),
    ) -> tuple[ResolvedPypiPackage, ...]:
        """Return those for CPython `python` on `target`. Raises `LockError` when the file is not for that Python."""
        ...


Requires = Callable[[ResolvedPypiPackage], Sequence[str]]
"""Reads from a wheel what it requires (``Requires-Dist``), what its extras do included; may have to bring it here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    """What is built upon, for one target."""

    shown: str
    packages: tuple[ResolvedPackage, ...]
    wheels: Callable[[str], tuple[ResolvedPypiPackage, ...]]
    """Gives the PyPI packages for a version of Python."""
    channels: tuple[Channel, ...] = ()
    requires_python: str = ""
    variables: tuple[tuple[str, str], ...] = ()

    @property
    def python(self) -> str | None:
        """The version of Python, where that is settled."""
        return next((p.record.version for p in self.packages if p.record.name == "python"), None)

    @property
    def has_conda_modules(self) -> bool:
        """Whether conda packages, other than those of Python itself, hold Python modules."""
        of_python = _needed_by(_OF_PYTHON, self.packages)
        return any(may_hold_python(p.record) for p in self.packages if p.record.name not in of_python)


@dataclass(frozen=True, kw_only=True)
class ExtendingResolver:
    """Answers requests that build upon something, and hands on the others; see `mfenv.resolve.base.Resolver`.

    Where only one side is asked for something, the other's resolver is not called; where nothing is, none is.
    """

    inner: Resolver
    """For requests that build upon nothing."""
    conda: Resolver
    pypi: PypiResolver
    distributions: Distributions
    lock_files: LockFiles
    select: Select
    requires: Requires
    host: Platform
    name: str = "extending"

    def resolve(self, request: ResolutionRequest) -> ResolvedEnvironment:
        """See `mfenv.resolve.base.Resolver`."""
        if request.spec.base is None:
            return self.inner.resolve(request)
        base = self._read(request.spec.base, request.target)
        asked = _without_what_is_there(request, base)
        if base.python is None:
            return self._finish(asked, base, self._with_python(asked, base), asked.spec.needs)
        wheels = base.wheels(base.python)
        missing = self._missing_needs(asked.spec.needs, base, wheels)
        kept = ResolvedEnvironment(platform=request.target.platform, packages=base.packages, resolver="kept")
        if not missing or not base.has_conda_modules:
            return self._finish(asked, base, self._conda(asked, kept), missing)
        try:
            return self._finish(asked, base, self._conda(_plus(asked, missing), kept), ())
        except (ForeignBuildError, OutOfReachError):
            raise
        except ResolutionFailed:
            # Nobody chose conda for them: what they bring there may be what is kept from PyPI.
            return self._finish(asked, base, self._conda(asked, kept), missing)

    def _read(self, base: LockFile | LockedEnvironment, target: Target) -> _Base:
        if isinstance(base, LockedEnvironment):
            return _of_lock(base, target)
        found = self.lock_files.content(base, target)
        return _Base(
            shown=f"`{base}`",
            packages=_whole(found, base),
            wheels=lambda python: self.select(
                found.pypi,
                target=target,
                python=python,
                requires_python=found.requires_python,
                environments=found.environments,
            ),
            channels=found.channels,
            requires_python=found.requires_python,
            variables=found.variables,
        )

    def _missing_needs(
        self, needs: tuple[MatchSpec, ...], base: _Base, wheels: Sequence[ResolvedPypiPackage]
    ) -> tuple[MatchSpec, ...]:
        """Return the needs that neither a package nor a distribution of their names answers."""
        there = {p.record.name for p in base.packages} | {wheel.name for wheel in wheels}
        missing = tuple(need for need in needs if need.name not in there and normal_name(need.name) not in there)
        if missing and base.has_conda_modules:
            brought = {found.name for found in self.distributions.provided_by(base.packages)}
            missing = tuple(need for need in missing if normal_name(need.name) not in brought)
        return missing

    def _conda(self, asked: ResolutionRequest, kept: ResolvedEnvironment) -> ResolvedEnvironment:
        """Return what is kept with the conda packages that are asked for; no solve where that are none."""
        if not asked.match_specs:
            return kept
        found = self.conda.resolve(replace(asked, kept=kept.packages))
        return replace(found, resolver=f"{kept.resolver}, {found.resolver}")

    def _with_python(self, asked: ResolutionRequest, base: _Base) -> ResolvedEnvironment:
        """Return the conda side of a base that leaves Python open: one that both it and the user can have."""
        if asked.spec.python is None:
            raise ResolutionFailed(
                f"{base.shown} has no Python, and none is asked for",
                hint='Say which: python="3.11"',
                packages=["python"],
            )
        kept = ResolvedEnvironment(platform=asked.target.platform, packages=base.packages, resolver="kept")
        bound = _as_constraint(base.requires_python)
        if bound is None:
            return self._conda(asked, kept)
        within = replace(asked, constraints=(*asked.constraints, bound.match_spec))
        try:
            return self._conda(within, kept)
        except OutOfReachError:
            raise
        except ResolutionFailed as failure:
            found = self._conda(asked, kept)
            raise ResolutionFailed(
                f"{base.shown} is for Python `{base.requires_python}`, and what is asked for leaves Python "
                f"{_python_of(found)} (`{asked.spec.python}`)",
                hint=f"Ask for another Python with `python=`, one that is `{base.requires_python}`",
                output=failure.output,
                packages=["python"],
            ) from failure

    def _finish(
        self, asked: ResolutionRequest, base: _Base, conda: ResolvedEnvironment, needs: tuple[MatchSpec, ...]
    ) -> ResolvedEnvironment:
        """Put the PyPI side onto conda's answer; `needs` come from PyPI where nothing is there for them."""
        wheels = base.wheels(_python_of(conda))
        answer = replace(conda, pypi=wheels, variables=base.variables)
        new = conda.packages[len(base.packages) :]
        brings_modules = any(may_hold_python(package.record) for package in new)
        pythons = [_python_of(conda)]
        wishes = [w for w in asked.spec.pypi if is_wanted(w.marker, asked.target, pythons)]
        held = {wheel.name: _held(wheel) for wheel in wheels}
        _check_constraints(asked, base, held, pythons)
        open_wishes = [wanted for wanted in wishes if _is_open(wanted, held.get(wanted.name), base.shown)]
        there = {package.record.name for package in conda.packages} | set(held)
        open_needs = [need for need in needs if need.name not in there and normal_name(need.name) not in there]
        if not open_wishes and not open_needs and not (wheels and brings_modules):
            return answer
        provided = self.distributions.provided_by(conda.packages)
        _refuse_twice(provided, new, held, base.shown)
        of_conda = {found.name: Distribution(name=found.name, version=found.version) for found in provided}
        open_wishes = [wanted for wanted in open_wishes if _is_open(wanted, of_conda.get(wanted.name), "conda")]
        requirements = [
            *open_wishes,
            *(Requirement(name=normal_name(n.name)) for n in open_needs if normal_name(n.name) not in of_conda),
        ]
        if not requirements:
            return answer
        try:
            found = self._pypi(asked, base, answer, requirements, provided)
        except ForeignBuildError as error:
            raise with_conda(error, lambda specs: self.distributions.versions(asked, specs, conda.packages)) from error
        return replace(answer, pypi=(*wheels, *found), resolver=f"{answer.resolver}, {self.pypi.name}")

    def _pypi(
        self,
        asked: ResolutionRequest,
        base: _Base,
        answer: ResolvedEnvironment,
        requirements: Sequence[Requirement],
        provided: tuple[Provided, ...],
    ) -> tuple[ResolvedPypiPackage, ...]:
        """Return what has to be installed for `requirements` beside all that is in `answer`."""
        of_wheels = tuple(
            Provided(name=wheel.name, version=wheel.version, conda_name=wheel.name) for wheel in answer.pypi
        )
        request = replace(asked, spec=replace(asked.spec, pypi=tuple(requirements)))
        may_build = asked.target.platform is self.host
        query = pypi_request(request, answer, (*provided, *of_wheels), may_build=may_build)
        try:
            return self._asked(query, base)
        except UnknownExtrasError as unknown:
            projects = unknown.packages
        return self._asked(self._knowing_extras(query, projects, base, answer), base)

    def _asked(self, query: PypiRequest, base: _Base) -> tuple[ResolvedPypiPackage, ...]:
        try:
            found = self.pypi.resolve(query)
        except (ForeignBuildError, OutOfReachError, UnknownExtrasError):
            raise
        except ResolutionFailed as failure:
            raise self._explained(query, base, failure) from failure
        _refuse_seconds(found, query)
        return found

    def _knowing_extras(
        self, query: PypiRequest, projects: Sequence[str], base: _Base, answer: ResolvedEnvironment
    ) -> PypiRequest:
        """Return the query with what the extras need of those `projects`, which are there."""
        wheels = {wheel.name: wheel for wheel in answer.pypi if wheel.name in projects}
        of_conda = [project for project in projects if project not in wheels]
        provided = query.provided
        if of_conda:
            provided = self.distributions.with_extras(answer.packages, provided, of_conda)
        needs = {name: self._requirements_of(wheel, base) for name, wheel in wheels.items()}
        provided = tuple(
            replace(found, extra_requirements=needs[found.name]) if found.name in needs else found for found in provided
        )
        return replace(query, provided=provided)

    def _requirements_of(self, package: ResolvedPypiPackage, base: _Base) -> tuple[str, ...]:
        if package.wheel is None:
            raise ResolutionFailed(
                f"extras of `{package.name}` are needed, which {base.shown} has as a source: what they need is only "
                "known when it is built",
                hint="Ask for what the extras need by name",
                packages=[package.name],
            )
        return tuple(self.requires(package))

    def _explained(self, query: PypiRequest, base: _Base, failure: ResolutionFailed) -> ResolutionFailed:
        """Say who needs what of that which is there, or that PyPI has no answer even without it."""
        try:
            preferred = self.pypi.prefer(query)
        except ResolutionFailed as alone:
            return unreadable(query, alone) or alone
        demands = self.pypi.demands(failure, query)
        kept = {package.record.name for package in base.packages} | {w.name for w in base.wheels(query.python)}
        blamed: dict[str, None] = {}
        sentences = []
        for provided in query.provided:
            if needs := demands_on(provided, query, preferred, demands):
                owner = base.shown if provided.conda_name in kept else "conda's side"
                sentences.append(
                    f"{' and '.join(map(need_of, needs))}, but {owner} has {provided.name} {provided.version}"
                )
                blamed |= dict.fromkeys(n for need in needs for n in (need.through, need.by, need.project) if n)
        if not sentences:
            return failure
        return ResolutionFailed("; ".join(sentences), hint=_HINT, output=failure.output, packages=blamed)


def _of_lock(lock: LockedEnvironment, target: Target) -> _Base:
    if lock.platform is not target.platform:
        raise ResolutionFailed(
            f"the environment that is built upon is for {lock.platform.value}, and the step runs on "
            f"{target.platform.value}",
            hint=f"Build upon one that was made for {target.platform.value}",
        )
    wheels = tuple(
        ResolvedPypiPackage(
            name=package.name,
            version=package.version,
            wheel=_artifact(package.artifact),
            built_from=package.built_from,
        )
        for package in lock.pypi
    )
    return _Base(
        shown="the environment that is built upon",
        packages=tuple(
            ResolvedPackage(record=package.record, artifact=_artifact(package.artifact)) for package in lock.packages
        ),
        wheels=lambda _python: wheels,
        variables=lock.variables,
    )


def _artifact(locked: LockedArtifact) -> Artifact:
    return Artifact(file_name=locked.file_name, url=locked.url, size=locked.size, sha256=locked.sha256)


def _whole(found: LockFileContent, lock_file: LockFile) -> tuple[ResolvedPackage, ...]:
    packages = tuple(package for package in found.conda if isinstance(package, ResolvedPackage))
    assert len(packages) == len(found.conda), f"{lock_file}: a package was not looked into"
    return packages


def _without_what_is_there(request: ResolutionRequest, base: _Base) -> ResolutionRequest:
    """Return what is asked for besides what the base has already.

    Raises `ResolutionFailed` naming both when the base has something that is asked for, and it is another.
    """
    spec = request.spec
    records = {package.record.name: package.record for package in base.packages}
    pythons = [base.python] if base.python else []
    wishes = (*spec.conda, *spec.conda_only)
    if pythons:
        # Whether it is wanted is settled with the Python.
        wishes = tuple(replace(w, marker="") for w in wishes if is_wanted(w.marker, request.target, pythons))
    for wish in (*([spec.python.match_spec] if spec.python else []), *wishes):
        record = records.get(wish.name)
        if record and (found := other_package(wish, record)):
            raise ResolutionFailed(
                f"`{wish}` is asked for, but {base.shown} has {found}",
                hint=_HINT,
                packages=[wish.name],
            )
    return ResolutionRequest(
        spec=replace(
            spec,
            base=None,
            python=None if base.python else spec.python,
            conda=tuple(wish for wish in wishes if wish.name not in records),
            conda_only=(),
            channels=tuple(dict.fromkeys((*base.channels, *spec.channels))),
        ),
        target=request.target,
        constraints=request.constraints,
    )


def _plus(asked: ResolutionRequest, needs: Iterable[MatchSpec]) -> ResolutionRequest:
    return replace(asked, spec=replace(asked.spec, conda=(*asked.spec.conda, *needs)))


def _needed_by(names: Iterable[str], packages: Sequence[ResolvedPackage]) -> set[str]:
    """Return `names` and all that they need among `packages`."""
    depends = {p.record.name: [text.split()[0] for text in p.record.depends] for p in packages}
    seen, waiting = set(names), list(names)
    while waiting:
        fresh = [name for name in depends.get(waiting.pop(), ()) if name not in seen]
        seen.update(fresh)
        waiting += fresh
    return seen


def _as_constraint(requires_python: str) -> PythonConstraint | None:
    """Return a specifier (PEP 440) as conda writes it; None where there is none, or conda has no word for it."""
    if not requires_python:
        return None
    try:
        return PythonConstraint(version=parse_version_spec(requires_python, where=""))
    except InvalidSpec:
        return None


def _python_of(conda: ResolvedEnvironment) -> str:
    return next(p.record.version for p in conda.packages if p.record.name == "python")


def _held(wheel: ResolvedPypiPackage) -> Distribution:
    build = wheel.build
    source = f"{build.url}@{build.commit}" if build and build.commit else build.url if build else ""
    addresses = (wheel.wheel.url if wheel.wheel else "", wheel.built_from, source)
    return Distribution(
        name=wheel.name,
        version=wheel.version,
        sha256=wheel.wheel.sha256 if wheel.wheel else None,
        addresses=addresses,
    )


def _is_open(wanted: Requirement, held: Distribution | None, owner: str) -> bool:
    """Tell whether there is something to find for a wish. Raises `ResolutionFailed` when what is there is another."""
    if held is None:
        return True
    if found := other_distribution(wanted, held):
        raise ResolutionFailed(
            f"`{shown(wanted)}` is asked for from PyPI, but {owner} has {found}", hint=_HINT, packages=[wanted.name]
        )
    return bool(wanted.extras)


def _check_constraints(
    asked: ResolutionRequest, base: _Base, held: Mapping[str, Distribution], pythons: Sequence[str]
) -> None:
    """Refuse what is kept where it is not within the constraints."""
    for wanted in asked.spec.pypi_constraints:
        there = held.get(wanted.name)
        if there and is_wanted(wanted.marker, asked.target, pythons) and (found := other_distribution(wanted, there)):
            raise ResolutionFailed(
                f"the constraint `{shown(wanted)}` has to hold, but {base.shown} has {found}",
                hint="Loosen the constraint, or do not build upon that environment",
                packages=[wanted.name],
            )


def _refuse_twice(
    provided: Iterable[Provided], new: Sequence[ResolvedPackage], held: Mapping[str, Distribution], owner: str
) -> None:
    """Refuse new conda packages that bring what is there from PyPI: one would overwrite the other's files."""
    names = {package.record.name for package in new}
    for found in provided:
        if found.conda_name in names and found.name in held:
            raise ResolutionFailed(
                f"conda's `{found.conda_name}`, which what is asked for needs or is, brings {found.name} "
                f"{found.version}, but {owner} has {held[found.name]} from PyPI",
                hint="Ask for it, and for what needs it, from PyPI",
                packages=[found.conda_name],
            )


def _refuse_seconds(found: Iterable[ResolvedPypiPackage], query: PypiRequest) -> None:
    """Refuse another copy of what is there, whose version the resolver could not be told."""
    provided = {there.name: there for there in query.provided}
    for package in found:
        if there := provided.get(package.name):
            unreadable_version = f"as version `{there.version}`, which is not a version by PyPI's rules (PEP 440)"
            how = unreadable_version if there.version else "in a version that only a build will tell"
            raise ResolutionFailed(
                f"`{package.name}` is needed from PyPI, and is there already {how}",
                hint="Build upon something that has it as a wheel, or ask for what needs it elsewhere",
                packages=[package.name],
            )
