"""Locks that die with their holder."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mfenv.errors import EnvironmentsError, HydrationFailed
from mfenv.io.filelock import held, held_async, unused, used

_HOLDER = """
import sys, time
from pathlib import Path
from mfenv.io.filelock import held
with held(Path(sys.argv[1]), timeout=30):
    print("held", flush=True)
    time.sleep(120)
"""

_USER = """
import sys, time
from pathlib import Path
from mfenv.io.filelock import hold_while_it_lives
sleep = time.sleep
def told(seconds):
    print("waiting", flush=True)
    sleep(seconds)
time.sleep = told
hold_while_it_lives(Path(sys.argv[1]))
print("used", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "locks" / "one.lock"


@pytest.fixture
def holder(lock: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Start processes that hold the lock."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", _HOLDER, str(lock)], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_lock_can_be_taken_again_and_its_file_stays(lock: Path) -> None:
    for _ in range(2):
        with held(lock, timeout=0):
            assert lock.read_text() == f"process {os.getpid()}"
    assert lock.exists()


def test_a_waiter_gives_up_after_its_time_and_names_the_holder(
    lock: Path, holder: Callable[[], subprocess.Popen[bytes]]
) -> None:
    process = holder()
    began = time.monotonic()
    with pytest.raises(HydrationFailed) as caught, held(lock, timeout=0.3):
        pass
    assert 0.3 <= time.monotonic() - began < 10
    assert caught.value.message == f"waited 0 seconds for process {process.pid}, which holds `{lock}`"
    assert caught.value.hint is not None
    assert "METAFLOW_CONDA_LOCK_TIMEOUT" in caught.value.hint


def test_a_wait_that_nobody_wants_any_more_ends_at_once(
    lock: Path, holder: Callable[[], subprocess.Popen[bytes]]
) -> None:
    process, given_up = holder(), threading.Event()
    began = time.monotonic()
    with pytest.raises(HydrationFailed) as caught:  # noqa: SIM117
        with held(lock, timeout=60, waiting=lambda _: given_up.set(), given_up=given_up.is_set):
            pytest.fail("it is held by another")
    assert caught.value.message == f"the wait for process {process.pid}, which holds `{lock}`, was given up"
    assert time.monotonic() - began < 30


def test_a_lock_dies_with_its_holder(lock: Path, holder: Callable[[], subprocess.Popen[bytes]]) -> None:
    process = holder()
    waited_for: list[str] = []
    threading.Timer(0.3, process.kill).start()
    with held(lock, timeout=60, waiting=waited_for.append):
        assert process.wait(timeout=10) == -9
    assert waited_for == [f"process {process.pid}"]


def test_a_lock_is_free_when_its_block_ends_in_an_error(lock: Path) -> None:
    with pytest.raises(ZeroDivisionError), held(lock, timeout=0):
        raise ZeroDivisionError
    with held(lock, timeout=0):
        pass


def test_threads_exclude_each_other(lock: Path) -> None:
    inside, most = 0, 0

    def work(_: int) -> None:
        nonlocal inside, most
        with held(lock, timeout=60):
            inside += 1
            most = max(most, inside)
            time.sleep(0.005)
            inside -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(16)))
    assert (inside, most) == (0, 1)


def test_different_locks_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with held(tmp_path / "a", timeout=0), held(tmp_path / "b", timeout=0):
        pass


def test_tasks_wait_without_keeping_a_thread(lock: Path) -> None:
    """More tasks wait than the pool has threads, and the one that holds needs a thread to finish."""

    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        done: list[int] = []

        async def work(number: int) -> None:
            async with held_async(lock, timeout=60):
                await asyncio.to_thread(time.sleep, 0.001)
                done.append(number)

        await asyncio.wait_for(asyncio.gather(*(work(number) for number in range(12))), timeout=60)
        return done

    assert sorted(asyncio.run(main())) == list(range(12))


def test_a_task_gives_up_after_its_time(lock: Path) -> None:
    async def main() -> None:
        async with held_async(lock, timeout=0.1):
            pass

    with held(lock, timeout=0), pytest.raises(HydrationFailed, match=rf"for process {os.getpid()}, which holds"):
        asyncio.run(main())


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    (tmp_path / "folder.lock").mkdir()
    with pytest.raises(HydrationFailed) as caught, held(tmp_path / "folder.lock", timeout=0):
        pass
    assert caught.value.message == f"the lock `{tmp_path / 'folder.lock'}` cannot be opened: Is a directory"


def test_a_file_system_without_locks_is_said(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(EnvironmentsError) as caught, held(lock, timeout=0):
        pass
    assert caught.value.message == f"the file system of `{lock}` has no locks: No locks available"
    assert caught.value.hint == "Set METAFLOW_CONDA_LOCAL_PATH to a folder on a local disk"


def test_something_can_be_used_by_many_and_then_it_is_not_unused(lock: Path) -> None:
    lock.parent.mkdir()
    lock.write_text("what is written there")
    with used(lock), used(lock), unused(lock) as alone:
        assert not alone
    with unused(lock) as alone:
        assert alone
    assert lock.read_text() == "what is written there"


def test_who_uses_something_waits_for_who_removes_it(lock: Path) -> None:
    order: list[str] = []

    def use() -> None:
        with used(lock):
            order.append("used")

    with unused(lock) as alone:
        thread = threading.Thread(target=use)
        thread.start()
        order.append("removed")
        lock.unlink()
    thread.join(30)
    assert (alone, order) == (True, ["removed", "used"])
    # And with the lock that is there now.
    assert lock.exists()


def test_a_process_that_uses_something_as_long_as_it_lives_waits_too(lock: Path) -> None:
    with unused(lock) as alone:
        assert alone
        process = subprocess.Popen(
            [sys.executable, "-c", _USER, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
    assert [line for line in iter(process.stdout.readline, "used\n") if line != "waiting\n"] == []
    with unused(lock) as alone:
        assert not alone
    process.communicate(timeout=30)
    with unused(lock) as alone:
        assert alone


def test_where_there_are_no_locks_things_are_used_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with used(tmp_path / "a.lock"):
        pass
    (tmp_path / "file").touch()
    with used(tmp_path / "file" / "below" / "a.lock"):
        pass


def test_a_lock_whose_file_is_removed_by_its_holder_still_lets_in_one_at_a_time(lock: Path) -> None:
    inside, most = 0, 0
    counting = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            with held(lock, timeout=60):
                with counting:
                    inside += 1
                    most = max(most, inside)
                with counting:
                    inside -= 1
                lock.unlink()

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work) for _ in range(4)]:
            done.result()
    assert most == 1


def test_a_lock_whose_folder_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "locks" / "a.lock"
    with pytest.raises(HydrationFailed) as failed, held(path, timeout=1):
        pass
    assert str(failed.value) == f"the lock `{path}` cannot be opened: Not a directory"


def test_a_full_disk_keeps_nobody_from_holding_a_lock(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, content: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", refuse)
    with held(lock, timeout=1), unused(lock) as is_free:
        assert not is_free
