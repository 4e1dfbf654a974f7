"""Building upon what is there: it stays to the byte, and only what is missing is found."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.app.lock import lock_of
from mfenv.domain import conda_version
from mfenv.domain.artifact import Artifact, LockedArtifact
from mfenv.domain.base import LockFile, LockFileContent, LockFileKind, LockFilePypiPackage
from mfenv.domain.channel import Channel
from mfenv.domain.locked import LockedEnvironment, LockedPypiPackage
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform, Target, baseline
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.requirement import Requirement
from mfenv.domain.resolved import BuildSource, ResolvedEnvironment, ResolvedPackage, ResolvedPypiPackage
from mfenv.domain.spec import EnvironmentSpec
from mfenv.errors import EnvironmentsError, ResolutionFailed
from mfenv.resolve.extend import ExtendingResolver
from mfenv.resolve.lock_files import select
from mfenv.resolve.pypi import Demand, OutOfReachError, Preferred, Provided, PypiRequest, UnknownExtrasError
from mfenv.resolve.satisfies import may_hold_python, normal_name, satisfies
from mfenv.resolve.versions import admits, normal_version
from mfenv.testing.fakes import FakePackage, FakeResolver
from mfenv.testing.pypi import build_nothing

HERE = Platform.LINUX_64
TARGET = baseline(HERE)
CHANNEL = Channel(location="https://conda.example.org/fake")


def conda(name: str, version: str = "1.0", *depends: str) -> FakePackage:
    return FakePackage(name, version=version, depends=depends)


def module(name: str, version: str = "1.0", *depends: str) -> FakePackage:
    return conda(name, version, "python", *depends)


PYTHON = conda("python", "3.11.7", "openssl")
OPENSSL = conda("openssl", "3.0")
NUMPY = module("numpy", "1.26.4")
CHANNEL_HAS = {
    package.record.name: package
    for package in (
        conda("openssl", "3.5"),
        conda("python", "3.12.1", "openssl"),
        conda("ffmpeg", "7.1"),
        module("numpy", "2.1"),
        module("pandas", "2.2", "numpy"),
        module("requests", "2.32", "urllib3"),
        module("urllib3", "2.2"),
        module("six", "1.17"),
    )
}


def wheel(name: str, version: str = "1.0", *, built_from: str = "") -> LockedPypiPackage:
    file_name = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    sha256 = hashlib.sha256(file_name.encode()).hexdigest()
    url = f"https://files.example.org/{file_name}"
    artifact = LockedArtifact(file_name=file_name, url=url, size=None, sha256=sha256)
    return LockedPypiPackage(name=name, version=version, artifact=artifact, built_from=built_from)


def resolved(package: LockedPypiPackage) -> ResolvedPypiPackage:
    artifact = package.artifact
    whole = Artifact(file_name=artifact.file_name, url=artifact.url, size=artifact.size, sha256=artifact.sha256)
    return ResolvedPypiPackage(name=package.name, version=package.version, wheel=whole, built_from=package.built_from)


def lock(*packages: FakePackage, pypi: Sequence[LockedPypiPackage] = (), **others: Any) -> LockedEnvironment:
    return LockedEnvironment(
        platform=HERE, packages=tuple(package.locked for package in packages), pypi=tuple(pypi), **others
    )


INDEX: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "requests": ("2.33", ("urllib3>=1.26",)),
    "urllib3": ("2.3", ()),
    "six": ("1.18", ()),
    "torch": ("2.9", ("numpy>=2",)),
    "scipy": ("1.15", ("numpy<3",)),
    "pysocks": ("1.7", ()),
    "azure-identity": ("1.2", ("six",)),
    "from-git": ("3.0", ("built",)),
    "numpy": ("2.3", ()),
}


@dataclass
class FakePypi:
    """A PyPI resolver with one version of each project."""

    name: str = "fake-pypi"
    extras: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    failure: ResolutionFailed | None = None
    queries: list[PypiRequest] = field(default_factory=list)

    def resolve(self, request: PypiRequest) -> tuple[ResolvedPypiPackage, ...]:
        self.queries.append(request)
        if self.failure:
            raise self.failure
        found: dict[str, ResolvedPypiPackage] = {}
        provided = {there.name: there for there in request.provided if normal_version(there.version)}
        for wanted in sorted(request.requirements, key=str):
            self._add(wanted, found, provided)
        return tuple(found[name] for name in sorted(found))

    def _add(
        self, wanted: Requirement, found: dict[str, ResolvedPypiPackage], provided: Mapping[str, Provided]
    ) -> None:
        there = provided.get(wanted.name)
        if there:
            if not admits(wanted.specifier, there.version):
                raise ResolutionFailed("no solution", output=f"needs {wanted}")
            if wanted.extras and there.extra_requirements is None:
                raise UnknownExtrasError([wanted.name])
            for text in there.extra_requirements or ():
                self._add(Requirement.from_text(text.partition(";")[0], where="extra"), found, provided)
        elif wanted.name not in found:
            if wanted.name not in INDEX:
                raise ResolutionFailed(f"there is no package `{wanted.name}` on the package index")
            version, needs = INDEX[wanted.name]
            if not admits(wanted.specifier, version):
                raise ResolutionFailed("no solution", output=f"needs {wanted}")
            found[wanted.name] = resolved(wheel(wanted.name, version))
            for text in needs:
                self._add(Requirement.from_text(text, where="index"), found, provided)

    def prefer(self, request: PypiRequest, candidates: object = None) -> Preferred:
        assert candidates is None
        free = replace(request, provided=())
        found = FakePypi().resolve(free)
        needed_by = {wanted.name: (wanted.name,) for wanted in request.requirements}
        for package in found:
            for text in INDEX[package.name][1]:
                needed = Requirement.from_text(text, where="index").name
                needed_by[needed] = (*needed_by.get(needed, ()), package.name)
        return Preferred(versions={package.name: package.version for package in found}, needed_by=needed_by)

    def demands(self, failure: ResolutionFailed, request: PypiRequest) -> tuple[Demand, ...]:
        wanted = Requirement.from_text(failure.output.removeprefix("needs "), where="failure")
        by = next((name for name, (_, needs) in INDEX.items() if str(wanted) in needs), "")
        assert any(there.name == wanted.name for there in request.provided)
        return (Demand(project=wanted.name, specifier=wanted.specifier, by=by),)


class FakeDistributions:
    """Every conda package that needs Python brings a distribution of its own name, and version."""

    def __init__(self) -> None:
        self.asked: list[Sequence[ResolvedPackage]] = []

    def provided_by(self, packages: Sequence[ResolvedPackage]) -> tuple[Provided, ...]:
        self.asked.append(packages)
        return tuple(
            Provided(name=normal_name(record.name), version=record.version, conda_name=record.name)
            for record in (package.record for package in packages)
            if may_hold_python(record)
        )

    def with_extras(
        self, packages: Sequence[ResolvedPackage], provided: Sequence[Provided], projects: Sequence[str]
    ) -> tuple[Provided, ...]:
        assert {package.record.name for package in packages} >= set(projects)
        return tuple(
            replace(there, extra_requirements=("pysocks ; extra == 'socks'",)) if there.name in projects else there
            for there in provided
        )

    def versions(
        self, request: ResolutionRequest, specs: Sequence[MatchSpec], beside: Sequence[ResolvedPackage]
    ) -> Mapping[str, Sequence[str]]:
        raise AssertionError("nobody has to move")


class FakeConda(FakeResolver):
    """Says no to who wants another version than there is."""

    def resolve(self, request: ResolutionRequest) -> ResolvedEnvironment:
        answer = super().resolve(request)
        for wish in (*request.match_specs, *request.constraints):
            found = next(package.record for package in answer.packages if package.record.name == wish.name)
            if not conda_version.admits(wish.version, found.version):
                raise ResolutionFailed(f"no version of `{wish.name}` is `{wish.version}`", output="its own words")
        return answer


@dataclass
class FakeLockFiles:
    holds: LockFileContent

    def content(self, lock_file: LockFile, target: Target) -> LockFileContent:
        assert (lock_file, target) == (FILE, TARGET)
        return self.holds


FILE = LockFile(kind=LockFileKind.PYLOCK, digest="0" * 64, path=Path("/somewhere/pylock.toml"))


@dataclass
class World:
    """The resolver with its fakes."""

    holds: LockFileContent = field(default_factory=LockFileContent)
    channel: Mapping[str, FakePackage] = field(default_factory=lambda: CHANNEL_HAS)
    pypi: FakePypi = field(default_factory=FakePypi)
    distributions: FakeDistributions = field(default_factory=FakeDistributions)

    def __post_init__(self) -> None:
        self.inner = FakeResolver(package.resolved for package in self.channel.values())
        self.conda = FakeConda(package.resolved for package in self.channel.values())
        self.resolver = ExtendingResolver(
            inner=self.inner,
            conda=self.conda,
            pypi=self.pypi,
            distributions=self.distributions,
            lock_files=FakeLockFiles(self.holds),
            select=select,
            requires=lambda package: [f"pysocks ; extra == 'socks' and '{package.name}'"],
            host=HERE,
        )

    def resolve(self, base: LockFile | LockedEnvironment | None, **asked: Any) -> ResolvedEnvironment:
        return self.resolver.resolve(request(base, **asked))

    @property
    def is_idle(self) -> bool:
        return not (self.conda.requests or self.inner.requests or self.pypi.queries or self.distributions.asked)


def request(base: LockFile | LockedEnvironment | None, target: Target = TARGET, **asked: Any) -> ResolutionRequest:
    """Return a request; `conda`, `pypi` and `needs` are texts, `python` a constraint."""
    python = asked.pop("python", None)
    spec = EnvironmentSpec(
        python=PythonConstraint.parse(python, where="python") if python else None,
        conda=_packages(asked.pop("conda", ())),
        conda_only=_packages(asked.pop("conda_only", ())),
        needs=_packages(asked.pop("needs", ())),
        pypi=tuple(Requirement.from_text(text, where="pypi") for text in asked.pop("pypi", ())),
        channels=(CHANNEL,),
        base=base,
        **asked,
    )
    return ResolutionRequest(spec=spec, target=target)


def _packages(texts: Sequence[str]) -> tuple[MatchSpec, ...]:
    return tuple(MatchSpec.from_text(text, where="conda") for text in texts)


def names(answer: ResolvedEnvironment) -> tuple[list[str], list[str]]:
    return [p.record.name for p in answer.packages], [p.name for p in answer.pypi]


BASE = lock(OPENSSL, PYTHON, NUMPY, pypi=[wheel("six", "1.16"), wheel("urllib3", "1.26")])
OF_PYPI = lock(OPENSSL, PYTHON, pypi=[wheel("six", "1.16")])


def test_what_builds_upon_nothing_is_handed_on() -> None:
    world = World()
    asked = request(None, python="3.12", conda=["numpy"])
    assert world.resolver.resolve(asked) == FakeResolver(p.resolved for p in CHANNEL_HAS.values()).resolve(asked)
    assert (world.inner.requests, world.conda.requests, world.pypi.queries) == ([asked], [], [])


# ---- What is kept


_LIBRARIES = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=5).map(
    lambda chosen: [conda(f"lib{name}", str(index)) for index, name in enumerate(chosen)]
)
_MODULES = st.lists(
    st.sampled_from(("numpy", "pandas", "six", "urllib3", "ruamel.yaml", "zope")), unique=True, max_size=4
).map(lambda chosen: [module(name, f"0.{index}") for index, name in enumerate(chosen)])
_WHEELS = st.lists(st.sampled_from(("requests", "torch", "attrs", "pysocks", "built")), unique=True, max_size=4).map(
    lambda chosen: [wheel(name, f"0.{index}", built_from="" if index else "git+x") for index, name in enumerate(chosen)]
)
_VARIABLES = st.dictionaries(st.sampled_from("AB"), st.sampled_from("12"), max_size=2).map(
    lambda chosen: tuple(sorted(chosen.items()))
)


@st.composite
def bases(draw: st.DrawFn) -> LockedEnvironment:
    """Locks with a Python, of either side and of both."""
    libraries, modules = draw(_LIBRARIES), draw(_MODULES)
    return lock(OPENSSL, *libraries, PYTHON, *modules, pypi=draw(_WHEELS), variables=draw(_VARIABLES))


_CONDA_WISHES = st.lists(
    st.sampled_from(("numpy", "pandas >=2", "six ==1.17", "ffmpeg", "requests", "urllib3 ==0.1", "numpy >=2")),
    unique_by=lambda text: text.split()[0],
    max_size=3,
)
_PYPI_WISHES = st.lists(
    st.sampled_from(("requests", "torch", "scipy", "six", "attrs<1", "urllib3>=2", "azure-identity", "torch==0.1")),
    unique_by=lambda text: text.partition("<")[0].partition(">")[0].partition("=")[0],
    max_size=3,
)
_NEEDS = st.lists(st.sampled_from(("requests", "azure-identity", "six")), unique=True, max_size=2)


@given(bases(), _VARIABLES)
def test_who_asks_for_nothing_gets_exactly_the_base_and_nobody_is_asked(
    base: LockedEnvironment, variables: tuple[tuple[str, str], ...]
) -> None:
    world = World()
    answer = world.resolve(base, variables=variables)
    made = lock_of(answer, lambda _: (), build_nothing, variables=variables)
    assert replace(made, variables=base.variables) == base
    assert dict(made.variables) == {**dict(base.variables), **dict(variables)}
    assert world.is_idle


@given(bases(), _CONDA_WISHES, _PYPI_WISHES, _NEEDS)
def test_every_answer_has_the_base_first_and_as_it_was(
    base: LockedEnvironment, wishes: list[str], requirements: list[str], needs: list[str]
) -> None:
    world = World()
    asked = request(base, conda=wishes, pypi=requirements, needs=needs)
    try:
        answer = world.resolver.resolve(asked)
    except ResolutionFailed:
        answer = None
    kept = tuple(package.artifact.sha256 for package in base.packages)
    for solved in world.conda.requests:
        assert tuple(package.artifact.sha256 for package in solved.kept) == kept
        assert not {spec.name for spec in solved.match_specs} & {package.name for package in base.packages}
    for query in world.pypi.queries:
        assert {(wheel.name, wheel.version) for wheel in base.pypi} <= {(p.name, p.version) for p in query.provided}
    if answer:
        made = lock_of(answer, lambda _: (), build_nothing)
        assert made.packages[: len(base.packages)] == base.packages
        assert made.pypi[: len(base.pypi)] == base.pypi
        # What an answer holds is what was asked for, upon what was built upon.
        assert satisfies(made, replace(asked.spec, pypi=(), needs=())) is None
        there = {p.name for p in made.pypi} | {normal_name(p.name) for p in made.packages}
        assert {wanted.name for wanted in asked.spec.pypi} | set(needs) <= there


@given(bases(), _CONDA_WISHES, _PYPI_WISHES, _NEEDS, st.randoms(use_true_random=False))
def test_the_order_of_wishes_and_of_what_is_kept_does_not_count(
    base: LockedEnvironment,
    wishes: list[str],
    requirements: list[str],
    needs: list[str],
    chance: random.Random,
) -> None:
    def outcome(base: LockedEnvironment) -> object:
        try:
            found = World().resolve(base, conda=wishes, pypi=requirements, needs=needs)
        except ResolutionFailed:
            return None
        return set(found.packages), set(found.pypi), found.variables

    first = outcome(base)
    for items in (wishes, requirements, needs):
        chance.shuffle(items)
    packages, wheels = list(base.packages), list(base.pypi)
    chance.shuffle(packages)
    chance.shuffle(wheels)
    assert outcome(replace(base, packages=tuple(packages), pypi=tuple(wheels))) == first


def test_a_wheel_that_was_built_is_still_known_to_have_been() -> None:
    base = lock(OPENSSL, PYTHON, pypi=[wheel("made", built_from="git+https://git.example.org/made@0123")])
    assert lock_of(World().resolve(base, conda=["ffmpeg"]), lambda _: (), build_nothing).pypi == base.pypi


# ---- conda's side


def test_what_is_asked_of_conda_is_put_on_top() -> None:
    world = World()
    answer = world.resolve(BASE, conda=["pandas"])
    assert names(answer) == (["openssl", "python", "numpy", "pandas"], ["six", "urllib3"])
    assert answer.resolver == "kept, fake 1.0"
    assert (len(world.conda.requests), world.pypi.queries) == (1, [])


def test_packages_that_have_nothing_to_do_with_python_are_too() -> None:
    assert names(World().resolve(OF_PYPI, conda_only=["ffmpeg"])) == (["openssl", "python", "ffmpeg"], ["six"])


@pytest.mark.parametrize(
    "wishes",
    [["numpy"], ["numpy =1.26"], ["numpy >=1,<2 0"], ["https://conda.example.org/fake::numpy"], ["numpy", "openssl"]],
)
def test_what_is_there_already_is_not_solved_for(wishes: list[str]) -> None:
    world = World()
    assert names(world.resolve(BASE, conda=wishes)) == (["openssl", "python", "numpy"], ["six", "urllib3"])
    assert world.is_idle


def test_a_marker_is_evaluated_for_the_python_that_is_kept() -> None:
    marked = [
        MatchSpec.parse("numpy", ">=2; python_version >= '3.12'", where="here"),
        MatchSpec.parse("ffmpeg", "; sys_platform == 'linux' and python_version == '3.11'", where="here"),
    ]
    asked = request(BASE)
    answer = World().resolver.resolve(replace(asked, spec=replace(asked.spec, conda=tuple(marked))))
    assert names(answer)[0] == ["openssl", "python", "numpy", "ffmpeg"]


_HAS = "but the environment that is built upon has"
_HINT = "Ask for another version, or do not build upon that environment"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"conda": ["numpy >=2"]}, f"`numpy >=2` is asked for, {_HAS} numpy 1.26.4"),
        ({"conda_only": ["openssl >=3.5"]}, f"`openssl >=3.5` is asked for, {_HAS} openssl 3.0"),
        ({"conda": ["numpy 1.26.4 mkl*"]}, f"`numpy ==1.26.4 mkl*` is asked for, {_HAS} numpy 1.26.4 0"),
        (
            {"conda": ["https://conda.example.org/own::numpy"]},
            f"`https://conda.example.org/own::numpy` is asked for, {_HAS} numpy 1.26.4 of `{CHANNEL}`",
        ),
        ({"python": "3.12"}, f"`python 3.12.*` is asked for, {_HAS} python 3.11.7"),
        ({"pypi": ["six>=1.17"]}, f"`six>=1.17` is asked for from PyPI, {_HAS} six 1.16"),
        ({"pypi": ["numpy>=2"]}, "`numpy>=2` is asked for from PyPI, but conda has numpy 1.26.4"),
        (
            {"pypi": ["six @ https://files.example.org/other.whl"]},
            f"`six @ https://files.example.org/other.whl` is asked for from PyPI, {_HAS} six 1.16 from another place",
        ),
        (
            {"pypi": ["six @ file:///srv/six"]},
            f"`six @ file:///srv/six` is asked for from PyPI, {_HAS} six 1.16, of what was there at the time",
        ),
        ({"pypi": ["torch"]}, f"`torch` from PyPI needs `numpy>=2`, {_HAS} numpy 1.26.4"),
    ],
)
def test_a_clash_is_told_with_both_sides(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ResolutionFailed) as caught:
        World().resolve(BASE, **asked)
    assert (caught.value.message, caught.value.hint) == (message, _HINT)


def test_a_clash_with_a_new_conda_package_names_that_side() -> None:
    world = World(channel={"numpy": module("numpy", "1.0")})
    with pytest.raises(ResolutionFailed) as caught:
        world.resolve(OF_PYPI, conda=["numpy"], pypi=["torch"])
    assert caught.value.message == "`torch` from PyPI needs `numpy>=2`, but conda's side has numpy 1.0"


def test_an_environment_for_another_platform_is_refused() -> None:
    other = request(BASE, target=baseline(Platform.OSX_ARM64))
    with pytest.raises(
        ResolutionFailed, match=r"^the environment that is built upon is for linux-64, and the step runs on osx-arm64$"
    ):
        World().resolver.resolve(other)


def test_a_python_that_fits_changes_nothing() -> None:
    world = World()
    assert names(world.resolve(BASE, python="3.11"))[0] == ["openssl", "python", "numpy"]
    assert world.is_idle


# ---- PyPI's side


def test_what_is_asked_of_pypi_is_put_on_top_and_all_that_is_there_is_fixed() -> None:
    world = World()
    answer = world.resolve(BASE, pypi=["requests", "scipy"])
    assert names(answer) == (["openssl", "python", "numpy"], ["six", "urllib3", "requests", "scipy"])
    assert answer.resolver == "kept, fake-pypi"
    (query,) = world.pypi.queries
    assert query.python == "3.11.7"
    assert {(there.name, there.version) for there in query.provided} == {
        ("numpy", "1.26.4"),
        ("six", "1.16"),
        ("urllib3", "1.26"),
    }
    assert world.conda.requests == []


@pytest.mark.parametrize(
    "wanted",
    [
        "six",
        "six<2",
        "six==1.16",
        f"six @ {wheel('six', '1.16').artifact.url}",
        "numpy>=1 ; python_version < '3.12'",
        "nonesuch ; python_version >= '3.12'",
        "nonesuch ; sys_platform == 'darwin'",
    ],
)
def test_for_what_is_there_already_no_resolver_runs(wanted: str) -> None:
    world = World()
    assert names(world.resolve(BASE, pypi=[wanted]))[1] == ["six", "urllib3"]
    assert (world.conda.requests, world.pypi.queries) == ([], [])


SIX = wheel("six", "1.16").artifact.sha256


@pytest.mark.parametrize(
    ("name", "hashes", "found"),
    [
        ("six", (f"sha256:{SIX}",), None),
        ("six", (f"sha256:{'0' * 64}", f"sha256:{SIX}"), None),
        ("six", (f"sha256:{'0' * 64}",), f"{_HAS} six 1.16 with the sha256 {SIX}"),
        ("six", (f"sha512:{'0' * 128}",), f"{_HAS} six 1.16 with the sha256 {SIX}"),
        ("numpy", (f"sha256:{SIX}",), "but conda has numpy 1.26.4, whose sha256 is not known"),
    ],
)
def test_a_file_that_is_kept_has_one_of_the_digests_or_is_refused(
    name: str, hashes: tuple[str, ...], found: str | None
) -> None:
    asked = request(BASE)
    asked = replace(asked, spec=replace(asked.spec, pypi=(Requirement(name=name, hashes=hashes),)))
    if found is None:
        assert names(World().resolver.resolve(asked))[1] == ["six", "urllib3"]
        return
    with pytest.raises(ResolutionFailed) as caught:
        World().resolver.resolve(asked)
    assert caught.value.message == f"`{name}` is asked for from PyPI, {found}"


def test_constraints_hold_for_what_is_kept() -> None:
    within = Requirement.from_text("six<2", where="here")
    assert World().resolve(BASE, pypi_constraints=(within,)).pypi == tuple(map(resolved, BASE.pypi))
    with pytest.raises(ResolutionFailed) as caught:
        World().resolve(BASE, pypi_constraints=(replace(within, specifier=">=1.17"),))
    assert caught.value.message == f"the constraint `six>=1.17` has to hold, {_HAS} six 1.16"
    elsewhere = replace(within, specifier=">=1.17", marker="python_version < '3.11'")
    assert World().resolve(BASE, pypi_constraints=(elsewhere,)).pypi == tuple(map(resolved, BASE.pypi))


@pytest.mark.parametrize("wanted", ["six[socks]", "numpy[socks]", "six[socks]>=1.16"])
def test_what_extras_of_something_that_is_kept_need_is_put_on_top(wanted: str) -> None:
    world = World()
    assert names(world.resolve(BASE, pypi=[wanted]))[1] == ["six", "urllib3", "pysocks"]
    assert len(world.pypi.queries) == 2


def test_extras_of_what_is_still_to_be_built_are_refused() -> None:
    source = LockFilePypiPackage(name="made", version="1.0", build=BuildSource(url="https://git.example.org/made"))
    world = World(LockFileContent(conda=(OPENSSL.resolved, PYTHON.resolved), pypi=(source,)))
    with pytest.raises(ResolutionFailed) as caught:
        world.resolve(FILE, pypi=["made[socks]"])
    assert caught.value.message == (
        "extras of `made` are needed, which `pylock.toml` has as a source: what they need is only known when it is built"
    )


def test_a_second_copy_of_what_is_there_is_refused() -> None:
    source = LockFilePypiPackage(name="six", version="", build=BuildSource(url="https://git.example.org/six"))
    world = World(LockFileContent(conda=(OPENSSL.resolved, PYTHON.resolved), pypi=(source,)))
    with pytest.raises(ResolutionFailed) as caught:
        world.resolve(FILE, pypi=["azure-identity"])
    assert caught.value.message == (
        "`six` is needed from PyPI, and is there already in a version that only a build will tell"
    )


def test_conda_packages_that_would_bring_a_kept_wheel_again_are_refused() -> None:
    with pytest.raises(ResolutionFailed) as caught:
        World().resolve(BASE, conda=["requests"])
    message = (
        f"conda's `urllib3`, which what is asked for needs or is, brings urllib3 2.2, {_HAS} urllib3 1.26 from PyPI"
    )
    assert (caught.value.message, caught.value.hint) == (message, "Ask for it, and for what needs it, from PyPI")


def test_an_index_out_of_reach_is_told_as_it_is() -> None:
    failure = OutOfReachError("the package index cannot be used")
    with pytest.raises(OutOfReachError) as caught:
        World(pypi=FakePypi(failure=failure)).resolve(BASE, pypi=["scipy"], needs=["requests"])
    assert caught.value is failure


# ---- What Metaflow imports


@pytest.mark.parametrize(
    ("base", "asked", "expected"),
    [
        (BASE, {"needs": ["six", "numpy"]}, ([], [])),
        (OF_PYPI, {"needs": ["requests"]}, ([], ["requests", "urllib3"])),
        (lock(OPENSSL, PYTHON), {"needs": ["requests"]}, ([], ["requests", "urllib3"])),
        (lock(OPENSSL, PYTHON, NUMPY), {"needs": ["requests"]}, (["urllib3", "requests"], [])),
        # conda's would bring a urllib3 beside the one that is kept.
        (BASE, {"needs": ["requests"]}, ([], ["requests"])),
        # What Python itself needs makes no environment of conda's modules.
        (
            lock(OPENSSL, module("setuptools"), conda("python", "3.11.7", "openssl", "setuptools")),
            {"needs": ["requests"]},
            ([], ["requests", "urllib3"]),
        ),
        # conda has none.
        (lock(OPENSSL, PYTHON, NUMPY), {"needs": ["azure-identity"]}, ([], ["azure-identity", "six"])),
        (OF_PYPI, {"needs": ["requests"], "conda": ["requests"]}, (["urllib3", "requests"], [])),
        (OF_PYPI, {"needs": ["requests"], "pypi": ["scipy"]}, ([], ["numpy", "requests", "scipy", "urllib3"])),
        (lock(OPENSSL, PYTHON, module("azure_identity")), {"needs": ["azure-identity"]}, ([], [])),
    ],
)
def test_what_is_needed_comes_from_the_side_that_the_base_is_of(
    base: LockedEnvironment, asked: dict[str, Any], expected: tuple[list[str], list[str]]
) -> None:
    found, wheels = names(World().resolve(base, **asked))
    assert (found[len(base.packages) :], wheels[len(base.pypi) :]) == expected


# ---- Lock files


def pypi_package(name: str, version: str, **others: Any) -> LockFilePypiPackage:
    found = resolved(wheel(name, version)).wheel
    assert found
    return LockFilePypiPackage(name=name, version=version, wheels=(found,), **others)


def test_a_python_is_found_for_a_file_that_has_none_and_its_wheels_are_chosen_for_it() -> None:
    holds = LockFileContent(
        pypi=(pypi_package("six", "1.16"), pypi_package("old", "1.0", marker="python_version < '3.12'")),
        requires_python=">=3.9",
        variables=(("A", "1"),),
    )
    world = World(holds)
    answer = world.resolve(FILE, python="3.12", conda=["ffmpeg"], pypi=["requests"], needs=["six"])
    assert names(answer) == (["openssl", "python", "ffmpeg"], ["six", "requests", "urllib3"])
    assert (answer.pypi[0], answer.variables) == (resolved(wheel("six", "1.16")), (("A", "1"),))
    assert answer.resolver == "kept, fake 1.0, fake-pypi"


def test_the_channels_of_a_file_come_first() -> None:
    theirs = Channel(location="https://conda.example.org/theirs")
    holds = LockFileContent(conda=(OPENSSL.resolved, PYTHON.resolved), channels=(theirs, CHANNEL))
    world = World(holds)
    world.resolve(FILE, conda=["ffmpeg"])
    assert [solved.spec.channels for solved in world.conda.requests] == [(theirs, CHANNEL)]


def test_a_python_that_a_file_is_not_for_is_told_with_both() -> None:
    world = World(LockFileContent(pypi=(pypi_package("six", "1.16"),), requires_python="<3.12,>=3.9"))
    with pytest.raises(ResolutionFailed) as caught:
        world.resolve(FILE, python="3.12")
    assert (caught.value.message, caught.value.hint, caught.value.output) == (
        "`pylock.toml` is for Python `<3.12,>=3.9`, and what is asked for leaves Python 3.12.1 (`3.12.*`)",
        "Ask for another Python with `python=`, one that is `<3.12,>=3.9`",
        "its own words",
    )


def test_a_python_that_conda_cannot_be_told_of_is_refused_by_the_file() -> None:
    world = World(LockFileContent(requires_python="===3.9"))
    with pytest.raises(
        EnvironmentsError, match=r"^the lock file is for Python `===3\.9`, and the environment has 3\.12"
    ):
        world.resolve(FILE, python="3.12")


def test_a_file_without_a_python_and_a_user_who_names_none_are_told_so() -> None:
    with pytest.raises(ResolutionFailed) as caught:
        World(LockFileContent(conda=(OPENSSL.resolved,))).resolve(FILE)
    assert (caught.value.message, caught.value.hint) == (
        "`pylock.toml` has no Python, and none is asked for",
        'Say which: python="3.11"',
    )


def test_conda_packages_of_a_file_are_kept_also_where_python_is_not_among_them() -> None:
    answer = World(LockFileContent(conda=(OPENSSL.resolved,))).resolve(FILE, python="3.12")
    assert answer.packages == (OPENSSL.resolved, CHANNEL_HAS["python"].resolved)
