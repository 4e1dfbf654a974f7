"""Runs that are killed, interrupted or started twice leave nothing in the way of the next one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mfenv.testing.channel import ChannelServer, Fault

if TYPE_CHECKING:
    from tests.conftest import Flows


def _mine(marker: str) -> list[tuple[int, str]]:
    """Processes with `marker` in their environment: all that a run started, whatever became of their parents."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if marker.encode() in (folder / "environ").read_bytes() and " Z " not in (folder / "stat").read_text():
                found.append((int(folder.name), (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()))
        except OSError:
            continue
    return found


def _gone(marker: str, within: float) -> list[tuple[int, str]]:
    deadline = time.monotonic() + within
    while (left := _mine(marker)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


TWO = """
class Two(FlowSpec):
    @conda(packages={"six": "", "click": ""})
    @step
    def start(self):
        import six, click
        self.next(self.end)

    @conda(packages={"tabulate": "", "rich": ""})
    @step
    def end(self):
        import tabulate, rich
        tell(rich=rich.__file__)
"""


@pytest.fixture
def two(cold_flows: Flows) -> Iterator[Flows]:
    """A flow with two environments and nothing cached; whatever a test leaves running is ended."""
    cold_flows.write(TWO)
    yield cold_flows.using(RUN_MARKER=str(cold_flows.folder))
    for pid, _ in _mine(f"RUN_MARKER={cold_flows.folder}"):
        os.kill(pid, signal.SIGKILL)


def _start(flows: Flows) -> subprocess.Popen[str]:
    return flows.start(*flows.command(flows.folder / "flow.py", "run"))


def _wait(process: subprocess.Popen[str]) -> str:
    stdout, stderr = process.communicate(timeout=100)
    return stdout + stderr


def _next_run_simply_works(flows: Flows) -> None:
    ran = flows.run(flows.folder / "flow.py").succeeded()
    assert len({*ran.created, *ran.existing}) == 2
    prefix = ran.fact("end")["prefix"]
    assert ran.fact("end")["rich"].startswith(prefix)
    # What a killed process had in the system's folder for temporary files is the system's.
    assert [path for path in flows.leftovers() if not Path(path).is_relative_to(flows.tmp)] == []
    assert sorted(path.name for path in (flows.local_path / "envs").iterdir()) == sorted({*ran.created, *ran.existing})


@pytest.fixture(scope="module")
def cold_seconds() -> list[float]:
    """How long a cold run takes on this machine today; measured by the first test that needs it."""
    return []


@pytest.mark.parametrize("part", range(1, 13))
def test_run_after_a_killed_one_simply_works(two: Flows, tmp_path: Path, cold_seconds: list[float], part: int) -> None:
    """Twelve moments from the first import to the first task: resolving, fetching, extracting, linking, marking."""
    if not cold_seconds:
        began = time.monotonic()
        two.using(local_path=tmp_path / "measured").run(two.folder / "flow.py").succeeded()
        shutil.rmtree(two.folder / ".metaflow")
        cold_seconds.append(time.monotonic() - began)
    process = _start(two)
    time.sleep(cold_seconds[0] * (0.1 + 0.7 * part / 12))
    process.kill()
    output = _wait(process)

    left = _gone(f"RUN_MARKER={two.folder}", within=2.0)

    assert [line for _, line in left if "worker_main" in line] == [], output
    _next_run_simply_works(two)


@pytest.fixture
def slow_server(two: Flows) -> Iterator[tuple[Flows, ChannelServer]]:
    """A server that takes its time with some packages, so that a test can act in the middle of a run."""
    with ChannelServer(two.channel.root, faults=[Fault(path="*/rich-*", delay=1.5)]) as server:
        yield two.using(METAFLOW_CONDA_CHANNELS=server.channel_url("conda-forge")), server


def _until_packages_are_asked_for(server: ChannelServer) -> None:
    deadline = time.monotonic() + 20
    while not any(path.endswith(".conda") for path in server.statistics().paths):
        assert time.monotonic() < deadline, "no package was asked for"
        time.sleep(0.02)


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_ends_quietly_and_leaves_nothing(
    slow_server: tuple[Flows, ChannelServer], by: signal.Signals
) -> None:
    flows, server = slow_server
    process = _start(flows)
    _until_packages_are_asked_for(server)

    # As a terminal does it: to all of the foreground, which the helper process is not part of.
    os.killpg(process.pid, by)
    output = _wait(process)

    assert process.returncode != 0
    # Metaflow itself prints one for an interrupt; ours is not in it.
    assert "/mfenv/" not in output, output
    assert _gone(f"RUN_MARKER={flows.folder}", within=2.0) == []
    server.clear_faults()
    _next_run_simply_works(flows)


def test_interrupted_solve_ends_at_once(two: Flows) -> None:
    with ChannelServer(two.channel.root, faults=[Fault(path="*repodata*", delay=30)]) as server:
        flows = two.using(METAFLOW_CONDA_CHANNELS=server.channel_url("conda-forge"))
        process = _start(flows)
        deadline = time.monotonic() + 20
        while not any("worker_main" in line for _, line in _mine(f"RUN_MARKER={flows.folder}")):
            assert time.monotonic() < deadline, "no solver was started"
            time.sleep(0.02)
        time.sleep(1)

        os.killpg(process.pid, signal.SIGINT)
        began = time.monotonic()
        output = _wait(process)

    assert process.returncode != 0
    assert "Traceback" not in output
    assert time.monotonic() - began < 10
    assert _gone(f"RUN_MARKER={two.folder}", within=2.0) == []


def test_helper_process_that_is_killed_is_replaced(slow_server: tuple[Flows, ChannelServer]) -> None:
    flows, server = slow_server
    process = _start(flows)
    _until_packages_are_asked_for(server)

    (worker,) = [pid for pid, line in _mine(f"RUN_MARKER={flows.folder}") if "worker_main" in line]
    os.kill(worker, signal.SIGKILL)
    output = _wait(process)

    assert process.returncode == 0, output
    assert "Traceback" not in output
    assert flows.leftovers() == []


def test_two_launches_at_once_build_each_environment_once(two: Flows) -> None:
    processes = [_start(two) for _ in range(2)]
    outputs = [_wait(process) for process in processes]

    assert [process.returncode for process in processes] == [0, 0], outputs
    assert not any("Traceback" in output for output in outputs), outputs
    assert all("FACTS" in output for output in outputs)
    assert two.leftovers() == []
    environments = list((two.local_path / "envs").iterdir())
    assert len(environments) == 2
    assert two.run(two.folder / "flow.py").succeeded().created == []


def test_second_launch_waits_for_the_one_that_builds_and_says_so(slow_server: tuple[Flows, ChannelServer]) -> None:
    flows, server = slow_server
    first = _start(flows)
    _until_packages_are_asked_for(server)

    second = flows.run(flows.folder / "flow.py").succeeded()

    assert _wait(first)
    assert first.returncode == 0
    assert f"Waiting for process {first.pid}, which creates the same environment ..." in second.stderr
    packages = {path: n for path, n in server.statistics().paths.items() if path.endswith((".conda", ".tar.bz2"))}
    assert set(packages.values()) == {1}, "each file is fetched once"


def test_damaged_package_file_in_the_cache_is_fetched_again(two: Flows) -> None:
    two.run(two.folder / "flow.py").succeeded()
    damaged = min(two.local_path.glob("archives/*/rich-*.conda"))
    damaged.write_bytes(damaged.read_bytes()[:-100])
    for marker in two.local_path.glob("envs/*/.mfenv-ready"):
        marker.unlink()

    ran = two.run(two.folder / "flow.py").succeeded()

    assert len(ran.created) == 2
    assert f"The cached file {damaged.name} was damaged; it was fetched again." in ran.stderr
