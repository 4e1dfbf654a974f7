"""From requests to locks: those that are known at once, the others by solving."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mfenv.domain.artifact import Artifact, LockedArtifact
from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment, LockedPypiPackage
from mfenv.domain.provenance import Provenance
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.resolved import ResolvedEnvironment, ResolvedPypiPackage
from mfenv.errors import EnvironmentsError
from mfenv.resolve.base import Resolver
from mfenv.resolve.foreign import ForeignBuildError, joined
from mfenv.resolve.service import resolve_all
from mfenv.store.locks import LockStore

Measure = Callable[[Sequence[Artifact]], Sequence[LockedArtifact]]
"""Brings files whose index tells no digest, and tells it."""

Build = Callable[[ResolvedPypiPackage], LockedPypiPackage]
"""Builds the wheel of a package that has none."""

Outcome = LockedEnvironment | EnvironmentsError


@dataclass(frozen=True, kw_only=True)
class Locker:
    """Finds and makes locks."""

    locks: LockStore
    resolver: Resolver
    measure: Measure
    builds: Callable[[ResolutionRequest, ResolvedEnvironment], Build]
    has: Callable[[LockedArtifact], bool]
    """Tells whether a wheel that was built is still here."""
    user: str
    now: Callable[[], datetime]

    def known(self, requests: Iterable[ResolutionRequest]) -> dict[ResolutionRequest, LockedEnvironment]:
        """Return the locks there are for `requests`; starts nothing and asks nobody.

        A lock with a wheel that was built, on another machine or in a cache that is gone, cannot be used: nobody
        serves that wheel.
        """
        found = {request: self.locks.find(request.key, request.target) for request in dict.fromkeys(requests)}
        return {request: lock for request, lock in found.items() if lock and self._is_whole(lock)}

    def _is_whole(self, lock: LockedEnvironment) -> bool:
        return all(self.has(package.artifact) for package in lock.pypi if package.built_from)

    def resolve(self, requests: Iterable[ResolutionRequest]) -> Mapping[ResolutionRequest, Outcome]:
        """Solve `requests`, keep the locks, and return them or the errors that came instead."""
        answers = resolve_all(requests, self.resolver)
        return {request: self._keep(request, answer) for request, answer in answers.items()}

    def _keep(self, request: ResolutionRequest, answer: ResolvedEnvironment | EnvironmentsError) -> Outcome:
        if isinstance(answer, EnvironmentsError):
            return answer
        try:
            lock = lock_of(answer, self.measure, self.builds(request, answer), variables=request.spec.variables)
            self.locks.put(
                lock,
                Provenance(
                    request=request.key,
                    target=request.target,
                    asked=request.spec,
                    resolver=answer.resolver,
                    user=self.user,
                    time=self.now(),
                ),
            )
        except EnvironmentsError as error:
            return error
        return lock


def lock_of(
    answer: ResolvedEnvironment, measure: Measure, build: Build, *, variables: Iterable[tuple[str, str]] = ()
) -> LockedEnvironment:
    """Turn a resolver's answer into a promise: every file by its sha256, every source as the wheel built from it.

    What the index does not tell is found out by `measure`, all at once. `variables` are put over the answer's.
    """
    built = _all_built((package for package in answer.pypi if package.wheel is None), build)
    conda = [package.artifact for package in answer.packages]
    # conda's indexes tell sizes; PyPI's may not, and need not.
    vague = [artifact for artifact in conda if _locked(artifact) is None or artifact.size is None]
    vague += [package.wheel for package in answer.pypi if package.wheel and _locked(package.wheel) is None]
    measured = dict(zip(vague, measure(vague), strict=True)) if vague else {}

    def locked(artifact: Artifact) -> LockedArtifact:
        return measured.get(artifact) or _locked(artifact) or measured[artifact]

    return LockedEnvironment(
        platform=answer.platform,
        packages=tuple(
            LockedCondaPackage(record=package.record, artifact=locked(package.artifact)) for package in answer.packages
        ),
        pypi=tuple(
            LockedPypiPackage(
                name=package.name,
                version=package.version,
                artifact=locked(package.wheel),
                built_from=package.built_from,
            )
            if package.wheel
            else built[package]
            for package in answer.pypi
        ),
        variables=tuple(sorted({**dict(answer.variables), **dict(variables)}.items())),
    )


def _all_built(packages: Iterable[ResolvedPypiPackage], build: Build) -> dict[ResolvedPypiPackage, LockedPypiPackage]:
    """Build what has no wheel; what cannot be built for another platform is refused in one error."""
    built, refused = {}, list[ForeignBuildError]()
    for package in packages:
        try:
            built[package] = build(package)
        except ForeignBuildError as error:
            refused.append(error)
    if refused:
        raise joined(refused)
    return built


def _locked(artifact: Artifact) -> LockedArtifact | None:
    if artifact.sha256 is None:
        return None
    return LockedArtifact(file_name=artifact.file_name, url=artifact.url, size=artifact.size, sha256=artifact.sha256)
