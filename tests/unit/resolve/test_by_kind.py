"""Which of two resolvers a request goes to."""

from __future__ import annotations

import pytest

from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import EnvironmentSpec
from mfenv.resolve.by_kind import ByKind
from mfenv.testing.fakes import FakePackage, FakeResolver

PYTHON, PANDAS, REQUESTS = (MatchSpec(name=name) for name in ("python", "pandas", "requests"))
SIX = Requirement(name="six")
PACKAGES = [FakePackage(name).resolved for name in ("python", "pandas", "requests")]


@pytest.mark.parametrize(
    ("conda", "pypi", "asked"),
    [
        ((PYTHON, PANDAS), (SIX,), "mixed"),
        ((PYTHON, PANDAS), (), "others"),
        ((PYTHON,), (SIX,), "others"),
        ((PYTHON, REQUESTS), (SIX,), "others"),
        ((MatchSpec.parse("requests", ">=2", where="here"),), (SIX,), "mixed"),
    ],
)
def test_an_environment_is_mixed_when_somebody_asked_for_both(
    conda: tuple[MatchSpec, ...], pypi: tuple[Requirement, ...], asked: str
) -> None:
    resolvers = {"mixed": FakeResolver(PACKAGES), "others": FakeResolver(PACKAGES)}
    resolver = ByKind(**resolvers, not_asked_for=frozenset({REQUESTS}))
    spec = EnvironmentSpec(python=PythonConstraint.minor(3, 11), conda=conda, channels=(), pypi=pypi)
    request = ResolutionRequest(spec=spec, target=baseline(Platform.LINUX_64))
    resolver.resolve(request)
    assert {name: one.requests for name, one in resolvers.items() if one.requests} == {asked: [request]}


def test_it_has_the_names_of_both() -> None:
    assert ByKind(mixed=FakeResolver(), others=FakeResolver(), not_asked_for=frozenset()).name == "fake, fake"
