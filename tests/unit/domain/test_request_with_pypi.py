"""Which changes to a request with PyPI packages change its key."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.domain.channel import Channel
from mfenv.domain.index import PackageIndex
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import EnvironmentSpec, IndexStrategy, SolveOptions, SpecLayer, complete

LINUX = baseline(Platform.LINUX_64, {})
A, B = (PackageIndex(url=f"https://{host}/simple") for host in ("a", "b"))

BASE = EnvironmentSpec(
    python=PythonConstraint.minor(3, 11),
    conda=(MatchSpec(name="numpy"),),
    channels=(Channel(location="conda-forge"),),
    pypi=(Requirement(name="requests", specifier=">=2"),),
    indexes=(A, B),
)

DIFFERENT = {
    "the same": BASE,
    "no PyPI packages": replace(BASE, pypi=()),
    "another package": replace(BASE, pypi=(Requirement(name="httpx", specifier=">=2"),)),
    "another version": replace(BASE, pypi=(Requirement(name="requests", specifier=">=3"),)),
    "an extra": replace(BASE, pypi=(Requirement(name="requests", extras=("socks",), specifier=">=2"),)),
    "a marker": replace(BASE, pypi=(Requirement(name="requests", specifier=">=2", marker='os_name == "nt"'),)),
    "an address": replace(BASE, pypi=(Requirement(name="requests", url="file:///srv/a"),)),
    "editable": replace(BASE, pypi=(Requirement(name="requests", url="file:///srv/a", is_editable=True),)),
    "content of a folder": replace(BASE, local_content=(("requests", "0123"),)),
    "other content": replace(BASE, local_content=(("requests", "4567"),)),
    "conda packages beside": replace(BASE, conda_only=(MatchSpec(name="ffmpeg"),)),
    "another order of indexes": replace(BASE, indexes=(B, A)),
    "one index less": replace(BASE, indexes=(A,)),
    "a default index": replace(BASE, default_index=A),
    "another default index": replace(BASE, default_index=B),
    "another strategy": replace(BASE, options=SolveOptions(index_strategy=IndexStrategy.BEST_MATCH)),
    "a date": replace(BASE, options=SolveOptions(exclude_newer="2025-01-31")),
    "another Python": replace(BASE, python=PythonConstraint.minor(3, 12)),
}


def key(spec: EnvironmentSpec) -> str:
    return ResolutionRequest(spec=spec, target=LINUX).key


@pytest.mark.parametrize(("left", "right"), [*itertools.combinations(DIFFERENT, 2)])
def test_different_wishes_have_different_keys(left: str, right: str) -> None:
    assert key(DIFFERENT[left]) != key(DIFFERENT[right])


def completed(*pypi: Requirement, **others: object) -> EnvironmentSpec:
    layer = SpecLayer(pypi=pypi, indexes=(A, B))
    return complete(layer, default_python=PythonConstraint.minor(3, 11), default_channels=(), needs=(), **others)  # type: ignore[arg-type]


@given(st.permutations(["requests>=2", "numpy", "pandas[excel]==2", "a @ file:///srv/a"]))
def test_the_order_of_packages_never_counts(texts: list[str]) -> None:
    expected = completed(*(Requirement.from_text(text, where="") for text in sorted(texts)))
    assert key(completed(*(Requirement.from_text(text, where="") for text in texts))) == key(expected)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("Requests", ">=2, <3"), ("requests", "<3,>=2")),
        (("a_b[x,y]", "1"), ("A.B[y, x]", "==1")),
        (("a", "./lib"), ("a @ file:///there/lib", "")),
        (("a", "@ https://me:one@host/a.whl"), ("a", "https://other:two@host/a.whl")),
        (("a", "git+https://token@host/r.git@main"), ("a @ git+https://host/r.git@main", "")),
    ],
)
def test_neither_spelling_nor_credentials_count(one: tuple[str, str], other: tuple[str, str]) -> None:
    found = [Requirement.parse(*text, where="", relative_to=Path("/there")) for text in (one, other)]
    assert key(completed(found[0])) == key(completed(found[1]))


def test_ids_of_requests_without_pypi_packages_are_what_they_always_were() -> None:
    spec = replace(BASE, pypi=(), indexes=())
    assert key(spec) == "f0933b40faddf5d18193a26d875884020b7691b0"
    assert key(replace(spec, indexes=(A,))) == key(spec), "indexes mean nothing to conda"
