"""This machine's caches: what was not used goes, what is in use or needed stays, and what is not ours is left alone."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from mfenv.domain.digest import LockId
from mfenv.hydrate.clearing import LocalClearing, runs_from
from mfenv.hydrate.folders import LocalFolders
from mfenv.hydrate.prefix import MARKER, Prefix, mark_ready, mark_used
from mfenv.io.filelock import held, used

NOW = datetime.now(timezone.utc)
CUTOFF = NOW - timedelta(days=30)
OLD = (NOW - timedelta(days=60)).timestamp()


@pytest.fixture
def folders(tmp_path: Path) -> LocalFolders:
    return LocalFolders(tmp_path / "mfenv")


def lock(number: int) -> LockId:
    return LockId(f"{number:040x}")


def age(path: Path, when: float = OLD) -> None:
    for one in sorted(path.rglob("*"), reverse=True):
        os.utime(one, (when, when), follow_symlinks=False)
    os.utime(path, (when, when))


def write(path: Path, size: int, *, old: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    if old:
        age(path)
        os.utime(path.parent, (OLD, OLD))
    return path


def environment(folders: LocalFolders, number: int, size: int = 100) -> Prefix:
    prefix = Prefix(path=folders.prefix(lock(number)), lock_id=lock(number))
    write(prefix.path / "lib" / "file", size)
    mark_ready(prefix)
    age(prefix.path)
    return prefix


def clearing(folders: LocalFolders, **changes: object) -> LocalClearing:
    parts = {"needed": {}, "needed_files": frozenset(), "in_use": lambda _: False}
    return LocalClearing(folders=folders, **{**parts, **changes})  # type: ignore[arg-type]


def shown(folders: LocalFolders, **changes: object) -> dict[str, tuple[str, int]]:
    planned = clearing(folders, **changes).plan(CUTOFF)
    return {str(one.path.relative_to(folders.root)): (one.kind, one.size) for one in planned}


def test_an_empty_cache_has_nothing_to_clear(folders: LocalFolders) -> None:
    assert shown(folders) == {}


def test_environments_go_when_nobody_used_them_for_long(folders: LocalFolders) -> None:
    environment(folders, 1)
    mark_used(environment(folders, 2))
    environment(folders, 3)
    found = shown(folders, needed={lock(3): "default"})
    assert list(found) == [f"envs/{lock(1)}"]
    kind, size = found[f"envs/{lock(1)}"]
    assert kind == "environment"
    assert 100 < size < 1000
    planned = clearing(folders, needed={lock(3): "default"}).plan(CUTOFF)
    assert clearing(folders).clear(planned, CUTOFF) == (1, size)
    assert sorted(path.name for path in (folders.root / "envs").iterdir()) == [lock(2), lock(3)]


def test_what_runs_stays(folders: LocalFolders) -> None:
    prefix = environment(folders, 1)
    assert shown(folders, in_use=lambda path: path == prefix.path) == {}
    planned = clearing(folders).plan(CUTOFF)
    assert clearing(folders, in_use=lambda _: True).clear(planned, CUTOFF) == (0, 0)
    assert prefix.path.exists()


@pytest.mark.skipif(not Path("/proc/self/exe").exists(), reason="told by /proc, which only Linux has")
def test_a_process_in_a_folder_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert not runs_from(tmp_path / "a")
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        cwd=tmp_path / "a",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert runs_from(tmp_path / "a")
        assert not runs_from(tmp_path / "b")
        process.kill()


def test_what_is_used_or_made_between_looking_and_removing_stays(folders: LocalFolders) -> None:
    used, made = environment(folders, 1), environment(folders, 2)
    planned = clearing(folders).plan(CUTOFF)
    assert len(planned) == 2
    mark_used(used)
    with held(folders.prefix_lock(lock(2)), timeout=0):
        assert clearing(folders).clear(planned, CUTOFF) == (0, 0)
    assert used.path.exists()
    assert made.path.exists()


def test_what_others_put_there_is_left_alone(folders: LocalFolders) -> None:
    """An environment that somebody made with conda, or with a name of their own."""
    write(folders.root / "envs" / "mine" / "bin" / "python", 10)
    write(folders.root / "envs" / lock(7) / "bin" / "python", 10)
    named = folders.root / "envs" / "copied"
    write(named / MARKER, 10)
    assert shown(folders) == {}


def test_why_environments_stay_is_told(folders: LocalFolders) -> None:
    for number in (1, 2, 3, 4, 5):
        environment(folders, number)
    mark_used(environment(folders, 2))
    write(folders.root / "envs" / "mine" / "bin" / "python", 10)
    told = clearing(
        folders,
        needed={lock(3): "default", lock(4): "name"},
        in_use=lambda path: path == folders.prefix(lock(5)),
    ).kept(CUTOFF)
    assert list(told) == ["recent", "default", "name", "running", "not ours"]


def test_left_overs_of_killed_processes_go_when_they_are_old(folders: LocalFolders) -> None:
    write(folders.root / "staging" / f"{lock(1)}.abcd" / "x", 10)
    write(folders.root / "staging" / f"{lock(2)}.abcd" / "x", 10, old=False)
    doomed = folders.root / "envs" / f".{lock(3)}.abcd.doomed"
    write(doomed / "x", 30)
    assert shown(folders) == {
        f"staging/{lock(1)}.abcd": ("left over", 10),
        f"envs/{doomed.name}": ("left over", 30),
    }
    planned = clearing(folders).plan(CUTOFF)
    with held(folders.prefix_lock(lock(1)), timeout=0):
        assert clearing(folders).clear(planned, CUTOFF) == (1, 30)


def test_package_files_go_unless_a_lock_of_the_project_names_them(folders: LocalFolders) -> None:
    write(folders.archives / ("a" * 64) / "a.conda", 10)
    write(folders.archives / ("b" * 64) / "b.conda", 20)
    write(folders.archives / ("c" * 64) / "c.conda", 30, old=False)
    write(folders.archives / ("a" * 64) / ".lock", 0, old=False)
    os.utime(folders.archives / ("a" * 64), (OLD, OLD))
    assert shown(folders, needed_files={"b" * 64}) == {f"archives/{'a' * 64}": ("package file", 10)}
    planned = clearing(folders).plan(CUTOFF)
    with held(folders.archives / ("a" * 64) / ".lock", timeout=0):
        assert clearing(folders).clear(planned, CUTOFF) == (1, 20)
    assert (folders.archives / ("a" * 64) / "a.conda").exists()


def test_extracted_packages_that_environments_share_free_nothing_and_stay(folders: LocalFolders) -> None:
    shared = write(folders.packages / "a-1-0" / "lib" / "file", 10)
    write(folders.packages / "b-1-0" / "lib" / "file", 20)
    (folders.root / "envs").mkdir()
    (folders.root / "envs" / "link").hardlink_to(shared)
    for name in ("a-1-0", "b-1-0"):
        age(folders.packages / name)
    assert shown(folders) == {"pkgs/b-1-0": ("extracted package", 20)}


def test_wheels_that_were_built_stay_while_a_lock_names_them(folders: LocalFolders) -> None:
    kept = write(folders.wheels / "key1" / "a-1-py3-none-any.whl", 10)
    write(folders.wheels / "key2" / "b-1-py3-none-any.whl", 20)
    write(folders.wheels / "key2.lock", 0)
    digest = hashlib.sha256(kept.read_bytes()).hexdigest()
    assert shown(folders, needed_files={digest}) == {"wheels/key2": ("wheel", 20)}


def test_what_a_living_run_uses_stays_however_long_it_runs(folders: LocalFolders) -> None:
    environment(folders, 1)
    write(folders.code / "c" / "x", 30)
    planned = clearing(folders).plan(CUTOFF)
    assert [one.kind for one in planned] == ["environment", "code"]
    with used(folders.use_lock(lock(1))), used(folders.use_lock(lock(1))), used(folders.code / "c.lock"):
        assert clearing(folders).clear(planned, CUTOFF) == (0, 0)
    assert clearing(folders).clear(planned, CUTOFF)[0] == 2
    # The files of its locks go with it.
    assert [path for path in folders.root.rglob("*") if path.is_file()] == [folders.files_lock]


def test_files_stay_while_somebody_makes_an_environment_of_them(folders: LocalFolders) -> None:
    write(folders.archives / ("a" * 64) / "a.conda", 10)
    write(folders.packages / "a-1-0" / "lib" / "file", 10)
    age(folders.packages / "a-1-0")
    planned = clearing(folders).plan(CUTOFF)
    with used(folders.files_lock):
        assert clearing(folders).clear(planned, CUTOFF) == (0, 0)
    assert clearing(folders).clear(planned, CUTOFF) == (2, 20)


def test_a_file_that_is_wanted_while_it_goes_is_brought_anew(folders: LocalFolders) -> None:
    """Who waits for the lock in the file's folder finds that both have gone."""
    file = write(folders.archives / ("a" * 64) / "a.conda", 10)
    planned = clearing(folders).plan(CUTOFF)

    def bring(told: threading.Event) -> bool:
        with held(file.parent / ".lock", timeout=30, waiting=lambda _: told.set()):
            file.write_bytes(b"new")
            return True

    told = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        with held(file.parent / ".lock", timeout=0):
            waiting = pool.submit(bring, told)
            assert told.wait(30)
            shutil.rmtree(file.parent)
        assert waiting.result(timeout=30)
    assert file.read_bytes() == b"new"
    assert clearing(folders).clear(planned, CUTOFF) == (0, 0)


def test_files_of_channel_indexes_go_together(folders: LocalFolders) -> None:
    write(folders.repodata / "aa.json", 10)
    write(folders.repodata / "aa.info.json", 10, old=False)
    write(folders.repodata / "bb.json", 10)
    write(folders.repodata / "bb.info.json", 5)
    write(folders.repodata / "shards-v1" / "cc.msgpack", 7)
    write(folders.repodata / "shards-v1" / "dd.msgpack", 7, old=False)
    assert shown(folders) == {
        "repodata/bb.info.json": ("channel index", 5),
        "repodata/bb.json": ("channel index", 10),
        "repodata/shards-v1/cc.msgpack": ("channel index", 7),
    }


def test_metadata_and_code_go_with_age(folders: LocalFolders) -> None:
    write(folders.metadata / "a.cnd", 10)
    write(folders.metadata / "b.cnd", 20, old=False)
    write(folders.code / "c" / "x", 30)
    assert shown(folders) == {"metadata/a.cnd": ("metadata", 10), "code/c": ("code", 30)}
