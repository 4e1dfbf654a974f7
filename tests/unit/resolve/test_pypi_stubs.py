"""The real uv takes stubs for what they stand for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mfenv.domain.index import PackageIndex
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.requirement import Requirement
from mfenv.errors import ResolutionFailed
from mfenv.io.process import SystemProcessRunner
from mfenv.resolve.backends.uv import UvResolver
from mfenv.resolve.pypi import Provided, PypiRequest
from mfenv.resolve.stubs import write_stubs
from mfenv.testing.index import index_of
from mfenv.testing.wheels import MadeWheel


def provided(name: str, version: str) -> Provided:
    return Provided(name=name, version=version, conda_name=name)


@pytest.fixture
def request_for_needy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PypiRequest:
    """A request for `needy`, which needs `tiny>=2` and `beside`; only the index that is made here is known."""
    for name in ("UV_INDEX", "UV_FIND_LINKS", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    wheels = [MadeWheel(name="needy", needs=("tiny>=2", "beside")), MadeWheel(name="tiny", version="3.0"), MadeWheel(name="beside")]  # fmt: skip
    index = index_of(tmp_path / "served", wheels)
    return PypiRequest(
        requirements=(Requirement(name="needy"),),
        python="3.11.7",
        target=baseline(Platform.LINUX_64, {}),
        default_index=PackageIndex(url=(index.folder / "simple").as_uri()),
    )


@pytest.fixture
def resolver(tmp_path: Path) -> UvResolver:
    return UvResolver(SystemProcessRunner(), cache=tmp_path / "cache")


def chosen(resolver: UvResolver, request: PypiRequest) -> list[tuple[str, str]]:
    return [(package.name, package.version) for package in resolver.resolve(request)]


def test_without_stubs_all_comes_from_the_index(resolver: UvResolver, request_for_needy: PypiRequest) -> None:
    assert chosen(resolver, request_for_needy) == [("beside", "1.0"), ("needy", "1.0"), ("tiny", "3.0")]


def test_what_conda_provides_is_left_out(resolver: UvResolver, request_for_needy: PypiRequest) -> None:
    request = replace(request_for_needy, provided=(provided("tiny", "2.5"), provided("unrelated", "9")))
    assert chosen(resolver, request) == [("beside", "1.0"), ("needy", "1.0")]


def test_what_conda_provides_in_another_version_is_a_conflict(
    resolver: UvResolver, request_for_needy: PypiRequest
) -> None:
    request = replace(request_for_needy, provided=(provided("tiny", "1.5"),))
    with pytest.raises(ResolutionFailed) as caught:
        resolver.resolve(request)
    assert "tiny>=2" in caught.value.output
    demands = [(demand.project, demand.specifier, demand.by) for demand in resolver.demands(caught.value, request)]
    assert demands == [("tiny", ">=2", "needy")]


def test_versions_that_pypi_cannot_read_have_no_stub(tmp_path: Path) -> None:
    constraints = write_stubs([provided("a-b", "1.0"), provided("c", "not a version")], tmp_path)
    assert constraints == [f"a-b @ {(tmp_path / 'a_b-1.0-py3-none-any.whl').as_uri()}"]
    assert [path.name for path in tmp_path.iterdir()] == ["a_b-1.0-py3-none-any.whl"]
