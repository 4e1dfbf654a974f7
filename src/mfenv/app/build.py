"""Wheels for a request's packages that have none, built with the Python that the request was answered with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mfenv.app.lock import Build, Measure, lock_of
from mfenv.build.wheels import WheelBuilder
from mfenv.domain.locked import LockedPypiPackage
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform, Target
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.resolved import ResolvedEnvironment, ResolvedPackage, ResolvedPypiPackage
from mfenv.domain.spec import EnvironmentSpec
from mfenv.errors import ResolutionFailed
from mfenv.hydrate.service import Hydrator
from mfenv.resolve.base import Resolver
from mfenv.resolve.foreign import ForeignBuildError, with_conda


class Versions(Protocol):
    """Tells which versions channels have: see `mfenv.resolve.hybrid.Distributions.versions`."""

    def __call__(
        self, request: ResolutionRequest, specs: Sequence[MatchSpec], beside: Sequence[ResolvedPackage], /
    ) -> Mapping[str, Sequence[str]]:
        """Return the versions by name, newest first."""
        ...


@dataclass(frozen=True, kw_only=True)
class Builds:
    """Makes builders; each has an interpreter of its own, from the request's channels, for this machine."""

    resolver: Resolver
    hydrator: Hydrator
    measure: Measure
    conda_versions: Versions
    host_target: Target
    wheel_builder: Callable[[ResolutionRequest, Callable[[str], Path]], WheelBuilder]
    """Makes a builder for a request, with what gives an interpreter of a version."""

    def for_request(self, request: ResolutionRequest, answer: ResolvedEnvironment) -> Build:
        """Return what builds wheels for the answer to `request`. Nothing is done before it is called."""
        host = self.host_target.platform
        builder = self.wheel_builder(request, lambda version: self._python(request, version))

        def build(package: ResolvedPypiPackage) -> LockedPypiPackage:
            python = next(p.record.version for p in answer.packages if p.record.name == "python")
            if package.build is None:
                raise _no_wheel(package, answer.platform)
            try:
                return builder.build(package, python=python, platform=answer.platform, host=host)
            except ForeignBuildError as error:
                raise with_conda(error, lambda specs: self.conda_versions(request, specs, ())) from error

        return build

    def _python(self, request: ResolutionRequest, version: str) -> Path:
        spec = EnvironmentSpec(
            python=PythonConstraint(version=f"=={version}"), conda=(), channels=request.spec.channels
        )
        answer = self.resolver.resolve(ResolutionRequest(spec=spec, target=self.host_target))
        lock = lock_of(answer, self.measure, lambda package: _unexpected(package))
        return self.hydrator.hydrate(lock).python


def _unexpected(package: ResolvedPypiPackage) -> LockedPypiPackage:
    raise ResolutionFailed(f"`{package.name}` turned up in an environment to build in")


def _no_wheel(package: ResolvedPypiPackage, platform: Platform) -> ResolutionFailed:
    return ResolutionFailed(
        f"`{package.name}` {package.version} has neither a wheel for {platform.value} nor a source to build one from",
        hint=f"Ask for another version, or take `{package.name}` from conda if a channel has it",
        packages=[package.name],
    )
