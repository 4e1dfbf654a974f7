"""Environments are made once, by whoever comes first, whole or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mfenv.domain.digest import LockId
from mfenv.domain.machine import Machine
from mfenv.domain.platform import Platform
from mfenv.errors import HydrationFailed
from mfenv.hydrate import link_scripts
from mfenv.hydrate.activation import Activation
from mfenv.hydrate.folders import LocalFolders
from mfenv.hydrate.plan import HydrationPlan, archive_path, plan
from mfenv.hydrate.prefix import MARKER, Prefix, mark_ready, ready_prefix
from mfenv.hydrate.service import Hydrator
from mfenv.testing.fakes import FakeInstaller, FakePackage, fake_lock
from mfenv.testing.pypi import FakePypiInstaller

A, B = FakePackage("a"), FakePackage("b", {"bin/b": "in {prefix}\n"})
LOCK = fake_lock(A, B)


@pytest.fixture
def folders(tmp_path: Path) -> LocalFolders:
    return LocalFolders(tmp_path / "mfenv")


@pytest.fixture
def installer(folders: LocalFolders) -> FakeInstaller:
    return FakeInstaller(folders, [A, B])


def hydrator_of(folders: LocalFolders, installer: FakeInstaller, **changes: object) -> Hydrator:
    arguments: dict[str, object] = {"machine": Machine.here(), "lock_timeout": 60.0, "link_scripts": True}
    arguments["wheels"] = FakePypiInstaller()
    return Hydrator(folders, installer, **{**arguments, **changes})  # type: ignore[arg-type]


@pytest.fixture
def hydrator(folders: LocalFolders, installer: FakeInstaller) -> Hydrator:
    return hydrator_of(folders, installer)


class Events:
    def __init__(self) -> None:
        self.holders: list[str] = []
        self.files: list[dict[str, object]] = []

    def waiting(self, holder: str) -> None:
        self.holders.append(holder)

    def fetched(self, event: dict[str, object]) -> None:
        self.files.append(event)


def test_an_environment_is_made_under_its_final_name(hydrator: Hydrator, folders: LocalFolders) -> None:
    events = Events()
    prefix = hydrator.hydrate(LOCK, events)
    path = folders.prefix(LOCK.id)
    assert (prefix.path, prefix.lock_id, prefix.python) == (path, LOCK.id, path / "bin" / "python")
    assert (path / "bin" / "b").read_text() == f"in {path}\n"
    assert prefix.environment({"PATH": "/usr/bin"})["PATH"] == f"{path}/bin:/usr/bin"
    assert hydrator.ready(LOCK) == prefix
    assert list((folders.root / "staging").iterdir()) == []
    assert [next(iter(event)) for event in events.files] == ["fetched", "fetched", "linking"]


def test_what_is_there_is_used(hydrator: Hydrator, installer: FakeInstaller) -> None:
    assert hydrator.ready(LOCK) is None
    first = hydrator.hydrate(LOCK)
    assert hydrator.hydrate(LOCK) == first
    assert installer.linked == [LOCK]


def test_one_without_its_interpreter_is_made_again(folders: LocalFolders) -> None:
    python = FakePackage("python", {"bin/python": "an interpreter"})
    lock = fake_lock(python)
    hydrator = hydrator_of(folders, FakeInstaller(folders, [python]))
    interpreter = hydrator.hydrate(lock).python
    interpreter.unlink()
    assert hydrator.ready(lock) is None
    assert hydrator.hydrate(lock).python.read_text() == "an interpreter"


def test_many_threads_make_it_once(hydrator: Hydrator, installer: FakeInstaller) -> None:
    with ThreadPoolExecutor(12) as pool:
        made = set(pool.map(lambda _: hydrator.hydrate(LOCK).path, range(12)))
    assert len(made) == 1
    assert installer.linked == [LOCK]


_PROCESS = """
import sys, time
from pathlib import Path
from mfenv.domain.machine import Machine
from mfenv.hydrate.folders import LocalFolders
from mfenv.hydrate.service import Hydrator
from mfenv.testing.fakes import FakeInstaller, FakePackage, fake_lock
from mfenv.testing.pypi import FakePypiInstaller
root, what = Path(sys.argv[1]), sys.argv[2]
packages = [FakePackage("a"), FakePackage("b", {"bin/b": "in {prefix}\\n"})]
folders = LocalFolders(root / "mfenv")
installer = FakeInstaller(folders, packages)
def before(staging, prefix):
    with (root / "links").open("a") as file:
        file.write("x")
    time.sleep(0.3)
    if what == "hang":
        staging.mkdir(parents=True)
        (staging / "half").write_text("of it")
        prefix.mkdir(parents=True)
        (prefix / "half").write_text("of it")
        print("in the middle", flush=True)
        time.sleep(120)
installer.before_link = before
hydrator = Hydrator(
    folders, installer, wheels=FakePypiInstaller(), machine=Machine.here(), lock_timeout=60, link_scripts=True
)
print(hydrator.hydrate(fake_lock(*packages)).path, flush=True)
"""


def _process(root: Path, what: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", _PROCESS, str(root), what], stdout=subprocess.PIPE, text=True)


def test_many_processes_make_it_once(tmp_path: Path, folders: LocalFolders) -> None:
    processes = [_process(tmp_path, "make") for _ in range(3)]
    printed = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert printed == {str(folders.prefix(LOCK.id))}
    assert (tmp_path / "links").read_text() == "x"


def test_what_a_killed_builder_left_is_cleared_away(tmp_path: Path, hydrator: Hydrator, folders: LocalFolders) -> None:
    with _process(tmp_path, "hang") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in the middle\n"
        process.kill()
    assert hydrator.ready(LOCK) is None
    left = plan(LOCK, folders).remove
    assert [path.exists() for path in left] == [True, True]
    prefix = hydrator.hydrate(LOCK)
    assert not (prefix.path / "half").exists()
    assert list((folders.root / "staging").iterdir()) == []
    assert sorted(path.name for path in (folders.root / "envs").iterdir()) == [LOCK.id]


def test_what_a_killed_remover_left_is_cleared_away(hydrator: Hydrator, folders: LocalFolders) -> None:
    """It had renamed an environment and was not done with removing it."""
    half = folders.prefix(LOCK.id).with_name(f".{LOCK.id}.0123abcd.doomed")
    half.mkdir(parents=True)
    (half / "half").write_text("of it")
    hydrator.hydrate(LOCK)
    assert [path.name for path in (folders.root / "envs").iterdir()] == [LOCK.id]


@pytest.mark.parametrize(
    "error", [HydrationFailed("no"), OSError(28, "No space left on device"), KeyboardInterrupt(), RuntimeError("bug")]
)
def test_a_failure_leaves_nothing_and_the_next_one_can_make_it(
    hydrator: Hydrator, installer: FakeInstaller, folders: LocalFolders, error: BaseException
) -> None:
    def fail(staging: Path, prefix: Path) -> None:
        staging.mkdir(parents=True)
        (staging / "half").write_text("of it")
        raise error

    installer.before_link = fail
    expected = HydrationFailed if isinstance(error, OSError) else type(error)
    with pytest.raises(expected) as caught:
        hydrator.hydrate(LOCK)
    if isinstance(error, OSError):
        assert str(caught.value) == f"environment `{LOCK.id}` cannot be put in place: No space left on device"
    assert hydrator.ready(LOCK) is None
    assert not folders.prefix(LOCK.id).exists()
    assert list((folders.root / "staging").iterdir()) == []
    installer.before_link = None
    assert hydrator.hydrate(LOCK) == hydrator.ready(LOCK)


def test_what_cannot_be_cleared_away_is_an_error_of_ours(
    hydrator: Hydrator, folders: LocalFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.prefix(LOCK.id).mkdir(parents=True)

    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(HydrationFailed, match="cannot be put in place: Permission denied"):
        hydrator.hydrate(LOCK)


@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_whatever_stands_in_its_place_is_replaced(hydrator: Hydrator, folders: LocalFolders, kind: str) -> None:
    path = folders.prefix(LOCK.id)
    path.parent.mkdir(parents=True)
    if kind == "file":
        path.write_text("x")
    elif kind == "folder":
        (path / "deep").mkdir(parents=True)
    else:
        path.symlink_to("nowhere")
    assert hydrator.hydrate(LOCK).path == path
    assert not path.is_symlink()


def test_a_machine_that_cannot_run_it_is_told_before_anything_is_done(
    folders: LocalFolders, installer: FakeInstaller
) -> None:
    elsewhere = Platform.OSX_64 if Platform.host().is_linux else Platform.LINUX_64
    hydrator = hydrator_of(folders, installer, machine=Machine(platform=elsewhere))
    with pytest.raises(HydrationFailed) as caught:
        hydrator.hydrate(LOCK)
    assert caught.value.message == (
        f"environment `{LOCK.id}` cannot run on this machine: "
        f"it is for {LOCK.platform.value} and this is {elsewhere.value}"
    )
    assert not folders.root.exists()


def test_post_link_scripts_run_in_the_final_place_in_install_order(folders: LocalFolders) -> None:
    text = '#!/bin/sh\necho "$PKG_NAME $PKG_VERSION $PKG_BUILDNUM $PREFIX $PWD" >> "$CONDA_PREFIX/ran"\n'
    packages = [FakePackage(name, {f"bin/.{name}-post-link.sh": text}) for name in ("z", "y")]
    made = hydrator_of(folders, FakeInstaller(folders, packages)).hydrate(fake_lock(*packages))
    lines = (made.path / "ran").read_text().splitlines()
    assert lines == [f"{name} 1.0 0 {made.path} {made.path}" for name in ("z", "y")]


def test_a_post_link_script_that_fails_fails_the_environment(folders: LocalFolders) -> None:
    package = FakePackage("p", {"bin/.p-post-link.sh": "echo said; echo wrong >&2; exit 7\n"})
    installer, lock = FakeInstaller(folders, [package]), fake_lock(package)
    with pytest.raises(HydrationFailed) as caught:
        hydrator_of(folders, installer).hydrate(lock)
    assert caught.value.message == "the post-link script of `p` 1.0 failed with exit code 7"
    assert caught.value.output == "said\nwrong\n"
    assert not folders.prefix(lock.id).exists()
    assert hydrator_of(folders, installer, link_scripts=False).hydrate(lock).path.is_dir()


def test_a_post_link_script_that_hangs_fails_the_environment(
    folders: LocalFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_scripts, "_TIME_LIMIT", 0.3)
    package = FakePackage("p", {"bin/.p-post-link.sh": "exec sleep 30\n"})
    with pytest.raises(HydrationFailed, match=r"^the post-link script of `p` 1\.0 did not end$"):
        hydrator_of(folders, FakeInstaller(folders, [package])).hydrate(fake_lock(package))


def test_a_plan_says_what_is_missing_and_changes_nothing(folders: LocalFolders, installer: FakeInstaller) -> None:
    assert plan(LOCK, folders) == HydrationPlan(fetch=(A.artifact, B.artifact), link=LOCK.packages)
    assert plan(LOCK, folders).download_size == A.artifact.size + B.artifact.size
    assert not folders.root.exists()
    installer.fetch([A.artifact])
    archive_path(B.artifact, folders.archives).parent.mkdir()
    archive_path(B.artifact, folders.archives).write_bytes(b"half")
    half = plan(LOCK, folders)
    assert half == HydrationPlan(fetch=(B.artifact,), link=LOCK.packages)
    assert not half.is_empty
    assert B.artifact.file_name in str(half)


def test_the_plan_for_a_ready_environment_is_empty(hydrator: Hydrator, folders: LocalFolders) -> None:
    hydrator.hydrate(LOCK)
    assert plan(LOCK, folders) == HydrationPlan()
    assert plan(LOCK, folders).is_empty


@pytest.fixture
def ready(tmp_path: Path) -> Prefix:
    prefix = Prefix(
        path=tmp_path / "env",
        lock_id=LockId("ab" * 20),
        activation=Activation(variables={"A": "1"}, around={"PATH": ("/x:", "")}),
    )
    prefix.path.mkdir()
    mark_ready(prefix)
    return prefix


def test_a_marked_prefix_is_ready_with_its_activation(ready: Prefix) -> None:
    assert ready_prefix(ready.path, ready.lock_id) == ready


def test_a_prefix_for_another_lock_is_not_ready(ready: Prefix) -> None:
    assert ready_prefix(ready.path, LockId("cd" * 20)) is None


def test_a_prefix_that_was_moved_is_not_ready(ready: Prefix) -> None:
    moved = ready.path.rename(ready.path.with_name("moved"))
    assert ready_prefix(moved, ready.lock_id) is None


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "mfenv/prefix/2"},
        {"activation": None},
        {"activation": {"variables": [], "around": {}}},
        {"activation": {"variables": {}, "around": {"PATH": ["x"]}}},
        {"path": None},
    ],
)
def test_a_prefix_with_another_marker_is_not_ready(ready: Prefix, change: dict[str, object]) -> None:
    marker = ready.path / MARKER
    marker.write_text(json.dumps({**json.loads(marker.read_text()), **change}))
    assert ready_prefix(ready.path, ready.lock_id) is None


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"5", b"\xff"])
def test_a_prefix_without_a_whole_marker_is_not_ready(ready: Prefix, content: bytes | None) -> None:
    marker = ready.path / MARKER
    if content is None:
        marker.unlink()
    else:
        marker.write_bytes(content)
    assert ready_prefix(ready.path, ready.lock_id) is None


def test_one_environment_leaves_anothers_leftovers_alone(hydrator: Hydrator, folders: LocalFolders) -> None:
    other = folders.staging(LockId("ef" * 20))
    other.mkdir(parents=True)
    hydrator.hydrate(LOCK)
    assert other.is_dir()
