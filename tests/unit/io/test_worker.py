"""Calls to a helper process: answers, errors, events, deaths."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mfenv import errors
from mfenv.errors import EnvironmentsError, ResolutionFailed, ToolNotFound, WorkerDied
from mfenv.io import worker as worker_module
from mfenv.io.worker import WorkerClient, describe, rebuild

_NAMES = (
    "echo fail unsolvable crash panic noisy read_input unspeakable die events where hang files".split()  # noqa: SIM905
)
OPERATIONS = {name: f"worker_operations:{name}" for name in _NAMES}
_HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def operations_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the operations as a module, under a name that nothing else has."""
    folder = tmp_path_factory.mktemp("operations")
    (folder / "worker_operations.py").write_text((_HERE / "operations.py").read_text())
    return folder


@pytest.fixture
def make(operations_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., WorkerClient]]:
    monkeypatch.syspath_prepend(str(operations_folder))
    made: list[WorkerClient] = []

    def make(operations: dict[str, str] = OPERATIONS) -> WorkerClient:
        client = WorkerClient(operations)
        made.append(client)
        return client

    original = worker_module._command

    def command(operations: dict[str, str], needs: tuple[str, ...]) -> list[str]:
        *start, argument = original(operations, needs)
        return [*start, argument.replace("[[", f'[["{operations_folder}", ', 1)]

    monkeypatch.setattr(worker_module, "_command", command)
    yield make
    for client in made:
        client.close()


@pytest.fixture
def worker(make: Callable[..., WorkerClient]) -> WorkerClient:
    return make()


def test_answers_come_back_whole(worker: WorkerClient) -> None:
    payload = {"text": "é\n\0", "list": [1, None, True, {"deep": ["x" * 300_000]}]}
    assert worker.call("echo", payload) == payload


def test_the_process_is_started_by_the_first_call_and_serves_all(worker: WorkerClient) -> None:
    assert not worker.is_running
    first = worker.call("where", {})["pid"]
    assert worker.is_running
    assert worker.call("where", {})["pid"] == first != os.getpid()


def test_a_process_that_was_started_early_serves_the_first_call(worker: WorkerClient) -> None:
    worker.start()
    assert worker.is_running
    assert worker.call("echo", {"a": 1}) == {"a": 1}


def test_fifty_calls_at_once_each_get_their_own_answer(worker: WorkerClient) -> None:
    def call(number: int) -> object:
        # Those that are asked first answer last.
        return worker.call("echo", {"number": number, "seconds": (50 - number) / 500})

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(call, range(50)))
    assert [answer["number"] for answer in answers] == list(range(50))  # type: ignore[index]


@pytest.mark.parametrize(
    "kind", ["InvalidSpec", "LockError", "StoreError", "HydrationFailed", "ToolNotFound", "EnvironmentsError"]
)
def test_an_error_is_of_the_same_type_with_the_same_fields_at_this_end(worker: WorkerClient, kind: str) -> None:
    fields = {"message": "a `b` is c", "hint": "do d", "output": "e\nf"}
    with pytest.raises(EnvironmentsError) as caught:
        worker.call("fail", {"kind": kind, **fields})
    error = caught.value
    assert type(error) is getattr(errors, kind)
    assert {"message": error.message, "hint": error.hint, "output": error.output} == fields


def test_the_packages_that_a_resolver_blames_come_along(worker: WorkerClient) -> None:
    with pytest.raises(ResolutionFailed) as caught:
        worker.call("unsolvable", {"packages": ["numpy", "channel:x"]})
    assert caught.value.packages == ("numpy", "channel:x")


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ("crash", "ZeroDivisionError: by nothing"),
        ("panic", "BaseException: like a panic in Rust"),
        ("unspeakable", "TypeError: Object of type object is not JSON serializable"),
    ],
)
def test_any_other_failure_is_an_error_and_the_process_lives_on(
    worker: WorkerClient, operation: str, message: str
) -> None:
    with pytest.raises(EnvironmentsError) as caught:
        worker.call(operation, {})
    assert (type(caught.value), caught.value.message) == (EnvironmentsError, message)
    assert worker.is_running


def test_what_the_system_refuses_is_told_with_its_place() -> None:
    error = rebuild(describe(FileNotFoundError(2, "No such file or directory", "/proc/x")))
    assert (type(error), error.message) == (errors.HydrationFailed, "`/proc/x`: No such file or directory")


def test_an_operation_that_is_not_offered_is_an_error(worker: WorkerClient) -> None:
    with pytest.raises(EnvironmentsError, match="KeyError"):
        worker.call("absent", {})


def test_what_an_operation_prints_does_not_get_between_the_frames(worker: WorkerClient) -> None:
    assert worker.call("noisy", {}) == "still an answer"
    assert worker.call("echo", {"a": 1}) == {"a": 1}


def test_an_operation_cannot_eat_the_calls(worker: WorkerClient) -> None:
    assert worker.call("read_input", {}) == ""
    assert worker.call("echo", {"a": 1}) == {"a": 1}


def test_events_arrive_in_order_before_the_answer(worker: WorkerClient) -> None:
    seen: list[object] = []
    assert worker.call("events", {"count": 20}, seen.append) == "done"
    assert seen == [{"number": number} for number in range(20)]


def test_a_listener_that_fails_does_not_lose_the_answer(worker: WorkerClient) -> None:
    def fail(event: object) -> None:
        raise ValueError(event)

    assert worker.call("events", {"count": 2}, fail) == "done"
    assert worker.call("events", {"count": 2}) == "done"


def test_a_process_that_dies_is_replaced_and_the_call_repeated_once(worker: WorkerClient, tmp_path: Path) -> None:
    visits = tmp_path / "visits"
    assert worker.call("die", {"visits": str(visits), "until": 2}) == "alive"
    assert len(set(visits.read_text().split())) == 2


def test_a_call_that_kills_twice_is_an_error_with_the_last_words(worker: WorkerClient, tmp_path: Path) -> None:
    visits = tmp_path / "visits"
    with pytest.raises(WorkerDied) as caught:
        worker.call("die", {"visits": str(visits), "until": 99})
    assert caught.value.message == "the helper process ended in the middle of its work (exit code -9)"
    assert caught.value.output == "the last words\n"
    assert len(visits.read_text().split()) == 2
    assert worker.call("echo", {"a": 1}) == {"a": 1}


def test_the_death_of_the_process_fails_all_calls_under_way(worker: WorkerClient) -> None:
    pid = worker.call("where", {})["pid"]

    def call(number: int) -> object:
        return worker.call("echo", {"number": number, "seconds": 0.5})

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(call, number) for number in range(8)]
        time.sleep(0.2)
        os.kill(pid, signal.SIGKILL)
        # Each is repeated, in the one process that replaces the dead one.
        assert [answer.result(timeout=30) for answer in answers] == [
            {"number": number, "seconds": 0.5} for number in range(8)
        ]
    assert worker.call("where", {})["pid"] != pid


def test_close_ends_the_process_and_fails_what_is_under_way_for_good(worker: WorkerClient) -> None:
    pid = worker.call("where", {})["pid"]
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(worker.call, "echo", {"seconds": 60})
        time.sleep(0.2)
        worker.close()
        with pytest.raises(WorkerDied):
            under_way.result(timeout=10)
    assert not worker.is_running
    assert not _is_there(pid)


def test_as_many_files_may_be_open_as_the_machine_allows(
    make: Callable[..., WorkerClient],
) -> None:
    """Installing opens hundreds at once, and some systems begin with fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        assert make().call("files", {}) == min(10_000, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_closing_nothing_or_twice_does_no_harm(worker: WorkerClient) -> None:
    worker.close()
    worker.close()
    assert not worker.is_running


def test_what_is_closed_stays_so(worker: WorkerClient) -> None:
    """A thread that is still at work when a run ends must not start a process that nobody will end."""
    worker.call("echo", {})
    worker.close()
    with pytest.raises(WorkerDied, match="nobody waits for its work"):
        worker.call("echo", {})
    assert not worker.is_running


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z" if Path("/proc").is_dir() else True


_PARENT = """
import sys, threading
from mfenv.io import worker
original = worker._command
worker._command = lambda *args: [*original(*args)[:-1], original(*args)[-1].replace("[[", '[["%s", ' % sys.argv[1], 1)]
client = worker.WorkerClient({"hang": "worker_operations:hang"})
client.call("hang", {"pid_file": sys.argv[2]})
"""


def test_the_process_dies_with_its_parent_even_in_the_middle_of_its_work(
    operations_folder: Path, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", _PARENT, str(operations_folder), str(pid_file)])
    try:
        _wait_for(lambda: pid_file.exists() and pid_file.read_text() != "", seconds=60)
        pid = int(pid_file.read_text())
        assert _is_there(pid)
    finally:
        parent.kill()
        parent.wait()
    _wait_for(lambda: not _is_there(pid), seconds=2)


def _wait_for(condition: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_needed_module_that_is_missing_is_said_before_anything_starts() -> None:
    client = WorkerClient({}, needs=("there_is_no_such_module",))
    with pytest.raises(ToolNotFound) as caught:
        client.start()
    assert caught.value.message == "the Python package `there_is_no_such_module` is not installed here"
    assert not client.is_running


def test_the_users_folder_and_python_variables_do_not_disturb_it(
    worker: WorkerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "queue", "asyncio", "struct", "sitecustomize", "mfenv"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('a module of the user was imported')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:/nonsense")
    monkeypatch.setenv("PYTHONHOME", "/nonsense")
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "json.py"))
    found = worker.call("where", {})
    assert {str(tmp_path), ""} & set(found["path"]) == set()
    assert [module for module in found["modules"] if str(tmp_path) in module] == []


def test_an_interrupt_from_the_keyboard_is_not_the_processs(worker: WorkerClient) -> None:
    pid = worker.call("where", {})["pid"]
    assert os.getsid(pid) == pid != os.getsid(0)


def test_no_threads_are_left_behind(worker: WorkerClient) -> None:
    before = threading.active_count()
    worker.call("echo", {})
    worker.close()
    _wait_for(lambda: threading.active_count() <= before, seconds=5)
