"""Which of two resolvers a request goes to."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.requirement import Requirement
from mfenv.domain.resolved import ResolvedEnvironment
from mfenv.domain.spec import EnvironmentSpec
from mfenv.resolve.by_kind import ByKind

PYTHON, PANDAS, REQUESTS = (MatchSpec(name=name) for name in ("python", "pandas", "requests"))
SIX = Requirement(name="six")


@dataclass
class Asked(Exception):
    """Tells who was asked."""

    name: str

    def resolve(self, request: ResolutionRequest) -> ResolvedEnvironment:
        raise self


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
    resolver = ByKind(mixed=Asked("mixed"), others=Asked("others"), not_asked_for=frozenset({REQUESTS}))
    spec = EnvironmentSpec(python=PythonConstraint.minor(3, 11), conda=conda, channels=(), pypi=pypi)
    with pytest.raises(Asked) as found:
        resolver.resolve(ResolutionRequest(spec=spec, target=baseline(Platform.LINUX_64)))
    assert found.value.name == asked


def test_it_has_the_names_of_both() -> None:
    assert ByKind(mixed=Asked("a"), others=Asked("b"), not_asked_for=frozenset()).name == "a, b"
