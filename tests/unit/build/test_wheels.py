"""Wheels that are built here: each once, never for two states of a source, and nothing left behind."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from mfenv.build.wheels import WheelBuilder, digest_of_folder
from mfenv.domain.locked import LockedPypiPackage
from mfenv.domain.platform import Platform
from mfenv.domain.resolved import BuildSource, ResolvedPypiPackage
from mfenv.errors import HydrationFailed, ResolutionFailed
from mfenv.io.files import sha256_of
from mfenv.io.process import Completed, SystemProcessRunner
from mfenv.resolve.backends.uv import find_uv
from mfenv.testing.wheels import MadeWheel

PYTHON = ".".join(map(str, sys.version_info[:3]))
HOST = Platform.host()
OTHER = next(platform for platform in Platform if platform is not HOST)
MADE = MadeWheel(name="made")


# -- what a folder is


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "source"
    (made / "pkg").mkdir(parents=True)
    (made / "pkg" / "a.py").write_text("a")
    (made / "pkg" / "b.py").write_text("b")
    return made


def change_content(folder: Path) -> None:
    (folder / "pkg" / "a.py").write_text("A")


def add_file(folder: Path) -> None:
    (folder / "c.py").touch()


def rename(folder: Path) -> None:
    (folder / "pkg" / "a.py").rename(folder / "pkg" / "c.py")


def move(folder: Path) -> None:
    (folder / "pkg" / "a.py").rename(folder / "a.py")


def make_runnable(folder: Path) -> None:
    (folder / "pkg" / "a.py").chmod(0o755)


def exchange(folder: Path) -> None:
    (folder / "pkg" / "a.py").write_text("b")
    (folder / "pkg" / "b.py").write_text("a")


def link(folder: Path) -> None:
    (folder / "pkg" / "a.py").unlink()
    (folder / "pkg" / "a.py").symlink_to("b.py")


def dangle(folder: Path) -> None:
    (folder / "gone").symlink_to("nowhere")


@pytest.mark.parametrize("change", [change_content, add_file, rename, move, make_runnable, exchange, link, dangle])
def test_each_change_of_a_folder_changes_its_digest(change: Callable[[Path], None], folder: Path) -> None:
    before = digest_of_folder(folder)
    change(folder)
    assert digest_of_folder(folder) != before


def test_neither_place_nor_age_nor_order_change_a_digest(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    (copy / "pkg").mkdir(parents=True)
    for name in ("b.py", "a.py"):
        (copy / "pkg" / name).write_text(name[0])
    os.utime(copy / "pkg" / "a.py", (0, 0))
    assert digest_of_folder(copy) == digest_of_folder(folder)


@pytest.mark.parametrize(
    "leftover",
    ["build/lib/a.py", "dist/a.whl", "a.egg-info/PKG-INFO", "pkg/__pycache__/a.pyc", ".git/HEAD", ".venv/a", "pkg/a.pyc"],
)  # fmt: skip
def test_what_builds_leave_behind_does_not_count(leftover: str, folder: Path) -> None:
    before = digest_of_folder(folder)
    (folder / leftover).parent.mkdir(parents=True, exist_ok=True)
    (folder / leftover).touch()
    assert digest_of_folder(folder) == before


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HydrationFailed, match="is not a folder that a package can be built from"):
        digest_of_folder(tmp_path / "gone")


# -- builds


@dataclass
class Counting:
    """Runs programs, and remembers which."""

    commands: list[Sequence[str]] = field(default_factory=list)
    environments: list[Mapping[str, str]] = field(default_factory=list)

    def run(self, command: Sequence[str], *, environment: Mapping[str, str], folder: Path, timeout: float) -> Completed:
        self.commands.append(command)
        self.environments.append(environment)
        return SystemProcessRunner().run(command, environment=environment, folder=folder, timeout=timeout)

    @property
    def builds(self) -> int:
        return sum(command[1] == "build" for command in self.commands)


@pytest.fixture
def runner() -> Counting:
    return Counting()


@pytest.fixture
def builder(tmp_path: Path, runner: Counting, monkeypatch: pytest.MonkeyPatch) -> WheelBuilder:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))

    def download(url: str, file_name: str, sha256: str | None) -> Path:
        path = tmp_path / "served" / file_name
        if sha256 != sha256_of(path):
            raise HydrationFailed(f"the package file `{file_name}` is refused")
        return path

    return WheelBuilder(
        runner=runner,
        uv=find_uv,
        folder=tmp_path / "wheels",
        cache=tmp_path / "cache",
        python=lambda _: Path(sys.executable),
        download=download,
        secret_urls={},
        timeout=60,
    )


def build(builder: WheelBuilder, source: BuildSource, *, platform: Platform = HOST, name: str = "made") -> LockedPypiPackage:  # fmt: skip
    package = ResolvedPypiPackage(name=name, version="", build=source)
    return builder.build(package, python=PYTHON, platform=platform, host=HOST)


def of(folder: Path, **others: str) -> BuildSource:
    return BuildSource(url=folder.as_uri(), **others)  # type: ignore[arg-type]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return MADE.write_source(tmp_path / "a project")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_wheel_is_built_once_and_the_folder_stays_as_it_was(
    builder: WheelBuilder, runner: Counting, source: Path, tmp_path: Path
) -> None:
    before = snapshot(source)
    first = build(builder, of(source))
    assert build(builder, of(source)) == first
    assert runner.builds == 1
    assert snapshot(source) == before
    assert list((tmp_path / "tmp").iterdir()) == []
    wheel = Path(first.artifact.url.removeprefix("file://"))
    assert (first.name, first.version, first.artifact.file_name) == ("made", "1.0", "made-1.0-py3-none-any.whl")
    assert first.artifact.sha256 == hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert first.built_from == source.as_uri()
    assert sorted(path.name for path in wheel.parent.iterdir()) == [wheel.name]


def test_two_states_of_a_folder_never_share_a_wheel(builder: WheelBuilder, runner: Counting, source: Path) -> None:
    first = build(builder, of(source))
    (source / "made.py").write_text("version = 'changed'\n")
    second = build(builder, of(source))
    assert first.artifact.sha256 != second.artifact.sha256
    assert runner.builds == 2


def test_a_folder_that_changed_since_it_was_asked_for_is_refused(
    builder: WheelBuilder, runner: Counting, source: Path
) -> None:
    """Its wheel would be kept for the state before."""
    asked = replace(builder, local_content={"made": digest_of_folder(source)})
    build(asked, of(source))
    build(replace(builder, local_content={"made;1": "other", "made;2": digest_of_folder(source)}), of(source))
    (source / "made.py").write_text("version = 'changed'\n")
    with pytest.raises(ResolutionFailed, match=r"`made`: `.*` was changed while it was read"):
        build(asked, of(source))
    assert runner.builds == 1


def test_a_folder_that_changes_while_it_is_copied_is_refused(
    builder: WheelBuilder, runner: Counting, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copytree(*arguments: Any, **options: Any) -> None:
        (source / "made.py").write_text("version = 'changed'\n")
        original(*arguments, **options)

    original = shutil.copytree
    monkeypatch.setattr("shutil.copytree", copytree)
    with pytest.raises(ResolutionFailed, match="was changed while it was read"):
        build(builder, of(source))
    assert runner.builds == 0


def test_each_python_has_a_wheel_of_its_own(builder: WheelBuilder, runner: Counting, source: Path) -> None:
    package = ResolvedPypiPackage(name="made", version="", build=of(source))
    for python in ("3.10.1", "3.11.2", "3.11.7"):
        builder.build(package, python=python, platform=HOST, host=HOST)
    assert runner.builds == 2


def test_a_pure_wheel_does_for_another_platform(builder: WheelBuilder, source: Path) -> None:
    assert build(builder, of(source), platform=OTHER) == build(builder, of(source))


def test_a_wheel_for_this_platform_does_not_do_for_another(builder: WheelBuilder, tmp_path: Path) -> None:
    native = replace(MADE, tags="cp311-cp311-linux_x86_64").write_source(tmp_path / "native")
    with pytest.raises(ResolutionFailed) as caught:
        build(builder, of(native), platform=OTHER)
    start = "Cannot resolve environment across architectures as it depends on local files or non-wheel packages"
    assert caught.value.message.startswith(start)
    assert caught.value.packages == ("made",)


def test_a_failing_build_names_the_package_and_keeps_what_it_said(builder: WheelBuilder, tmp_path: Path) -> None:
    loud = "import sys\nfor n in range(40): print('line', n, file=sys.stderr)\nraise SystemExit(3)\n"
    broken = MADE.write_source(tmp_path / "broken", backend=loud)
    with pytest.raises(ResolutionFailed) as caught:
        build(builder, of(broken))
    assert caught.value.message == f"`made` could not be built from `{broken.as_uri()}`"
    shown = caught.value.explain()
    assert "line 39" in shown
    assert "line 3\n" not in shown
    assert list((tmp_path / "wheels").glob("*/*")) == []
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_build_that_hangs_is_ended_with_its_children(builder: WheelBuilder, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    hanging = (
        "import subprocess, pathlib\n"
        "child = subprocess.Popen(['sleep', '300'])\n"
        f"pathlib.Path({str(pid)!r}).write_text(str(child.pid))\n"
        "child.wait()\n"
    )
    source = MADE.write_source(tmp_path / "hanging", backend=hanging)
    began = time.monotonic()
    with pytest.raises(ResolutionFailed, match="`made` could not be built"):
        build(replace(builder, time_limit=5), of(source))
    assert time.monotonic() - began < 30
    assert pid.exists(), "the build did not get as far as it should"
    assert _is_gone(int(pid.read_text()))


def _is_gone(pid: int) -> bool:
    for _ in range(50):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False


def test_a_source_archive_is_built_if_it_is_the_one_that_is_named(builder: WheelBuilder, tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    archive = MADE.write_sdist(tmp_path / "served")
    url = f"https://index.invalid/{archive.name}"
    digest = sha256_of(archive)
    built = build(builder, BuildSource(url=url, sha256=digest))
    assert (built.version, built.built_from) == ("1.0", f"{url}#sha256={digest}")
    with pytest.raises(HydrationFailed, match="is refused"):
        build(builder, BuildSource(url=url, sha256="0" * 64))


def test_a_build_is_told_where_what_it_needs_comes_from(builder: WheelBuilder, runner: Counting, source: Path) -> None:
    told = {"UV_DEFAULT_INDEX": "https://me:canary@h/simple"}
    build(replace(builder, environment=told, secret_urls={"https://h": "https://me:canary@h"}), of(source))
    assert runner.environments[0]["UV_DEFAULT_INDEX"] == "https://me:canary@h/simple"
    assert not [command for command in runner.commands if "canary" in " ".join(command)]


def test_what_a_failing_build_says_holds_no_credentials(builder: WheelBuilder, tmp_path: Path) -> None:
    tells = (
        "import sys\nprint('https://me:canary-pass@h/simple or canary-pass', file=sys.stderr)\nraise SystemExit(1)\n"
    )
    source = MADE.write_source(tmp_path / "tells", backend=tells)
    with pytest.raises(ResolutionFailed) as caught:
        build(replace(builder, secret_urls={"https://h": "https://me:canary-pass@h"}), of(source))
    assert "canary" not in caught.value.output
    assert "https://h/simple or ***" in caught.value.output


# -- repositories


def git(folder: Path, *arguments: str) -> str:
    who = {f"GIT_{kind}_{what}": "tester@h" for kind in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    command = ["git", "-c", "protocol.file.allow=always", *arguments]
    done = subprocess.run(command, cwd=folder, env={**os.environ, **who}, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    MADE.write_source(folder)
    replace(MADE, name="inner").write_source(folder / "inner")
    git(folder, "init", "-q", "-b", "main")
    commit(folder)
    return folder


def commit(folder: Path) -> str:
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "change")
    return git(folder, "rev-parse", "HEAD")


def at(folder: Path, commit: str, **others: str) -> BuildSource:
    return BuildSource(url=f"git+{folder.as_uri()}", commit=commit, **others)  # type: ignore[arg-type]


def test_two_commits_never_share_a_wheel(builder: WheelBuilder, repository: Path) -> None:
    first = git(repository, "rev-parse", "HEAD")
    (repository / "made.py").write_text("version = 'changed'\n")
    second = commit(repository)
    built = [build(builder, at(repository, wanted)) for wanted in (first, second, first)]
    assert built[0] == built[2]
    assert built[0].artifact.sha256 != built[1].artifact.sha256
    assert built[0].built_from == f"git+{repository.as_uri()}@{first}"


def test_a_tag_off_all_branches_and_a_subdirectory_are_found(builder: WheelBuilder, repository: Path) -> None:
    git(repository, "checkout", "-q", "--detach")
    (repository / "inner" / "inner.py").write_text("version = 'tagged'\n")
    tagged = commit(repository)
    git(repository, "tag", "v1")
    git(repository, "checkout", "-q", "main")
    built = build(builder, at(repository, tagged, subdirectory="inner"), name="inner")
    assert built.artifact.file_name == "inner-1.0-py3-none-any.whl"
    assert built.built_from == f"git+{repository.as_uri()}@{tagged}#subdirectory=inner"


def test_a_commit_that_has_no_name_is_found(builder: WheelBuilder, repository: Path) -> None:
    git(repository, "checkout", "-q", "--detach")
    (repository / "made.py").write_text("version = 'nameless'\n")
    nameless = commit(repository)
    git(repository, "update-ref", "refs/pull/1/head", nameless)
    git(repository, "checkout", "-q", "main")
    assert build(builder, at(repository, nameless)).version == "1.0"


def test_submodules_come_along_also_by_relative_address(
    builder: WheelBuilder, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = tmp_path / "part"
    part.mkdir()
    (part / "made.py").write_text("version = 'part'\n")
    git(part, "init", "-q", "-b", "main")
    commit(part)
    git(repository, "submodule", "--quiet", "add", "../part", "part")
    backend = repository / "backend.py"
    backend.write_text(backend.read_text().replace('open("made.py"', 'open("part/made.py"'))
    with_part = commit(repository)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "protocol.file.allow")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "always")
    assert build(builder, at(repository, with_part)).version == "1.0"


def test_a_commit_that_is_not_there_is_one_error(builder: WheelBuilder, repository: Path) -> None:
    with pytest.raises(ResolutionFailed) as caught:
        build(builder, at(repository, "0" * 40))
    url = f"git+{repository.as_uri()}"
    assert caught.value.message == f"`made`: the repository `{url}` could not be checked out at {'0' * 40}"
