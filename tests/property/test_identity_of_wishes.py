"""What of everything that a user can write counts in a request's id, and what does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.domain.base import LockFile, LockFileKind
from mfenv.domain.channel import Channel
from mfenv.domain.flags import ResolverFlag
from mfenv.domain.index import PackageIndex
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import SpecLayer, complete

LINUX = baseline(Platform.LINUX_64)


def key(layer: SpecLayer, **more: object) -> str:
    spec = complete(
        layer,
        default_python=PythonConstraint.minor(3, 11),
        default_channels=(Channel(location="conda-forge"),),
        needs=(MatchSpec(name="requests"),),
        **more,  # type: ignore[arg-type]
    )
    return ResolutionRequest(spec=spec, target=LINUX).key


def wanted(text: str, folder: str = "/a") -> Requirement:
    name, _, constraint = text.partition(" ")
    return Requirement.parse(name, constraint, where="here", relative_to=Path(folder))


BASE = SpecLayer(
    conda=(MatchSpec(name="numpy", version="==1"),),
    channels=(Channel(location="team"),),
    pypi=(wanted("lib >=1"),),
    conda_only=(MatchSpec(name="ffmpeg"),),
    indexes=(PackageIndex(url="https://a.example.org"),),
)

DIFFERENCES = {
    "python": SpecLayer(python=PythonConstraint.minor(3, 12)),
    "conda": SpecLayer(conda=(MatchSpec(name="numpy", version="==2"),)),
    "a marker on a conda package": SpecLayer(
        conda=(MatchSpec(name="numpy", version="==1", marker='os_name == "posix"'),)
    ),
    "channels": SpecLayer(channels=(Channel(location="other"),)),
    "pypi": SpecLayer(pypi=(wanted("lib >=2"),)),
    "extras": SpecLayer(pypi=(wanted("lib[x] >=1"),)),
    "hashes": SpecLayer(pypi=(replace(wanted("lib >=1"), hashes=("sha256:" + "a" * 64,)),)),
    "the index of a package": SpecLayer(pypi=(replace(wanted("lib >=1"), index="https://i.example.org"),)),
    "conda_only": SpecLayer(conda_only=(MatchSpec(name="ffmpeg", version=">=6"),)),
    "indexes": SpecLayer(indexes=(PackageIndex(url="https://b.example.org"),)),
    "the default index": SpecLayer(default_index=PackageIndex(url="https://b.example.org")),
    "constraints": SpecLayer(constraints=(wanted("other <3"),)),
    "options": SpecLayer(flags=(ResolverFlag(name="prerelease", value="allow"),)),
    "variables": SpecLayer(variables=(("A", "1"),)),
    "exclude_newer": SpecLayer(exclude_newer="2025-01-31"),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_any_real_difference_counts(name: str) -> None:
    change = DIFFERENCES[name]
    fields = {
        f: value for f in SpecLayer.__dataclass_fields__ if (value := getattr(change, f)) != getattr(SpecLayer(), f)
    }
    assert key(replace(BASE, **fields)) != key(BASE)  # type: ignore[arg-type]


def test_the_hashes_of_a_constraint_count() -> None:
    bound = wanted("other <3")
    pinned = [replace(bound, hashes=(f"sha256:{digit * 64}",)) for digit in "ab"]
    assert len({key(replace(BASE, constraints=(one,))) for one in (bound, *pinned)}) == 3


def test_a_lock_file_counts_by_content_and_choice_and_not_by_place() -> None:
    lock = LockFile(kind=LockFileKind.UV, digest="1", groups=("a", "b"), path=Path("/a/uv.lock"))
    same = replace(lock, path=Path("/b/uv.lock"), groups=("b", "a"))
    assert key(BASE, base=lock) == key(BASE, base=same) != key(BASE)
    others = [replace(lock, digest="2"), replace(lock, groups=("a",)), replace(lock, extras=("x",))]
    assert len({key(BASE, base=one) for one in (lock, *others)}) == 4


@given(st.permutations([wanted("a ==1"), wanted("b >=1,<2"), wanted("c[x]"), wanted("d ; os_name == 'posix'")]))
def test_the_order_of_pypi_packages_never_counts(order: list[Requirement]) -> None:
    assert key(SpecLayer(pypi=tuple(order))) == key(SpecLayer(pypi=tuple(sorted(order, key=str))))


@given(st.permutations([PackageIndex(url=f"https://{name}.example.org") for name in "abc"]))
def test_the_order_of_indexes_always_counts(order: list[PackageIndex]) -> None:
    ordered = tuple(sorted(order, key=str))
    layer = SpecLayer(pypi=(wanted("a"),))
    same = key(replace(layer, indexes=tuple(order))) == key(replace(layer, indexes=ordered))
    assert same == (tuple(order) == ordered)


@pytest.mark.parametrize(
    "spellings",
    [
        ("a 1.4.0", "a ==1.4.0", "A == 1.4.0", "a v1.4.0"),
        ("my-lib", "my_lib", "My.Lib", "my--lib"),
        ("a >=1,<2", "a <2, >=1", "a  >= 1 , < 2"),
        ("a[x,y]", "a[Y, x]"),
        ("a >=1; os_name=='posix'", 'a >=1 ; os_name == "posix"'),
        ("a https://h.example.org/a.whl", "a @https://h.example.org/a.whl", "a https://me:pw@h.example.org/a.whl"),
    ],
)
def test_the_spelling_of_a_pypi_package_never_counts(spellings: tuple[str, ...]) -> None:
    assert len({key(SpecLayer(pypi=(wanted(text),))) for text in spellings}) == 1


@pytest.mark.parametrize(
    "spellings", [("1.4.0", "==1.4.0", " == 1.4.0"), ("1.4.*", "=1.4", "==1.4.*"), (">=1,<2", "<2, >=1")]
)
def test_the_spelling_of_a_conda_package_never_counts(spellings: tuple[str, ...]) -> None:
    assert len({key(SpecLayer(conda=(MatchSpec.parse("Numpy", text, where="here"),))) for text in spellings}) == 1


def test_where_the_project_lies_never_counts() -> None:
    def at(folder: str) -> str:
        home = Path(folder)
        wheel = wanted("whl ./dist/whl-1-py3-none-any.whl", folder)
        layer = SpecLayer(
            pypi=(wanted("lib ./lib", folder), replace(wheel, hashes=("sha256:" + "a" * 64,))),
            channels=(Channel.parse("./channel", where="here", relative_to=home),),
            indexes=(PackageIndex.parse("./index", where="here", relative_to=home),),
            flags=(ResolverFlag.parse("find-links=./wheels", where="here", relative_to=home),),
            conda=(MatchSpec.parse("./channel::six", "", where="here", relative_to=home),),
        )
        return key(layer, local_content={"lib": "1", "whl": "2"})

    assert at("/home/me/project") == at("/builds/1234")
    assert key(SpecLayer(pypi=(wanted("lib ./lib"),)), local_content={"lib": "1"}) != key(
        SpecLayer(pypi=(wanted("lib ./lib"),)), local_content={"lib": "2"}
    )


def test_what_pip_is_configured_with_on_a_machine_never_counts() -> None:
    layer = SpecLayer(pypi=(wanted("a"),))
    configured = replace(PackageIndex(url="https://mirror.example.org"), is_of_machine=True)
    assert key(layer, default_index=configured, default_indexes=[configured]) == key(layer)
    chosen = PackageIndex(url="https://mirror.example.org")
    assert key(layer, default_index=chosen) != key(layer) != key(layer, default_indexes=[chosen])
