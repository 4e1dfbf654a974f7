"""The example that everybody runs first: cold, warm, over HTTP and from a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mfenv.hydrate.prefix import MARKER
from mfenv.testing.channel import ChannelServer, LocalChannel

if TYPE_CHECKING:
    from tests.conftest import Flows

HELLO = Path(__file__).parents[2] / "examples" / "hello_conda.py"


@pytest.fixture
def server(channel: LocalChannel) -> Iterator[ChannelServer]:
    with ChannelServer(channel.root) as running:
        yield running


@pytest.fixture
def hello(cold_flows: Flows) -> Flows:
    older, newer = cold_flows.channel.pandas_versions()[-2:]
    return cold_flows.using(HELLO_PANDAS_A=older, HELLO_PANDAS_B=newer)


def _paths(root: Path) -> dict[str, int | bytes]:
    """What is there, and when it was written; of what tells by its time when it was used, what is in it."""

    def state(path: Path) -> int | bytes:
        is_marked = path.name == MARKER or path.suffix == ".cnd"
        return path.read_bytes() if is_marked else path.lstat().st_mtime_ns

    return {str(path.relative_to(root)): state(path) for path in root.rglob("*") if "/code/" not in str(path)}


def test_second_run_starts_no_solver_asks_no_server_and_brings_nothing(
    hello: Flows, server: ChannelServer, watched: Callable[[Flows], Any]
) -> None:
    flows, seen = watched(hello.using(METAFLOW_CONDA_CHANNELS=server.channel_url("conda-forge")))

    cold = flows.run(HELLO).succeeded()

    assert cold.resolved == 2
    assert len(set(cold.created)) == 2
    assert cold.existing == []
    older, newer = flows.channel.pandas_versions()[-2:]
    assert f"start runs with pandas {older}" in cold.stdout
    assert f"end runs with pandas {newer}" in cold.stdout
    assert server.statistics().requests > 0
    assert sum("worker_main" in what for _, what in seen()) == 1, "one helper process serves a whole run"

    (flows.folder.parent / "watched").unlink()
    server.reset_statistics()
    before = _paths(flows.local_path)
    warm = flows.run(HELLO).succeeded()

    assert warm.existing == cold.created
    assert warm.created == []
    assert "Resolving" not in warm.text
    assert server.statistics().requests == 0
    assert [event for event in seen() if "worker_main" in event[1] or event[0] != "subprocess.Popen"] == []
    assert sum("step" in what for _, what in seen()) == 2, "the watch sees the two tasks"
    assert _paths(flows.local_path) == before
    assert flows.leftovers() == []


def test_first_run_says_in_whole_lines_what_it_does(hello: Flows) -> None:
    ran = hello.run(HELLO).succeeded()

    said = [line for line in ran.stderr.splitlines() if "onda environment" in line or "Resolving" in line]
    assert said[0].startswith("Resolving 2 environments ... done in ")
    assert said[0].endswith(" seconds.")
    assert said[1:] == [f"Creating Conda environment {lock} ..." for lock in ran.created]


def test_locks_are_of_the_folder_and_environments_of_the_machine(hello: Flows, tmp_path: Path) -> None:
    created = hello.run(HELLO).succeeded().created
    other = tmp_path / "other"
    other.mkdir()

    elsewhere = hello.run(HELLO, cwd=other).succeeded()

    assert elsewhere.resolved == 2
    assert elsewhere.existing == created


def test_rebuilding_by_force_resolves_again_and_finds_the_same(hello: Flows) -> None:
    created = hello.run(HELLO).succeeded().created

    forced = hello.run(HELLO, before=("--force-rebuild-environments",)).succeeded()

    assert forced.resolved == 2
    assert forced.existing == created
