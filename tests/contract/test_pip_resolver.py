"""pip as PyPI resolver, beside uv: the same requests on the same index."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mfenv.domain.flags import ResolverFlag
from mfenv.domain.index import PackageIndex
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import IndexStrategy, SolveOptions
from mfenv.errors import EnvironmentsError, ResolutionFailed, ToolNotFound
from mfenv.io.process import SystemProcessRunner
from mfenv.resolve.backends.pip import PipResolver, arguments, demands_in
from mfenv.resolve.backends.uv import UvResolver
from mfenv.resolve.pypi import Demand, OutOfReachError, Provided, PypiRequest, PypiResolver, UnknownExtrasError
from mfenv.testing.channel import ChannelServer, Credentials
from mfenv.testing.index import IndexFolder
from mfenv.testing.wheels import MadeWheel

SECRET = "canary-of-the-index"
WHEELS = (
    MadeWheel(name="lib", version="1.0"),
    MadeWheel(name="lib", version="2.0"),
    MadeWheel(name="lib", version="3.0rc1"),
    MadeWheel(
        name="app",
        version="1.0",
        needs=("lib>=1", 'old-python; python_version < "3.12"', 'mac; sys_platform == "darwin"'),
    ),
    MadeWheel(name="picky", version="1.0", needs=("lib<2",)),
    MadeWheel(name="old-python", version="1.0"),
    MadeWheel(name="mac", version="1.0"),
    MadeWheel(name="native", version="1.0", tags="cp312-cp312-manylinux_2_28_x86_64"),
    MadeWheel(name="native", version="1.1", tags="cp312-cp312-manylinux_2_39_x86_64"),
    MadeWheel(name="newer-python", version="1.0", requires_python=">=3.10"),
    MadeWheel(name="newer-python", version="2.0", requires_python=">=3.99"),
)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("index")
    IndexFolder(root).add(*WHEELS).add_sdists(MadeWheel(name="source", version="1.0", needs=("lib==1.0",)))
    with ChannelServer(root) as server:
        yield f"{server.url}/index/simple"


@pytest.fixture
def pip(tmp_path: Path) -> PipResolver:
    return PipResolver(SystemProcessRunner(), cache=tmp_path / "cache", timeout=120)


@pytest.fixture(params=["pip", "uv"])
def either(request: pytest.FixtureRequest, pip: PipResolver, tmp_path: Path) -> PypiResolver:
    return pip if request.param == "pip" else UvResolver(SystemProcessRunner(), cache=tmp_path / "uv")


def asked(
    index: str, *wanted: str, python: str = "3.12.4", platform: Platform = Platform.LINUX_64, **more: Any
) -> PypiRequest:
    return PypiRequest(
        requirements=tuple(Requirement.from_text(text, where="test") for text in wanted),
        python=python,
        target=baseline(platform),
        default_index=PackageIndex(url=index),
        **more,
    )


def versions(resolver: PypiResolver, request: PypiRequest) -> dict[str, str]:
    return {found.name: found.version for found in resolver.resolve(request)}


@pytest.mark.parametrize(
    ("wanted", "more", "expected"),
    [
        (["app"], {}, {"app": "1.0", "lib": "2.0"}),
        # Markers are those of the target, not of the Python that pip runs in.
        (["app"], {"python": "3.11.2"}, {"app": "1.0", "lib": "2.0", "old-python": "1.0"}),
        (["app"], {"platform": Platform.OSX_ARM64}, {"app": "1.0", "lib": "2.0", "mac": "1.0"}),
        (["lib<2"], {}, {"lib": "1.0"}),
        (["app", "picky"], {}, {"app": "1.0", "picky": "1.0", "lib": "1.0"}),
        # Wheels are those for the target's C library.
        (["native"], {}, {"native": "1.0"}),
        (["newer-python"], {}, {"newer-python": "1.0"}),
        (["lib"], {"flags": (ResolverFlag(name="prerelease", value="allow"),)}, {"lib": "3.0rc1"}),
        (["app"], {"constraints": (Requirement(name="lib", specifier="<2"),)}, {"app": "1.0", "lib": "1.0"}),
        (['mac; sys_platform == "darwin"', "lib"], {}, {"lib": "2.0"}),
    ],
)
def test_both_choose_the_same(
    either: PypiResolver, index: str, wanted: list[str], more: dict[str, Any], expected: dict[str, str]
) -> None:
    assert versions(either, asked(index, *wanted, **more)) == expected


def test_what_conda_provides_is_fixed_and_not_in_the_answer(either: PypiResolver, index: str) -> None:
    provided = (Provided(name="lib", version="1.0", conda_name="lib"),)
    assert versions(either, asked(index, "app", provided=provided)) == {"app": "1.0"}


def test_files_have_their_sha256(either: PypiResolver, index: str) -> None:
    (found,) = either.resolve(asked(index, "lib==1.0"))
    assert found.wheel is not None
    assert found.wheel.file_name == "lib-1.0-py3-none-any.whl"
    assert len(found.wheel.sha256 or "") == 64
    assert found.wheel.url.startswith(index.removesuffix("/simple"))


def test_a_source_is_what_will_be_built(either: PypiResolver, index: str) -> None:
    found = {one.name: one for one in either.resolve(asked(index, "source"))}
    source = found["source"]
    assert (source.wheel, found["lib"].version) == (None, "1.0")
    assert source.build is not None
    assert source.build.url.endswith("source-1.0.tar.gz")
    assert len(source.build.sha256 or "") == 64


def test_a_source_for_another_platform_is_refused(pip: PipResolver, index: str) -> None:
    with pytest.raises(ResolutionFailed):
        pip.resolve(asked(index, "source", platform=Platform.OSX_ARM64, may_build=False))


def test_a_conflict_names_who_needs_what(either: PypiResolver, index: str) -> None:
    request = asked(index, "app", "picky", provided=(Provided(name="lib", version="2.0", conda_name="lib"),))
    with pytest.raises(ResolutionFailed) as failed:
        either.resolve(request)
    (demand,) = either.demands(failed.value, request)
    assert (demand.project, demand.by) == ("lib", "picky")
    assert demand.specifier == "<2" or either.name == "uv"


def test_what_it_would_rather_have_is_told(either: PypiResolver, index: str) -> None:
    request = asked(index, "app", "picky", provided=(Provided(name="lib", version="2.0", conda_name="lib"),))
    preferred = either.prefer(request)
    assert preferred.versions["lib"] == "1.0"
    assert set(preferred.needed_by["lib"]) == {"app", "picky"}
    assert either.prefer(request, {"lib": ["1.0", "0.9"]}).versions["lib"] in {"1.0", "0.9"}


def test_unknown_extras_of_what_is_provided_are_asked_for(either: PypiResolver, index: str) -> None:
    request = asked(index, "lib[fast]", provided=(Provided(name="lib", version="1.0", conda_name="lib"),))
    with pytest.raises(UnknownExtrasError):
        either.resolve(request)
    known = replace(request.provided[0], extra_requirements=('native; extra == "fast"',))
    assert versions(either, replace(request, provided=(known,))) == {"native": "1.0"}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("nobody-has-this", "there is no package `nobody-has-this` on the package index"),
        ("lib[unknown]", "`lib` 2.0 has no extra `unknown`"),
        ("lib>=9", "no version of `lib` that is asked for can be had for linux-64 and Python 3.12.4"),
    ],
)
def test_what_cannot_be_had_is_one_sentence(pip: PipResolver, index: str, wanted: str, message: str) -> None:
    with pytest.raises(ResolutionFailed) as failed:
        pip.resolve(asked(index, wanted))
    assert failed.value.message == message
    assert failed.value.hint
    assert failed.value.packages == (wanted.split("[")[0].split(">")[0],)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"flags": (ResolverFlag(name="resolution", value="lowest"),)}, "pip cannot choose the lowest versions"),
        (
            {"flags": (ResolverFlag(name="prerelease", value="disallow"),)},
            "pip cannot treat pre-releases as `disallow`",
        ),
        (
            {"indexes": (PackageIndex(url="https://other.example/simple"),)},
            "pip takes a project from whichever index has the best version, and several are named",
        ),
    ],
)
def test_what_pip_cannot_is_refused_and_said_who_can(
    pip: PipResolver, index: str, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(ResolutionFailed) as failed:
        pip.resolve(asked(index, "lib", **more))
    assert failed.value.message == message
    assert "`uv`" in (failed.value.hint or "")


def test_indexes_that_are_trusted_alike_may_be_several(pip: PipResolver, index: str) -> None:
    options = SolveOptions(index_strategy=IndexStrategy.BEST_MATCH)
    request = asked(index, "lib", indexes=(PackageIndex(url=index),), options=options)
    assert versions(pip, request) == {"lib": "2.0"}


def test_a_bound_project_is_refused(pip: PipResolver, index: str) -> None:
    bound = replace(Requirement.from_text("lib", where="test"), index=index)
    with pytest.raises(ResolutionFailed, match="pip cannot bind a project to an index"):
        pip.resolve(replace(asked(index, "lib"), requirements=(bound,)))


def test_credentials_reach_the_index_and_nothing_else(tmp_path: Path) -> None:
    IndexFolder(tmp_path / "root").add(*WHEELS)
    with ChannelServer(tmp_path / "root", credentials=Credentials(user="me", password=SECRET)) as server:
        url = f"{server.url}/index/simple"
        secrets = {server.url: server.url.replace("://", f"://me:{SECRET}@")}
        secrets |= {url: url.replace("://", f"://me:{SECRET}@")}
        cache = tmp_path / "cache"
        known = PipResolver(SystemProcessRunner(), cache=cache, secret_urls=secrets, timeout=60)
        (found,) = known.resolve(asked(url, "lib"))
        assert found.wheel is not None
        assert SECRET not in found.wheel.url
        unknown = PipResolver(SystemProcessRunner(), cache=cache, timeout=60)
        with pytest.raises(EnvironmentsError) as failed:
            unknown.resolve(asked(url, "lib"))
        assert SECRET not in failed.value.explain()
    assert [path for path in cache.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()] == []


def test_an_index_that_is_not_there_is_told(pip: PipResolver) -> None:
    with pytest.raises(OutOfReachError, match="the package index cannot be used"):
        pip.resolve(asked("http://127.0.0.1:9/simple", "lib"))


def stand_in(folder: Path, lines: str) -> str:
    """A Python that answers `pip --version` as a new pip does, and else does as `lines` say."""
    path = folder / "python"
    version = 'case "$*" in *"-m pip --version"*) echo "pip 26.0 from x (python 3.12)"; exit 0;; esac\n'
    path.write_text(f"#!/bin/sh\n{version if 'pip --version' not in lines else ''}{lines}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("echo garbage; exit 0", "pip ended well and left no answer"),
        (
            'echo \'{"version": "9"}\' > report.json',
            "pip ended well and left no answer: pip's report is of version `9`",
        ),
        ("echo '{' > report.json", "pip ended well and left no answer"),
        ("kill -SEGV $$", "pip could not resolve the PyPI packages"),
        (f"echo 'ERROR: https://me:{SECRET}@h.example 401 Client Error' >&2; exit 1", "a package index answers 401"),
    ],
)
def test_a_pip_that_misbehaves_is_one_error(tmp_path: Path, index: str, lines: str, message: str) -> None:
    secrets = {"https://h.example": f"https://me:{SECRET}@h.example"}
    python = stand_in(tmp_path, lines)
    pip = PipResolver(SystemProcessRunner(), cache=tmp_path / "c", secret_urls=secrets, python=python, timeout=20)
    with pytest.raises(ResolutionFailed) as failed:
        pip.resolve(asked(index, "lib"))
    assert failed.value.message.startswith(message)
    assert SECRET not in failed.value.explain()


def test_a_pip_that_hangs_is_ended_with_its_children(tmp_path: Path, index: str) -> None:
    python = stand_in(tmp_path, "sleep 611 & sleep 611")
    pip = PipResolver(SystemProcessRunner(), cache=tmp_path / "c", python=python, timeout=1)
    with pytest.raises(OutOfReachError, match="pip found no answer within 1 seconds"):
        pip.resolve(asked(index, "lib"))
    time.sleep(0.2)
    assert not subprocess.run(["pgrep", "-f", "sleep 611"], capture_output=True, check=False).stdout


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('echo "pip --version: no module named pip" >&2; exit 1', "cannot be run by"),
        ('# pip --version\necho "pip 21.3 from x (python 3.10)"', "is too old: 23.0 or later is needed"),
    ],
)
def test_a_pip_that_is_not_there_or_too_old_is_told(tmp_path: Path, index: str, lines: str, message: str) -> None:
    pip = PipResolver(SystemProcessRunner(), cache=tmp_path / "c", python=stand_in(tmp_path, lines), timeout=20)
    with pytest.raises(ToolNotFound, match=message):
        pip.resolve(asked(index, "lib"))


def test_a_cut_off_date_needs_a_newer_pip(pip: PipResolver, index: str) -> None:
    if pip._pip() >= (26, 0):
        pip._version = (25, 3)
    with pytest.raises(ResolutionFailed, match="leave out what is newer than a date"):
        pip.resolve(asked(index, "lib", options=SolveOptions(exclude_newer="2025-01-31")))


def test_what_pip_is_told() -> None:
    request = asked("https://h.example/simple", "lib", flags=(ResolverFlag(name="only-binary", value="lib"),))
    assert " ".join(arguments(request)) == (
        "install --dry-run --ignore-installed --report report.json --target nothing --python-version 3.12.4 "
        "--only-binary lib --constraint constraints.txt --requirement requirements.txt"
    )


CONFLICT = """
ERROR: Cannot install app==1.0 and picky==1.0 because these package versions have conflicting dependencies.

The conflict is caused by:
    app 1.0 depends on lib>=1
    picky[all] 1.0 depends on lib<2
    The user requested (constraint) lib 2.0 (from file:///x/lib-2.0-py3-none-any.whl)

ERROR: ResolutionImpossible: for help visit the documentation
"""


def test_demands_are_read_from_pips_words() -> None:
    request = asked("https://h.example/simple", provided=(Provided(name="lib", version="2.0", conda_name="lib"),))
    assert demands_in(CONFLICT, request) == (Demand(project="lib", specifier="<2", by="picky"),)


@pytest.mark.parametrize("version", ["23.0", "24.0", "26.0"])
def test_other_versions_of_pip_do_the_same(version: str, tmp_path: Path, index: str) -> None:
    """What is put in place of pip's own is there in all of them."""
    import uv

    environment = {**os.environ, "UV_NO_CONFIG": "1"}
    folder = tmp_path / "venv"
    for words in (
        ["venv", "-q", "--python", sys.executable, str(folder)],
        ["pip", "install", "-q", f"pip=={version}.*"],
    ):
        more = ["--python", str(folder / "bin/python")] if words[0] == "pip" else []
        subprocess.run([uv.find_uv_bin(), *words, *more], env=environment, check=True)
    pip = PipResolver(SystemProcessRunner(), cache=tmp_path / "c", python=str(folder / "bin/python"), timeout=120)
    assert pip._pip()[:2] == tuple(map(int, version.split(".")))
    assert versions(pip, asked(index, "app", python="3.11.2")) == {"app": "1.0", "lib": "2.0", "old-python": "1.0"}
    assert versions(pip, asked(index, "app", "native")) == {"app": "1.0", "lib": "2.0", "native": "1.0"}
    request = asked(index, "app", "picky", provided=(Provided(name="lib", version="2.0", conda_name="lib"),))
    with pytest.raises(ResolutionFailed) as failed:
        pip.resolve(request)
    assert [(one.specifier, one.by) for one in pip.demands(failed.value, request)] == [("<2", "picky")]
