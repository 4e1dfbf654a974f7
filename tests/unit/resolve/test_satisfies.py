"""Whether a lock holds what is asked for; the reason is told in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.domain.artifact import LockedArtifact
from mfenv.domain.base import LockFile, LockFileKind
from mfenv.domain.channel import Channel
from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment, LockedPypiPackage
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform
from mfenv.domain.python import PythonConstraint
from mfenv.domain.requirement import Requirement
from mfenv.domain.resolved import CondaRecord
from mfenv.domain.spec import EnvironmentSpec
from mfenv.resolve.satisfies import satisfies
from mfenv.testing.strategies import environment_specs, locks


def conda(name: str, version: str, *depends: str, build: str = "0", channel: str = "conda-forge") -> LockedCondaPackage:
    record = CondaRecord(
        name=name,
        version=version,
        build=build,
        build_number=0,
        subdir="linux-64",
        channel=channel,
        depends=depends,
    )
    return LockedCondaPackage(record=record, artifact=_file(f"{name}-{version}-{build}.conda", "a"))


def wheel(name: str, version: str, built_from: str = "") -> LockedPypiPackage:
    artifact = _file(f"{name}-{version}-py3-none-any.whl", "b")
    return LockedPypiPackage(name=name, version=version, artifact=artifact, built_from=built_from)


def _file(name: str, digit: str) -> LockedArtifact:
    return LockedArtifact(file_name=name, url=f"https://files.example.org/{name}", size=1, sha256=digit * 64)


LOCK = LockedEnvironment(
    platform=Platform.LINUX_64,
    packages=(
        conda("python", "3.11.7", build="h1_0_cpython"),
        conda("numpy", "1.26.4", "python_abi 3.11.* *_cp311", build="py311h1_0"),
        conda("ruamel.yaml", "0.18", "python >=3.11", channel="https://conda.example.org/team"),
        conda("tzdata", "2024a"),
        conda("odd", "1.0-x_y"),
    ),
    pypi=(wheel("requests", "2.32"), wheel("made", "1.0", "git+https://git.example.org/made@0123#sha256=" + "c" * 64)),
    variables=(("A", "1"), ("B", "2")),
)
NONE = EnvironmentSpec(python=None, conda=(), channels=())


def asking(
    *packages: str, python: str = "", pypi: tuple[str, ...] = (), needs: tuple[str, ...] = (), **others: Any
) -> EnvironmentSpec:
    return EnvironmentSpec(
        python=PythonConstraint.parse(python, where="python") if python else None,
        conda=tuple(MatchSpec.from_text(text, where="conda") for text in packages),
        pypi=tuple(Requirement.from_text(text, where="pypi") for text in pypi),
        needs=tuple(MatchSpec(name=name) for name in needs),
        channels=(),
        **others,
    )


def wish(name: str, constraint: str) -> MatchSpec:
    return MatchSpec.parse(name, constraint, where="here")


HOLDS = [
    NONE,
    asking(python="3.11"),
    asking(python=">=3.9,<3.12"),
    asking("numpy", "tzdata"),
    asking("numpy =1.26", "tzdata >=2023c"),
    asking("numpy ==1.26.4 py311*", "python * *_cpython"),
    asking("numpy ==1.26.4 ^py31.h.*$"),
    asking("conda-forge::numpy", "https://conda.example.org/team::ruamel.yaml"),
    asking("team::ruamel.yaml"),
    asking("odd", "odd ==1.0-x_y"),
    asking(conda_only=(wish("tzdata", ""),)),
    asking(conda_only=(wish("nonesuch", "; sys_platform == 'darwin'"), wish("numpy", "; python_version == '3.11'"))),
    asking(pypi=("requests>=2", "numpy<2", "ruamel-yaml", "nonesuch ; python_version < '3.11'")),
    asking(pypi=("requests @ https://files.example.org/requests-2.32-py3-none-any.whl",)),
    asking(pypi=("requests @ https://files.example.org/requests-2.32-py3-none-any.whl#sha256=" + "b" * 64,)),
    asking(pypi=("made @ git+https://git.example.org/made@0123",)),
    asking(needs=("requests", "numpy", "ruamel-yaml")),
    asking(variables=(("B", "2"),)),
    asking(base=LOCK),
    asking(base=replace(LOCK, variables=(("A", "other"),)), variables=(("A", "1"),)),
    asking(pypi_constraints=(Requirement(name="requests", specifier="<3"), Requirement(name="nonesuch"))),
    asking(pypi_constraints=(Requirement(name="requests", specifier="<2", marker="python_version < '3.11'"),)),
]


@pytest.mark.parametrize("spec", HOLDS)
def test_what_is_there_is_held(spec: EnvironmentSpec) -> None:
    assert satisfies(LOCK, spec) is None


_HASHED = Requirement(name="requests", hashes=("sha256:" + "0" * 64,))
_PYLOCK = LockFile(kind=LockFileKind.PYLOCK, digest="0" * 64, path=Path("pylock.toml"))

LACKS = {
    "`python 3.12.*` is asked for, and there is python 3.11.7": asking(python="3.12"),
    "`numpy >=2` is asked for, and there is numpy 1.26.4": asking("numpy >=2", "nonesuch"),
    "there is no `nonesuch`": asking("nonesuch"),
    "there is no `alone`": asking(conda_only=(wish("alone", ""),)),
    "`numpy * mkl*` is asked for, and there is numpy 1.26.4 py311h1_0": asking("numpy * mkl*"),
    "`numpy * ^($` is asked for, and there is numpy 1.26.4 py311h1_0": asking(
        conda_only=(MatchSpec(name="numpy", build="^($"),)
    ),
    "`own::numpy` is asked for, and there is numpy 1.26.4 of `conda-forge`": asking("own::numpy"),
    "`odd >=1` is asked for, and there is odd 1.0-x_y": asking("odd >=1"),
    "there is no `pandas`": asking(pypi=("pandas",)),
    "there is no `tzdata`": asking(pypi=("tzdata",)),
    "`requests<2` is asked for, and there is requests 2.32": asking(pypi=("requests<2",)),
    "`numpy>=2` is asked for, and there is numpy 1.26.4": asking(pypi=("numpy>=2",)),
    "whether what `requests[socks]` needs is there is not known": asking(pypi=("requests[socks]",)),
    "`requests @ https://files.example.org/a.whl` is asked for, and there is requests 2.32 from another place": asking(
        pypi=("requests @ https://files.example.org/a.whl",)
    ),
    "`made @ git+https://git.example.org/made@main` is asked for, and there is made 1.0 from another place": asking(
        pypi=("made @ git+https://git.example.org/made@main",)
    ),
    "`made @ file:///srv/made` is asked for, and there is made 1.0, of what was there at the time": asking(
        pypi=("made @ file:///srv/made",)
    ),
    f"`requests` is asked for, and there is requests 2.32 with the sha256 {'b' * 64}": replace(NONE, pypi=(_HASHED,)),
    "`numpy` is asked for, and there is numpy 1.26.4, whose sha256 is not known": replace(
        NONE, pypi=(replace(_HASHED, name="numpy"),)
    ),
    "`numpy` is asked for, and there is numpy 1.26.4 from conda": replace(
        NONE, pypi=(Requirement(name="numpy", index="https://pkg.example.org/simple"),)
    ),
    "there is no `boto3`": asking(needs=("requests", "boto3")),
    "`requests<2` has to hold, and there is requests 2.32": asking(
        pypi_constraints=(Requirement(name="requests", specifier="<2"),)
    ),
    "the variable `B` is another": asking(variables=(("A", "1"), ("B", "3"))),
    "the variable `C` is another": asking(variables=(("C", ""),)),
    "the variable `A` is another": asking(base=replace(LOCK, variables=(("A", "other"),))),
    "`more-1-py3-none-any.whl` of what is built upon is not there": asking(
        base=replace(LOCK, pypi=(replace(wheel("more", "1"), artifact=_file("more-1-py3-none-any.whl", "d")),))
    ),
    "whether what `pylock.toml` has is there is not known": asking(base=_PYLOCK),
}


@pytest.mark.parametrize("reason", LACKS)
def test_what_is_not_there_is_told(reason: str) -> None:
    assert satisfies(LOCK, LACKS[reason]) == reason


def test_a_wheel_at_an_address_with_another_digest_is_another() -> None:
    url = f"{LOCK.pypi[0].artifact.url}#sha256={'0' * 64}"
    assert satisfies(LOCK, asking(pypi=(f"requests @ {url}",))) == (
        f"`requests @ {url}` is asked for, and there is requests 2.32 from another place"
    )


def test_a_channel_by_its_address_is_not_one_that_ends_alike() -> None:
    named = asking(conda_only=(MatchSpec(name="numpy", channel=Channel(location="https://conda.example.org/forge")),))
    assert satisfies(LOCK, named) is not None
    half = asking(conda_only=(MatchSpec(name="ruamel.yaml", channel=Channel(location="am")),))
    assert satisfies(LOCK, half) is not None


@given(locks(max_size=6), environment_specs())
def test_any_lock_holds_any_spec_or_says_why_not(lock: LockedEnvironment, spec: EnvironmentSpec) -> None:
    reason = satisfies(lock, spec)
    there = {package.name for package in lock.packages}
    if any(wish.name not in there for wish in spec.match_specs):
        assert reason is not None
        assert satisfies(lock, replace(spec, python=None, conda=())) is None
    else:
        assert reason is None or " is asked for, and there is " in reason


@given(locks(max_size=6), st.data())
def test_a_lock_holds_what_it_is(lock: LockedEnvironment, data: st.DataObject) -> None:
    """Each package may be asked for by its version, its build and its channel."""
    wishes = []
    for package in lock.packages:
        record = package.record
        wishes.append(
            MatchSpec(
                name=record.name,
                version=data.draw(st.sampled_from(("*", f"=={record.version}"))),
                build=data.draw(st.sampled_from((None, record.build, f"{record.build[:1]}*"))),
                channel=data.draw(st.sampled_from((None, Channel(location=record.channel)))),
            )
        )
    assert satisfies(lock, replace(NONE, conda=tuple(wishes), base=lock)) is None
