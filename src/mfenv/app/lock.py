"""From requests to locks: those that are known at once, the others by solving."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mfenv.domain.artifact import Artifact, LockedArtifact
from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment, Provenance
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.resolved import ResolvedEnvironment
from mfenv.errors import EnvironmentsError
from mfenv.resolve.base import Resolver
from mfenv.resolve.service import resolve_all
from mfenv.store.locks import LockStore

Measure = Callable[[Sequence[Artifact]], Sequence[LockedArtifact]]
"""Brings files whose index tells no digest, and tells it."""

Outcome = LockedEnvironment | EnvironmentsError


@dataclass(frozen=True, kw_only=True)
class Locker:
    """Finds and makes locks."""

    locks: LockStore
    resolver: Resolver
    measure: Measure
    user: str
    now: Callable[[], datetime]

    def known(self, requests: Iterable[ResolutionRequest]) -> dict[ResolutionRequest, LockedEnvironment]:
        """Return the locks there are for `requests`; starts nothing and asks nobody."""
        found = {request: self.locks.find(request.key, request.target) for request in dict.fromkeys(requests)}
        return {request: lock for request, lock in found.items() if lock}

    def resolve(self, requests: Iterable[ResolutionRequest]) -> Mapping[ResolutionRequest, Outcome]:
        """Solve `requests`, keep the locks, and return them or the errors that came instead."""
        answers = resolve_all(requests, self.resolver)
        return {request: self._keep(request, answer) for request, answer in answers.items()}

    def _keep(self, request: ResolutionRequest, answer: ResolvedEnvironment | EnvironmentsError) -> Outcome:
        if isinstance(answer, EnvironmentsError):
            return answer
        try:
            lock = lock_of(answer, self.measure)
            self.locks.put(
                lock,
                Provenance(
                    request=request.key,
                    target=request.target,
                    resolver=answer.resolver,
                    user=self.user,
                    time=self.now(),
                ),
            )
        except EnvironmentsError as error:
            return error
        return lock


def lock_of(answer: ResolvedEnvironment, measure: Measure) -> LockedEnvironment:
    """Turn a resolver's answer into a promise: every file with its size and sha256.

    What the index does not tell is found out by `measure`, all at once.
    """
    vague = [package.artifact for package in answer.packages if _locked(package.artifact) is None]
    measured = dict(zip(vague, measure(vague), strict=True)) if vague else {}
    return LockedEnvironment(
        platform=answer.platform,
        packages=tuple(
            LockedCondaPackage(record=package.record, artifact=_locked(package.artifact) or measured[package.artifact])
            for package in answer.packages
        ),
    )


def _locked(artifact: Artifact) -> LockedArtifact | None:
    if artifact.sha256 is None or artifact.size is None:
        return None
    return LockedArtifact(file_name=artifact.file_name, url=artifact.url, size=artifact.size, sha256=artifact.sha256)
