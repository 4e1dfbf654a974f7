"""conda-lock as resolver of conda and PyPI packages together: the real one, over a stand-in for micromamba."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mfenv.domain.channel import Channel
from mfenv.domain.cutoff import check_cutoff
from mfenv.domain.flags import ResolverFlag
from mfenv.domain.index import PackageIndex
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import EnvironmentSpec, IndexStrategy, SolveOptions
from mfenv.errors import EnvironmentsError, ResolutionFailed, ToolNotFound
from mfenv.io.process import SystemProcessRunner
from mfenv.io.worker import WorkerClient
from mfenv.resolve.backends import conda_lock
from mfenv.resolve.backends import rattler as rattler_backend
from mfenv.resolve.backends.conda_lock import CondaLockResolver, arguments, inputs
from mfenv.resolve.backends.rattler import RattlerIndex
from mfenv.testing import conda_programs
from mfenv.testing.channel import MAIN, ChannelServer, LocalChannel, built_channel
from mfenv.testing.index import IndexFolder
from mfenv.testing.wheels import MadeWheel

SECRET = "canary-of-conda-lock"
ALIKE = SolveOptions(index_strategy=IndexStrategy.BEST_MATCH)


@pytest.fixture(scope="module")
def channel() -> LocalChannel:
    return built_channel()


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerClient]:
    client = WorkerClient(rattler_backend.OPERATIONS, needs=("rattler",))
    yield client
    client.close()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("index")
    wheels = (
        MadeWheel(name="zz-app", version="1.0", needs=("zz-lib>=1",)),
        MadeWheel(name="zz-lib", version="1.0"),
        MadeWheel(name="zz-lib", version="2.0"),
        MadeWheel(name="zz-picky", version="1.0", needs=("zz-lib<1",)),
    )
    IndexFolder(root).add(*wheels)
    with ChannelServer(root) as server:
        yield f"{server.url}/index/simple"


@pytest.fixture
def resolver(worker: WorkerClient, tmp_path: Path) -> CondaLockResolver:
    conda_programs.program(tmp_path / "bin", "micromamba", "2.8.1")
    return CondaLockResolver(
        runner=SystemProcessRunner(),
        records=RattlerIndex(worker, cache=str(tmp_path / "repodata")).records,
        secret_urls={"https://h.example": f"https://me:{SECRET}@h.example"},
        environment={"PATH": str(tmp_path / "bin")},
        timeout=120,
    )


def asked(
    channel: LocalChannel, index: str, *pypi: str, conda: tuple[str, ...] = ("six==1.16.0",)
) -> ResolutionRequest:
    major, minor = map(int, channel.running.split("."))
    spec = EnvironmentSpec(
        python=PythonConstraint.minor(major, minor),
        conda=tuple(MatchSpec.from_text(text, where="test") for text in conda),
        channels=(Channel(location=channel.url(MAIN)),),
        pypi=tuple(Requirement.from_text(text, where="test") for text in pypi),
        default_index=PackageIndex(url=index),
        options=ALIKE,
    )
    return ResolutionRequest(spec=spec, target=baseline(Platform.LINUX_64))


def test_both_sides_are_locked_together(resolver: CondaLockResolver, channel: LocalChannel, index: str) -> None:
    answer = resolver.resolve(asked(channel, index, "zz-app", 'zz-picky; sys_platform == "darwin"'))
    versions = {each.record.name: each.record.version for each in answer.packages}
    assert versions["six"] == "1.16.0"
    assert versions["python"].startswith(f"{channel.running}.")
    assert {each.name: each.version for each in answer.pypi} == {"zz-app": "1.0", "zz-lib": "2.0"}
    assert all(len((each.wheel.sha256 if each.wheel else "") or "") == 64 for each in answer.pypi)
    assert all(each.artifact.sha256 for each in answer.packages)
    assert [each.record.depends for each in answer.packages if each.record.name == "python"] != [()]
    assert answer.resolver.startswith("conda-lock ")


def test_a_lock_without_what_its_packages_need_is_refused(
    resolver: CondaLockResolver, channel: LocalChannel, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes for superfluous what nobody said that he needs."""
    monkeypatch.setenv(conda_programs.FAULT, "no-needs")
    with pytest.raises(ResolutionFailed, match=r"wrote a lock that cannot be used: it has not .*`libzlib`"):
        resolver.resolve(asked(channel, index, "zz-app"))


def test_what_cannot_be_had_is_one_error(resolver: CondaLockResolver, channel: LocalChannel, index: str) -> None:
    with pytest.raises(ResolutionFailed) as failed:
        resolver.resolve(asked(channel, index, "zz-app", "zz-picky"))
    assert failed.value.message == "`conda-lock` finds nothing for linux-64 that is all that is asked for"
    assert "zz-picky" in failed.value.packages
    with pytest.raises(ResolutionFailed) as failed:
        resolver.resolve(asked(channel, index, "zz-app", conda=("there-is-no-such-package",)))
    assert "there-is-no-such-package" in failed.value.packages


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pypi": (Requirement(name="a", url="file:///x/a"),)}, "Local PYPI packages are not supported in MIXED mode"),
        (
            {"pypi": (Requirement(name="a", url="https://h.example/a-1.tar.gz"),)},
            "`conda-lock` cannot take PyPI packages by their addresses",
        ),
        (
            {"flags": (ResolverFlag(name="prerelease", value="allow"),)},
            "`conda-lock` cannot take options of the PyPI resolver",
        ),
        (
            {"options": replace(ALIKE, exclude_newer=check_cutoff("2025-01-31", where="test"))},
            "`conda-lock` cannot leave out what is newer than a date",
        ),
        (
            {"options": SolveOptions()},
            (
                "`conda-lock` takes a project from whichever index has the best version, and the default one is always among "
                "them"
            ),
        ),
    ],
)
def test_what_it_cannot_is_refused_and_said_who_can(
    resolver: CondaLockResolver, channel: LocalChannel, index: str, change: dict[str, Any], message: str
) -> None:
    request = asked(channel, index, "zz-app")
    with pytest.raises(ResolutionFailed) as failed:
        resolver.resolve(replace(request, spec=replace(request.spec, **change)))
    assert failed.value.message == message
    assert "`hybrid`" in (failed.value.hint or "")


def test_what_it_reads() -> None:
    spec = EnvironmentSpec(
        python=PythonConstraint.minor(3, 11),
        conda=(
            MatchSpec.parse("six", ">=1,<2", where="test"),
            MatchSpec(
                name="numpy", version="==1.26.4", build="py311*", channel=Channel(location="https://h.example/c")
            ),
        ),
        channels=(Channel.parse(f"https://me:{SECRET}@h.example/main", where="test"),),
        pypi=(Requirement.from_text("requests[socks]>=2", where="test"), Requirement.from_text("attrs", where="test")),
    )
    request = ResolutionRequest(spec=spec, target=baseline(Platform.LINUX_64))
    python = str(spec.match_specs[0]).replace("python ", "").replace("python", "")
    written = inputs(request)
    assert written["environment.yml"] == {
        "channels": ["https://h.example/main"],
        "platforms": ["linux-64"],
        "dependencies": [
            f"python {spec.match_specs[0].version}",
            "six <2,>=1",
            "https://h.example/c::numpy ==1.26.4 py311*",
            "pip",
            {"pip": ["requests[socks]>=2", "attrs"]},
        ],
    }, python
    assert written["virtual-packages.yml"] == {
        "subdirs": {
            "linux-64": {"packages": {"__archspec": "1 x86_64", "__glibc": "2.28", "__linux": "4.18", "__unix": "0"}}
        }
    }
    assert " ".join(arguments(request, "/opt/bin/mamba")) == (
        "lock --conda /opt/bin/mamba --no-dev-dependencies --log-level ERROR --no-micromamba --file environment.yml "
        "--platform linux-64 --virtual-package-spec virtual-packages.yml --lockfile conda-lock.yml "
        "--pypi_to_conda_lookup_file names.yml"
    )


def test_without_a_conda_it_says_what_was_looked_for(
    resolver: CondaLockResolver, channel: LocalChannel, index: str, tmp_path: Path
) -> None:
    (tmp_path / "bin" / "micromamba").unlink()
    with pytest.raises(ToolNotFound) as failed:
        resolver.resolve(asked(channel, index, "zz-app"))
    assert failed.value.message == (
        "Could not find conda binary for conda-lock: none of `micromamba`, `mamba`, `conda` is on PATH, or what MAMBA_EXE "
        "or CONDA_EXE says"
    )
    assert "`hybrid`" in (failed.value.hint or "")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("echo conda-lock, version 4.0.3; exit 0", "`conda-lock` ended well and left no lock"),
        (
            "echo conda-lock, version 4.0.3; echo '{' > conda-lock.yml",
            "`conda-lock` 4.0.3 wrote a lock that cannot be used",
        ),
        (
            f'case "$*" in --version) echo version 4.0.3;; *) echo https://me:{SECRET}@h.example >&2; exit 1;; esac',
            "`conda-lock` finds nothing for linux-64",
        ),
        ("echo conda-lock, version 1.4.0", "is conda-lock 1.4.0, and 2.1 or later is needed"),
        ("echo garbage", "does not say which version it is"),
        (
            'case "$*" in --version) echo version 4.0.3;; *) sleep 613 & sleep 613;; esac',
            "found no answer within 3 seconds",
        ),
    ],
)
def test_a_conda_lock_that_misbehaves_is_one_error(
    resolver: CondaLockResolver,
    channel: LocalChannel,
    index: str,
    tmp_path: Path,
    lines: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "beside" / "conda-lock"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(conda_lock.sys, "executable", str(path.parent / "python"))
    resolver._timeout = 3
    with pytest.raises(EnvironmentsError) as failed:
        resolver.resolve(asked(channel, index, "zz-app"))
    assert message in failed.value.message
    assert SECRET not in failed.value.explain()
    assert not subprocess.run(["pgrep", "-f", "sleep 613"], capture_output=True, check=False).stdout
