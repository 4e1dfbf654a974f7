"""Lock files read for a target, with fakes for uv and the helper process, and the choice of wheels from them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.domain.artifact import Artifact
from mfenv.domain.base import LockFile, LockFileContent, LockFileKind, LockFilePypiPackage
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.resolved import BuildSource, CondaRecord, ResolvedPackage, ResolvedPypiPackage
from mfenv.errors import LockError
from mfenv.formats.lock_file import content_digest
from mfenv.io.process import Completed
from mfenv.resolve.backends.rattler import RattlerRecords
from mfenv.resolve.lock_files import LockFileReader, select

LINUX, MAC = baseline(Platform.LINUX_64), baseline(Platform.OSX_ARM64)
SHA = "a" * 64
PLACE = "https://channel.example.org/team"


@dataclass
class FakeUv:
    """Answers as uv would, and keeps what it was asked."""

    answer: Completed
    asked: list[tuple[list[str], Path]] = field(default_factory=list)

    def run(
        self, command: Sequence[str], *, environment: Mapping[str, str | None], folder: Path, timeout: float
    ) -> Completed:
        self.asked.append((list(command), folder))
        return self.answer


@dataclass
class FakeWorker:
    """Answers as the helper process would, and keeps what it was asked."""

    answers: dict[str, Any]
    asked: list[tuple[str, Any]] = field(default_factory=list)

    def call(self, operation: str, payload: Any, on_event: Any = None) -> Any:
        self.asked.append((operation, payload))
        return self.answers[operation]


def reader(*, uv: FakeUv | None = None, worker: FakeWorker | None = None) -> LockFileReader:
    worker = worker or FakeWorker({})
    return LockFileReader(
        runner=uv or FakeUv(Completed(code=0, output="", errors="")),
        uv=lambda: "uv",
        cache=Path("/cache"),
        worker=worker,
        records=RattlerRecords(worker, cache="/cache", archives="/archives"),
    )


def lock_file(folder: Path, kind: LockFileKind, text: str, **wishes: Any) -> LockFile:
    path = folder / (kind.value if kind is not LockFileKind.EXPLICIT else "list.txt")
    path.write_text(text)
    return LockFile(kind=kind, digest=content_digest(text), path=path, **wishes)


def record(name: str = "a", subdir: str = "linux-64") -> dict[str, Any]:
    return {"name": name, "version": "1", "build": "0", "build_number": 0, "subdir": subdir, "channel": PLACE}


# -- reading


def test_files_of_conda_packages_become_whole_packages_in_install_order(tmp_path: Path) -> None:
    worker = FakeWorker({"records": [{"index": 1, "record": record("b")}, {"index": 0, "record": record("a")}]})
    text = f"@EXPLICIT\n{PLACE}/linux-64/a-1-0.conda#sha256:{SHA}\n{PLACE}/linux-64/b-1-0.conda\n"
    found = reader(worker=worker).content(lock_file(tmp_path, LockFileKind.EXPLICIT, text), LINUX)
    assert found.conda == tuple(
        ResolvedPackage(
            record=CondaRecord(name=name, version="1", build="0", build_number=0, subdir="linux-64", channel=PLACE),
            artifact=Artifact(file_name=f"{name}-1-0.conda", url=f"{PLACE}/linux-64/{name}-1-0.conda", sha256=sha256),
        )
        for name, sha256 in (("b", None), ("a", SHA))
    )
    ((operation, payload),) = worker.asked
    assert operation == "records"
    assert payload["packages"][0] == {
        "file_name": "a-1-0.conda",
        "url": f"{PLACE}/linux-64/a-1-0.conda",
        "sha256": SHA,
        "place": [PLACE, "linux-64"],
    }


def test_a_package_that_says_itself_that_it_is_for_another_platform_is_refused(tmp_path: Path) -> None:
    worker = FakeWorker({"records": [{"index": 0, "record": record(subdir="osx-64")}]})
    with pytest.raises(LockError, match=r"^list.txt: `a-1-0.conda` is for osx-64, and the step runs on linux-64$"):
        reader(worker=worker).content(lock_file(tmp_path, LockFileKind.EXPLICIT, "@EXPLICIT\na-1-0.conda"), LINUX)


def test_conda_lock_takes_extras_for_categories(tmp_path: Path) -> None:
    row = f"{{name: a, version: 1, manager: pip, platform: linux-64, url: a.zip, hash: {{sha256: {SHA}}}, category: plot}}"
    text = "version: 1\nmetadata: {}\npackage:\n- " + row
    wishes: dict[str, Any] = {"extras": ("plot",)}
    found = reader().content(lock_file(tmp_path, LockFileKind.CONDA_LOCK, text, **wishes), LINUX)
    assert [package.name for package in found.pypi] == ["a"]


PRINTED = 'lock-version = "1.0"\n[[packages]]\nname = "member"\ndirectory = { path = "member", editable = true }\n'


def test_uv_prints_its_own_lock(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "member").mkdir()
    uv = FakeUv(Completed(code=0, output=PRINTED, errors=""))
    found = reader(uv=uv).content(lock_file(tmp_path, LockFileKind.UV, "version = 1", groups=("dev",)), LINUX)
    assert found.pypi == (
        LockFilePypiPackage(name="member", version="", build=BuildSource(url=(tmp_path / "member").as_uri())),
    )
    ((command, folder),) = uv.asked
    assert (command[:2], command[-1], folder) == (["uv", "export"], "--group=dev", tmp_path)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Completed(code=2, output="", errors="error: x"), "uv.lock: uv cannot read this lock"),
        (
            Completed(code=-9, output="", errors="", timed_out=True),
            "uv.lock: uv did not print this lock within 120 seconds",
        ),
        (Completed(code=0, output="packages = [", errors=""), "uv.lock: this is not TOML ("),
    ],
)
def test_what_uv_cannot_print_is_refused(tmp_path: Path, answer: Completed, message: str) -> None:
    (tmp_path / "pyproject.toml").touch()
    with pytest.raises(LockError) as caught:
        reader(uv=FakeUv(answer)).content(lock_file(tmp_path, LockFileKind.UV, "version = 1"), LINUX)
    assert caught.value.message.startswith(message)


def test_a_lock_of_uvs_needs_its_project(tmp_path: Path) -> None:
    with pytest.raises(LockError, match=r"^uv.lock: there is no `pyproject.toml` beside it"):
        reader().content(lock_file(tmp_path, LockFileKind.UV, "version = 1"), LINUX)


def test_a_file_that_was_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    asked = lock_file(tmp_path, LockFileKind.PYLOCK, PRINTED)
    asked.path.write_text(PRINTED + "\n[tool]\n")
    with pytest.raises(LockError, match=r"^pylock.toml: the file was changed while it was read$"):
        reader().content(asked, LINUX)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"\xff\xfe")])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, damage: Any) -> None:
    asked = lock_file(tmp_path, LockFileKind.PYLOCK, PRINTED)
    damage(asked.path)
    with pytest.raises(LockError, match=r"^pylock.toml: the file cannot be read: "):
        reader().content(asked, LINUX)


@pytest.mark.parametrize("written", ["\ufeff" + PRINTED, PRINTED.replace("\n", "\r\n")])
def test_marks_of_the_byte_order_and_line_ends_change_nothing(tmp_path: Path, written: str) -> None:
    (tmp_path / "member").mkdir()
    asked = lock_file(tmp_path, LockFileKind.PYLOCK, PRINTED)
    asked.path.write_bytes(written.encode())
    assert [package.name for package in reader().content(asked, LINUX).pypi] == ["member"]


def test_an_archive_here_is_measured_and_a_folder_is_not(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.zip").write_bytes(b"content")
    text = "@EXPLICIT\n# pip a @ ./a.zip\n# pip folder @ ./folder\n"
    found = reader().content(lock_file(tmp_path, LockFileKind.EXPLICIT, text), LINUX)
    assert [package.build for package in found.pypi] == [
        BuildSource(url=(tmp_path / "a.zip").as_uri(), sha256=hashlib.sha256(b"content").hexdigest()),
        BuildSource(url=(tmp_path / "folder").as_uri()),
    ]


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    asked = lock_file(tmp_path, LockFileKind.PYLOCK, PRINTED)
    with pytest.raises(LockError) as caught:
        reader().content(asked, LINUX)
    assert caught.value.message == f"pylock.toml: the source of `member` is not there: `{tmp_path / 'member'}`"


# -- choosing


def package(name: str = "a", *tags: str, **facts: Any) -> LockFilePypiPackage:
    wheels = tuple(wheel(f"{name}-1.0-{tag}.whl") for tag in tags)
    return LockFilePypiPackage(**{"name": name, "version": "1.0", "wheels": wheels, **facts})


def wheel(file_name: str) -> Artifact:
    return Artifact(file_name=file_name, url=f"https://files.example.org/{file_name}", sha256=SHA)


SOURCE = BuildSource(url="https://files.example.org/a-1.0.zip", sha256=SHA)
LINUX_WHEEL, MAC_WHEEL, PURE = "cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-macosx_11_0_arm64", "py3-none-any"


@pytest.mark.parametrize(
    ("target", "python", "tag"),
    [
        (LINUX, "3.11.7", LINUX_WHEEL),
        (MAC, "3.11.7", MAC_WHEEL),
        (LINUX, "3.12.1", PURE),
    ],
)
def test_the_best_wheel_for_target_and_python_is_chosen(target: Any, python: str, tag: str) -> None:
    found = select([package("a", PURE, MAC_WHEEL, LINUX_WHEEL, build=SOURCE)], target=target, python=python)
    assert found == (ResolvedPypiPackage(name="a", version="1.0", wheel=wheel(f"a-1.0-{tag}.whl")),)


def test_a_source_is_taken_when_no_wheel_fits() -> None:
    found = select([package("a", MAC_WHEEL, build=SOURCE)], target=LINUX, python="3.11.7")
    assert found == (ResolvedPypiPackage(name="a", version="1.0", build=SOURCE),)


def test_a_package_without_a_wheel_that_fits_and_a_source_is_an_error_that_names_the_tags() -> None:
    with pytest.raises(LockError) as caught:
        select([package("a", MAC_WHEEL, LINUX_WHEEL)], target=LINUX, python="3.12.1")
    assert caught.value.message == (
        "`a` 1.0 has no wheel for Python 3.12.1 on linux-64, and no source: it has wheels for "
        "`cp311-cp311-macosx_11_0_arm64`, `cp311-cp311-manylinux_2_17_x86_64`"
    )


def test_of_many_tags_some_are_named() -> None:
    tags = [f"cp3{minor}-cp3{minor}-win_amd64" for minor in range(7, 17)]
    with pytest.raises(LockError, match=r"`cp314-cp314-win_amd64` and 2 more$"):
        select([package("a", *tags)], target=LINUX, python="3.12.1")


def test_markers_are_those_of_target_and_python() -> None:
    packages = [
        package("old", PURE, marker="python_full_version < '3.11.4'"),
        package("mac", PURE, marker="sys_platform == 'darwin'"),
        package("new", PURE, marker="python_version >= '3.11' and platform_machine == 'x86_64'"),
    ]

    def names(target: Any, python: str) -> list[str]:
        return [found.name for found in select(packages, target=target, python=python)]

    assert names(LINUX, "3.11.3") == ["old", "new"]
    assert names(LINUX, "3.11.4") == ["new"]
    assert names(MAC, "3.11.4") == ["mac"]


def test_versions_for_different_pythons_can_stand_side_by_side() -> None:
    packages = [
        package("a", PURE, marker="python_version < '3.12'"),
        replace(package("a", PURE, marker="python_version >= '3.12'"), version="2.0"),
    ]
    assert [found.version for found in select(packages, target=LINUX, python="3.11.1")] == ["1.0"]
    assert [found.version for found in select(packages, target=LINUX, python="3.12.1")] == ["2.0"]


def test_two_packages_of_one_name_are_refused_and_the_same_one_twice_is_not() -> None:
    assert len(select([package("a", PURE), package("a", PURE)], target=LINUX, python="3.11.7")) == 1
    with pytest.raises(LockError) as caught:
        select([package("a", PURE), package("a", LINUX_WHEEL)], target=LINUX, python="3.11.7")
    assert caught.value.message == (
        "the lock file has `a` twice for Python 3.11.7 on linux-64: `a-1.0-py3-none-any.whl` and "
        f"`a-1.0-{LINUX_WHEEL}.whl`"
    )


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"requires_python": ">=3.12"}, "the lock file is for Python `>=3.12`, and the environment has 3.11.7"),
        (
            {"environments": ["python_version >= '3.12'", "python_version < '3.9'"]},
            (
                "the lock file has nothing for Python 3.11.7 on linux-64, only for `python_version >= '3.12'`, "
                "`python_version < '3.9'`"
            ),
        ),
    ],
)
def test_a_file_for_another_python_is_refused(wishes: dict[str, Any], message: str) -> None:
    with pytest.raises(LockError) as caught:
        select([package("a", PURE)], target=LINUX, python="3.11.7", **wishes)
    assert caught.value.message == message


def test_a_package_for_another_python_is_refused() -> None:
    with pytest.raises(LockError, match=r"^`a` 1.0 needs Python `>=3.12`, and the environment has 3.11.7$"):
        select([package("a", PURE, requires_python=">=3.12")], target=LINUX, python="3.11.7")


_PACKAGES = st.lists(
    st.builds(
        package,
        st.sampled_from("abc"),
        st.sampled_from([PURE, LINUX_WHEEL, MAC_WHEEL]),
        build=st.sampled_from([None, SOURCE]),
        marker=st.sampled_from(["", "sys_platform == 'linux'", "python_version < '3.12'", "x ="]),
    ),
    max_size=5,
)


@given(_PACKAGES, st.sampled_from([LINUX, MAC]), st.sampled_from(["3.11.7", "3.12.1"]))
def test_no_package_that_applies_is_ever_dropped(packages: list[LockFilePypiPackage], target: Any, python: str) -> None:
    try:
        found = select(packages, target=target, python=python)
    except LockError:
        return
    holds = {"": True, "sys_platform == 'linux'": target is LINUX, "python_version < '3.12'": python == "3.11.7"}
    assert {each.name for each in found} == {each.name for each in packages if holds[each.marker]}
    assert all((each.wheel is None) is not (each.build is None) for each in found)


def test_the_empty_content_has_nothing() -> None:
    assert select(LockFileContent().pypi, target=LINUX, python="3.11.7") == ()
