"""Lock files of other tools, read with the real tools: uv, and py-rattler on real packages and in the helper process."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mfenv.app.lock import lock_of
from mfenv.domain.artifact import Artifact
from mfenv.domain.base import LockFile, LockFileContent
from mfenv.domain.channel import Channel
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.resolved import BuildSource, CondaRecord, ResolvedEnvironment, ResolvedPackage
from mfenv.domain.spec import EnvironmentSpec
from mfenv.errors import HydrationFailed, LockError, ResolutionFailed
from mfenv.formats.lock_file import content_digest, kind_of
from mfenv.hydrate import conda
from mfenv.hydrate.conda import RattlerInstaller
from mfenv.hydrate.folders import LocalFolders
from mfenv.io.process import SystemProcessRunner
from mfenv.io.worker import WorkerClient
from mfenv.resolve.backends import rattler as rattler_backend
from mfenv.resolve.backends.rattler import RattlerRecords, RattlerResolver
from mfenv.resolve.backends.uv import find_uv
from mfenv.resolve.lock_files import LockFileReader, select
from mfenv.testing.channel import MAIN, LocalChannel, built_channel
from mfenv.testing.pypi import build_nothing

SAVED = Path(__file__).parents[1] / "data" / "lock_files"
LINUX = baseline(Platform.LINUX_64)
PLACE = "https://channel.example.org/conda-forge"

Read = Callable[..., LockFileContent]


@pytest.fixture(scope="module")
def channel() -> LocalChannel:
    return built_channel()


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerClient]:
    client = WorkerClient({**rattler_backend.OPERATIONS, **conda.OPERATIONS}, needs=("rattler",))
    yield client
    client.close()


@pytest.fixture(scope="module")
def reader(worker: WorkerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LockFileReader]:
    folder = tmp_path_factory.mktemp("cache")
    runner = SystemProcessRunner()
    yield LockFileReader(
        runner=runner,
        uv=find_uv,
        cache=folder / "uv",
        worker=worker,
        records=RattlerRecords(worker, cache=str(folder / "records"), archives=str(folder / "archives")),
    )
    runner.close()


@pytest.fixture
def read(reader: LockFileReader) -> Read:
    def content(path: Path, target: Any = LINUX, **wishes: Any) -> LockFileContent:
        text = path.read_text()
        kind = kind_of(path.name, text)
        assert kind
        return reader.content(LockFile(kind=kind, digest=content_digest(text), path=path, **wishes), target)

    return content


@pytest.fixture(scope="module")
def solved(
    worker: WorkerClient, channel: LocalChannel, tmp_path_factory: pytest.TempPathFactory
) -> ResolvedEnvironment:
    """What the solver answers, with the records of the channel's index."""
    spec = EnvironmentSpec(
        python=PythonConstraint.parse("3.11", where="test"),
        conda=(MatchSpec(name="itsdangerous"), MatchSpec(name="pandas")),
        channels=(Channel(location=channel.url(MAIN)),),
    )
    resolver = RattlerResolver(worker, cache=str(tmp_path_factory.mktemp("repodata")))
    return resolver.resolve(ResolutionRequest(spec=spec, target=LINUX))


def explicit(folder: Path, packages: tuple[ResolvedPackage, ...], digest: Callable[[Artifact], str]) -> Path:
    """A list of the packages' files, in the order of their names."""
    artifacts = sorted((package.artifact for package in packages), key=lambda found: found.file_name)
    path = folder / "list.txt"
    path.write_text("\n".join(["@EXPLICIT", *(f"{found.url}{digest(found)}" for found in artifacts)]) + "\n")
    return path


# -- conda packages


@pytest.mark.parametrize(
    "digest", [lambda a: f"#{a.md5}", lambda a: f"#sha256:{a.sha256}", lambda a: ""], ids=["md5", "sha256", "none"]
)
def test_a_list_of_files_gives_what_the_index_would_have_told(
    read: Read, solved: ResolvedEnvironment, tmp_path: Path, digest: Callable[[Artifact], str]
) -> None:
    found = read(explicit(tmp_path, solved.packages, digest))
    records = [package.record for package in found.conda if isinstance(package, ResolvedPackage)]
    assert sorted(records, key=str) == sorted((package.record for package in solved.packages), key=str)
    names = [record.name for record in records]
    for position, record in enumerate(records):
        needed = {text.split()[0] for text in record.depends} & {*names}
        assert needed <= {*names[:position]}, record.name


def test_files_known_by_their_md5_are_locked_by_their_sha256(
    read: Read, solved: ResolvedEnvironment, worker: WorkerClient, tmp_path: Path
) -> None:
    few = tuple(package for package in solved.packages if package.record.name in {"bzip2", "itsdangerous"})
    installer = RattlerInstaller(worker, LocalFolders(tmp_path / "mfenv"))

    def locked(digest: Callable[[Artifact], str]) -> Any:
        conda_side = read(explicit(tmp_path, few, digest)).conda
        answer = replace(solved, packages=tuple(p for p in conda_side if isinstance(p, ResolvedPackage)))
        return lock_of(answer, installer.measure, build_nothing)

    assert {package.artifact.sha256 for package in locked(lambda a: f"#{a.md5}").packages} == {
        package.artifact.sha256 for package in few
    }
    with pytest.raises(HydrationFailed, match=r"is refused: its md5 is "):
        locked(lambda a: f"#{'0' * 32}")


def test_two_files_of_one_package_are_refused(read: Read, channel: LocalChannel, tmp_path: Path) -> None:
    files = sorted((channel.path(MAIN) / "noarch").glob("itsdangerous-*.conda"))[:2]
    path = tmp_path / "list.txt"
    path.write_text("@EXPLICIT\n" + "\n".join(map(str, files)))
    with pytest.raises(LockError) as caught:
        read(path)
    assert caught.value.message == (
        f"list.txt: {files[1].name} is the package `itsdangerous`, and so is {files[0].name}"
    )


def test_a_file_that_is_not_there_is_named(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("@EXPLICIT\n./gone-1-0.conda\n")
    with pytest.raises(
        ResolutionFailed, match=r"^the package `gone-1-0.conda` cannot be looked into, to see what it needs$"
    ):
        read(path)


def made(folder: Path, index: Any, name: str = "a-1-0.tar.bz2") -> Path:
    """A list with one package that says `index` of itself."""
    content = index if isinstance(index, bytes) else json.dumps(index).encode()
    with tarfile.open(folder / name, "w:bz2") as archive:
        member = tarfile.TarInfo("info/index.json")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    path = folder / "list.txt"
    path.write_text(f"@EXPLICIT\n./{name}\n")
    return path


INDEX = {"name": "a", "version": "1", "build": "0", "build_number": 0, "subdir": "linux-64", "depends": []}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, {}),
        ({"noarch": "python", "subdir": "noarch"}, {"noarch": "python", "subdir": "noarch"}),
        ({"subdir": "noarch"}, {"noarch": "generic", "subdir": "noarch"}),
        ({"noarch": True, "subdir": "noarch"}, {"noarch": "generic", "subdir": "noarch"}),
        (
            {"python_site_packages_path": "lib/python3.13t/site-packages", "license": "MIT"},
            {"python_site_packages_path": "lib/python3.13t/site-packages", "license": "MIT"},
        ),
    ],
)
def test_what_a_package_says_of_itself_becomes_its_record(
    read: Read, tmp_path: Path, said: dict[str, Any], expected: dict[str, Any]
) -> None:
    (found,) = read(made(tmp_path, {**INDEX, **said})).conda
    assert isinstance(found, ResolvedPackage)
    # The folder that it lies in is no subdir: what it says has to do.
    channel = tmp_path.parent.as_uri() + f"/{tmp_path.name}"
    assert found.record == CondaRecord(
        **{
            "name": "a",
            "version": "1",
            "build": "0",
            "build_number": 0,
            "subdir": "linux-64",
            "channel": channel,
            **expected,
        }
    )


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"", "list.txt: a-1-0.tar.bz2: this is not JSON ("),
        (b"[]", "list.txt: a-1-0.tar.bz2: expected an object"),
        ({**INDEX, "name": None}, "list.txt: a-1-0.tar.bz2.name: missing"),
        ({**INDEX, "depends": [3]}, "list.txt: a-1-0.tar.bz2.depends[0]: expected str, found `3`"),
        ({**INDEX, "version": "../1"}, "list.txt: a-1-0.tar.bz2: `../1` cannot be part of a conda package's name"),
        ({**INDEX, "version": "1 2"}, "list.txt: a-1-0.tar.bz2: this is not a sound conda package ("),
        ({**INDEX, "build_number": 10**30}, "list.txt: a-1-0.tar.bz2: this is not a sound conda package ("),
        ({**INDEX, "build_number": -1}, "list.txt: a-1-0.tar.bz2: this is not a sound conda package ("),
        ({**INDEX, "python_site_packages_path": "../x"}, "list.txt: a-1-0.tar.bz2: `../x` cannot be a folder"),
        ({**INDEX, "subdir": "osx-64"}, "list.txt: `a-1-0.tar.bz2` is for osx-64, and the step runs on linux-64"),
    ],
)
def test_a_package_that_says_nothing_sound_of_itself_is_refused(
    read: Read, tmp_path: Path, said: Any, message: str
) -> None:
    with pytest.raises(LockError) as caught:
        read(made(tmp_path, said))
    assert caught.value.message.startswith(message)


# -- pixi.lock


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A folder with the saved files, and the folder of a package that they name."""
    (tmp_path / "member").mkdir()
    for name in ("pixi.lock", "pixi-v6.lock"):
        shutil.copyfile(SAVED / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("name", ["pixi.lock", "pixi-v6.lock"])
def test_both_versions_of_a_lock_of_pixis_are_read(read: Read, workspace: Path, name: str) -> None:
    found = read(workspace / name)
    conda_side = [package for package in found.conda if isinstance(package, ResolvedPackage)]
    names = [package.record.name for package in conda_side]
    assert len(names) == len(found.conda) == 19
    assert names.index("python") < names.index("itsdangerous")
    assert "markupsafe" not in names
    assert found.channels == (Channel(location=PLACE),)
    python = next(package for package in conda_side if package.record.name == "python")
    assert python.artifact.url == f"{PLACE}/linux-64/{python.artifact.file_name}"
    assert python.record.channel == PLACE
    assert all(package.artifact.sha256 and package.artifact.size for package in conda_side)
    idna, local = found.pypi
    assert (local.name, local.build) == ("member", BuildSource(url=(workspace / "member").as_uri()))
    assert idna.wheels[0].sha256 == "ab7ae7122974553370f0bdb919e1a960b2cd1bc1ef0276416d896db81c14582c"
    assert (idna.requires_python, idna.version) == (">=3.8", "3.20")


def test_environments_and_platforms_are_taken_by_their_names(read: Read, workspace: Path) -> None:
    here = read(workspace / "pixi.lock", groups=("test",))
    there = read(workspace / "pixi.lock", baseline(Platform.OSX_ARM64), groups=("test",))
    for found, subdir in ((here, "linux-64"), (there, "osx-arm64")):
        records = [package.record for package in found.conda if isinstance(package, ResolvedPackage)]
        assert "markupsafe" in {record.name for record in records}
        assert {record.subdir for record in records} == {subdir, "noarch"}
    with pytest.raises(LockError, match=r"^pixi.lock: there is no environment `nope`$"):
        read(workspace / "pixi.lock", groups=("nope",))
    with pytest.raises(LockError, match=r"^pixi.lock: the environment `test` is not locked for osx-64, only for "):
        read(workspace / "pixi.lock", baseline(Platform.OSX_64), groups=("test",))


V6 = (SAVED / "pixi-v6.lock").read_text()
BOMB = "version: 6\na: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghijk", "bcdefghijkl", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        "version: 6\n",
        "version: 6\nenvironments: 3\npackages: []\n",
        V6[:900],
        V6[:4000],
        V6.replace("sha256: 8d43", "sha256: xx43"),
        V6.replace("bzip2-1.0.8-h6cf85bf_0.conda", "bzip2.conda"),
        V6.replace("linux-64/bzip2", "linux-64/..%2F..%2Fbzip2"),
        "version: 6\n" + "[" * 5000,
        BOMB,
    ],
    ids=range(9),
)
def test_a_lock_of_pixis_that_cannot_be_read_is_refused(read: Read, workspace: Path, text: str) -> None:
    (workspace / "pixi.lock").write_text(text)
    with pytest.raises(LockError, match=r"^pixi\.lock: "):
        read(workspace / "pixi.lock")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(data=st.data())
def test_a_damaged_lock_of_pixis_is_read_or_refused(read: Read, workspace: Path, data: st.DataObject) -> None:
    begin = data.draw(st.integers(10, len(V6)))
    end = data.draw(st.integers(begin, min(begin + 80, len(V6))))
    put = data.draw(
        st.one_of(
            st.text(st.characters(codec="utf-8"), max_size=10), st.sampled_from(["- ", "%", "../", "{", "9" * 40])
        )
    )
    path = workspace / "pixi.lock"
    path.write_bytes((V6[:begin] + put + V6[end:]).encode())
    refusal = ""
    try:
        read(path)
    except LockError as error:
        refusal = error.message
    assert not refusal or refusal.startswith("pixi.lock")


# -- uv.lock


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The saved project, in a folder of its own: another project around it would be asked as well."""
    shutil.copytree(SAVED / "project", tmp_path / "project")
    return tmp_path / "project"


def names(found: LockFileContent) -> list[str]:
    return [package.name for package in select(found.pypi, target=LINUX, python="3.11.7")]


def test_uv_prints_its_lock_with_the_project_and_the_members_of_its_workspace(read: Read, project: Path) -> None:
    found = read(project / "uv.lock")
    assert found.requires_python == ">=3.10"
    assert names(found) == ["idna", "member", "shop", "sniffio"]
    built = {package.name: package.build for package in found.pypi if not package.wheels}
    assert built == {
        "member": BuildSource(url=(project / "member").as_uri()),
        "shop": BuildSource(url=project.as_uri()),
    }
    assert "exceptiongroup" in {package.name for package in select(found.pypi, target=LINUX, python="3.10.4")}


@pytest.mark.parametrize(
    ("wishes", "more"),
    [
        ({"groups": ("docs",)}, ["pluggy"]),
        ({"groups": ("dev",)}, ["iniconfig"]),
        ({"extras": ("plain",)}, ["zipp"]),
        ({"groups": ("dev", "docs"), "extras": ("plain",)}, ["iniconfig", "pluggy", "zipp"]),
    ],
)
def test_groups_and_extras_of_a_project_are_taken_when_they_are_named(
    read: Read, project: Path, wishes: dict[str, Any], more: list[str]
) -> None:
    assert names(read(project / "uv.lock", **wishes)) == sorted(["idna", "member", "shop", "sniffio", *more])


def test_a_project_that_is_no_package_is_left_out(read: Read, project: Path) -> None:
    for name in ("pyproject.toml", "uv.lock"):
        path = project / name
        text = (
            path.read_text().partition("[build-system]")[0] + path.read_text().partition('setuptools.build_meta"\n')[2]
        )
        path.write_text(text.replace('editable = "."', 'virtual = "."'))
    assert names(read(project / "uv.lock")) == ["idna", "member", "sniffio"]


@pytest.mark.parametrize(
    ("text", "wishes", "message"),
    [
        ("", {"groups": ("nope",)}, "uv.lock: there is no group `nope`"),
        ("", {"extras": ("nope",)}, "uv.lock: there is no extra `nope`"),
        ("garbage", {}, "uv.lock: uv cannot read this lock"),
        (
            "version = 9\nrequires-python = '>=3.10'",
            {},
            "uv.lock: the version 9 of the format is not known to the uv that is installed here",
        ),
    ],
)
def test_a_lock_of_uvs_that_cannot_be_read_is_refused(
    read: Read, project: Path, text: str, wishes: dict[str, Any], message: str
) -> None:
    if text:
        (project / "uv.lock").write_text(text)
    with pytest.raises(LockError) as caught:
        read(project / "uv.lock", **wishes)
    assert caught.value.message == message
