"""What no other Python would change is said at once; what conda provides instead of the only way is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from mfenv.domain.artifact import Artifact
from mfenv.domain.flags import ResolverFlag
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.requirement import Requirement
from mfenv.domain.resolved import CondaRecord, ResolvedEnvironment, ResolvedPackage, ResolvedPypiPackage
from mfenv.domain.spec import EnvironmentSpec
from mfenv.errors import ResolutionFailed
from mfenv.resolve.hybrid import HybridResolver
from mfenv.resolve.pypi import Demand, OutOfReachError, Preferred, Provided, PypiRequest


@dataclass
class Conda:
    """Has the Python that it is asked for, by default 3.12.1, and `tiny`."""

    name: str = "conda"
    asked: list[ResolutionRequest] = field(default_factory=list)

    def resolve(self, request: ResolutionRequest) -> ResolvedEnvironment:
        self.asked.append(request)
        minor = request.constraints[0].version.removesuffix(".*") if request.constraints else "3.12"
        return ResolvedEnvironment(platform=Platform.LINUX_64, packages=(package("python", f"{minor}.1"),), resolver="")


def package(name: str, version: str) -> ResolvedPackage:
    record = CondaRecord(name=name, version=version, build="0", build_number=0, subdir="linux-64", channel="c")
    return ResolvedPackage(
        record=record, artifact=Artifact(file_name=f"{name}.conda", url=f"https://example.org/{name}")
    )


@dataclass
class Pypi:
    """Fails with one error after the other, then finds nothing."""

    errors: list[ResolutionFailed]
    name: str = "pypi"
    asked: list[PypiRequest] = field(default_factory=list)

    def resolve(self, request: PypiRequest) -> tuple[ResolvedPypiPackage, ...]:
        self.asked.append(request)
        if self.errors:
            raise self.errors.pop(0)
        return ()

    def prefer(self, request: PypiRequest, candidates: Mapping[str, Sequence[str]] | None = None) -> Preferred:
        if self.errors:
            raise self.errors.pop(0)
        return Preferred(versions={}, needed_by={})

    def demands(self, failure: ResolutionFailed, request: PypiRequest) -> tuple[Demand, ...]:
        return ()


@dataclass
class Distributions:
    """conda's packages bring `provided`."""

    provided: tuple[Provided, ...] = ()

    def provided_by(self, packages: Sequence[ResolvedPackage]) -> tuple[Provided, ...]:
        return self.provided

    def with_extras(
        self, packages: Sequence[ResolvedPackage], provided: Sequence[Provided], projects: Sequence[str]
    ) -> tuple[Provided, ...]:
        return tuple(provided)

    def versions(
        self, request: ResolutionRequest, specs: Sequence[MatchSpec], beside: Sequence[ResolvedPackage]
    ) -> Mapping[str, Sequence[str]]:
        return {spec.name: ["3.12.1", "3.11.1", "3.10.1"] for spec in specs}


TARGET = baseline(Platform.LINUX_64)
SPEC = EnvironmentSpec(
    python=PythonConstraint.parse(">=3.10", where="here"),
    conda=(),
    channels=(),
    pypi=(Requirement(name="tiny"),),
    pypi_constraints=(Requirement(name="other", specifier="<2"),),
    flags=(ResolverFlag(name="prerelease", value="allow"),),
)
REQUEST = ResolutionRequest(spec=SPEC, target=TARGET)


def resolver(pypi: Pypi, provided: tuple[Provided, ...] = ()) -> HybridResolver:
    return HybridResolver(conda=Conda(), pypi=pypi, distributions=Distributions(provided), host=Platform.LINUX_64)


def pythons(pypi: Pypi) -> list[str]:
    return [request.python for request in pypi.asked]


def test_another_python_is_tried_when_packages_do_not_fit() -> None:
    pypi = Pypi([ResolutionFailed("no"), ResolutionFailed("no"), ResolutionFailed("no"), ResolutionFailed("no")])
    resolver(pypi).resolve(REQUEST)
    assert pythons(pypi) == ["3.12.1", "3.11.1", "3.10.1"]


@pytest.mark.parametrize("before", [0, 1, 2])
def test_no_other_python_is_tried_when_an_index_is_out_of_reach(before: int) -> None:
    """Whether it was from the beginning, or went away while what PyPI would need was looked for."""
    pypi = Pypi([*(ResolutionFailed("no") for _ in range(before)), OutOfReachError("nobody there")])
    with pytest.raises(OutOfReachError, match="nobody there"):
        resolver(pypi).resolve(REQUEST)
    assert pythons(pypi) == ["3.12.1", "3.11.1"][: 1 + before // 2]


def test_the_pypi_side_is_told_all_that_was_asked_for() -> None:
    pypi = Pypi([])
    resolver(pypi).resolve(REQUEST)
    (asked,) = pypi.asked
    assert asked == PypiRequest(
        requirements=SPEC.pypi,
        python="3.12.1",
        target=TARGET,
        constraints=SPEC.pypi_constraints,
        flags=SPEC.flags,
    )


@pytest.mark.parametrize(
    ("wanted", "how"),
    [
        (Requirement(name="tiny", index="https://example.org/simple"), "from the index `https://example.org/simple`"),
        (Requirement(name="tiny", hashes=(f"sha256:{'0' * 64}",)), "with hashes of its files"),
        (Requirement(name="tiny", url="https://example.org/t.whl"), "from an address, `https://example.org/t.whl`"),
    ],
)
def test_what_conda_provides_cannot_stand_in_for_one_file(wanted: Requirement, how: str) -> None:
    provided = (Provided(name="tiny", version="1.0", conda_name="tiny-conda"),)
    request = replace(REQUEST, spec=replace(SPEC, pypi=(wanted,), python=None))
    with pytest.raises(ResolutionFailed) as caught:
        resolver(Pypi([]), provided).resolve(request)
    assert caught.value.message == (
        f"`tiny` is asked for {how}, but conda's packages need or are `tiny-conda`, which provides 1.0"
    )
