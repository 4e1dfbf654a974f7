"""`metaflow environment pack` and `unpack`: an environment moves to a machine with no network."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Flows, Ran

PACKAGES = ("--conda-pkg", "six=1.16", "--pypi-pkg", "attrs")
NAMED = """
    class Named(FlowSpec):
        @named_env(name="team/packed:v1")
        @step
        def start(self):
            import attrs, six
            tell(six=six.__version__)
            self.next(self.end)

        @conda(disabled=True)
        @step
        def end(self):
            pass
"""


DECORATED = """
    class Decorated(FlowSpec):
        @conda(libraries={"six": "1.16"})
        @step
        def start(self):
            import six
            tell(six=six.__version__)
            self.next(self.end)

        @conda(disabled=True)
        @step
        def end(self):
            pass
"""


def call(flows: Flows, *arguments: str) -> Ran:
    return flows.call(flows.python, "-m", "mfenv.cli", "environment", *arguments)


@pytest.fixture
def packed(flows: Flows) -> Path:
    """A pack of an environment of both sides, called ``team/packed:v1``."""
    call(flows, "resolve", *PACKAGES, "--alias", "team/packed:v1").succeeded()
    call(flows, "pack", "team/packed:v1", "-o", "env.pack").succeeded()
    return flows.folder / "env.pack"


@pytest.fixture
def elsewhere(flows: Flows, tmp_path: Path) -> Flows:
    """Another machine: nothing is there, no channel and no index can be reached."""
    folder, home = tmp_path / "elsewhere" / "work", tmp_path / "elsewhere" / "home"
    for new in (folder, home):
        new.mkdir(parents=True)
    nowhere = "http://127.0.0.1:9"
    return replace(flows, folder=folder, home=home, local_path=tmp_path / "elsewhere" / "local").using(
        METAFLOW_CONDA_CHANNELS=str(tmp_path / "no-channel"),
        HTTP_PROXY=nowhere,
        HTTPS_PROXY=nowhere,
        UV_DEFAULT_INDEX=nowhere,
        NO_PROXY=None,
    )


def offline(flows: Flows, *command: str | Path) -> Ran:
    """Run a program in a network of its own that has nothing in it, where the system lets us."""
    cut = ["unshare", "--net", "--map-root-user"]
    if subprocess.run([*cut, "true"], check=False, capture_output=True).returncode == 0:
        command = (*cut, *command)
    return flows.call(*command)


def test_an_environment_is_unpacked_created_and_run_without_a_network(
    packed: Path, elsewhere: Flows, flows: Flows
) -> None:
    moved = elsewhere.folder / "env.pack"
    shutil.move(packed, moved)
    cli = (elsewhere.python, "-m", "mfenv.cli", "environment")
    said = json.loads(offline(elsewhere, *cli, "unpack", str(moved), "--json").succeeded().stdout)
    shown = json.loads(call(flows, "show", "team/packed:v1", "--json").succeeded().stdout)["environments"][0]
    assert [row["full_id"] for row in said["environments"]] == [shown["full_id"]]
    assert (said["aliases"], said["taken"]) == (["team/packed:v1"], [])
    ran = offline(
        elsewhere, *cli, "run", "team/packed:v1", "--", "python", "-c", "import six, attrs; print(six.__version__)"
    )
    assert ran.succeeded().stdout.strip() == "1.16.0"
    flow = elsewhere.write(NAMED)
    ran = offline(elsewhere, *elsewhere.command(flow, "run")).succeeded()
    assert ran.fact("start")["six"] == "1.16.0"


def test_a_pack_is_a_tar_file_and_the_same_bytes_each_time(packed: Path, flows: Flows) -> None:
    with tarfile.open(packed) as tar:
        names = tar.getnames()
        manifest = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert names == ["manifest.json", *(member["name"] for member in manifest["members"])]
    assert manifest["schema"] == "mfenv/pack/1"
    call(flows, "pack", "team/packed:v1", "-o", "again.pack").succeeded()
    assert (flows.folder / "again.pack").read_bytes() == packed.read_bytes()


def test_what_is_there_is_not_replaced_unless_asked(packed: Path, flows: Flows) -> None:
    before = packed.read_bytes()
    packed.write_bytes(b"mine")
    ran = call(flows, "pack", "team/packed:v1", "-o", "env.pack")
    assert ran.code == 2
    assert "`env.pack` is there already" in ran.stderr
    assert packed.read_bytes() == b"mine"
    call(flows, "pack", "team/packed:v1", "-o", "env.pack", "--force").succeeded()
    assert packed.read_bytes() == before
    assert sorted(path.name for path in flows.folder.glob("*.pack*")) == ["env.pack"]


def test_a_name_of_ones_own_is_given_instead(packed: Path, elsewhere: Flows) -> None:
    said = json.loads(call(elsewhere, "unpack", str(packed), "--alias", "mine/env:v7", "--json").succeeded().stdout)
    assert said["aliases"] == ["mine/env:v7"]
    assert call(elsewhere, "show", "mine/env:v7").code == 0
    assert call(elsewhere, "show", "team/packed:v1").code == 2


def test_a_name_that_is_something_else_here_stays(packed: Path, elsewhere: Flows, flows: Flows) -> None:
    here = elsewhere.using(METAFLOW_CONDA_CHANNELS=str(flows.channel.path()))
    call(here, "resolve", "--conda-pkg", "six=1.16", "--alias", "team/packed:v1", "--local-only").succeeded()
    before = json.loads(call(here, "show", "team/packed:v1", "--json").succeeded().stdout)
    said = json.loads(call(here, "unpack", str(packed), "--json").succeeded().stdout)
    assert (said["aliases"], said["taken"]) == ([], ["team/packed:v1"])
    after = json.loads(call(here, "show", "team/packed:v1", "--json").succeeded().stdout)
    assert after["environments"][0]["full_id"] == before["environments"][0]["full_id"]


def test_a_damaged_pack_is_refused_whole(packed: Path, elsewhere: Flows) -> None:
    content = bytearray(packed.read_bytes())
    # In the last package: all before it is as it should be.
    content[-2048] ^= 1
    packed.write_bytes(content)
    ran = call(elsewhere, "unpack", str(packed), "--json")
    assert ran.code == 5
    assert "`packages/" in json.loads(ran.stdout)["error"]["message"]
    assert [path for path in elsewhere.local_path.rglob("*") if path.is_file() and path.suffix != ".lock"] == []
    assert call(elsewhere, "show", "team/packed:v1").code == 2


def test_a_flow_that_asks_for_what_was_packed_needs_no_resolution(elsewhere: Flows, flows: Flows) -> None:
    ran = flows.run(DECORATED).succeeded()
    call(flows, "pack", f"Decorated/{ran.run_id}/start", "-o", "env.pack").succeeded()
    # The same channels, since they are part of what is asked for.
    here = elsewhere.using(METAFLOW_CONDA_CHANNELS=str(flows.channel.path()))
    call(here, "unpack", str(flows.folder / "env.pack")).succeeded()
    ran = offline(here, *here.command(here.write(DECORATED), "run")).succeeded()
    assert (ran.resolved, ran.fact("start")["six"]) == (0, "1.16.0")


def test_what_is_unpacked_can_be_shared(packed: Path, elsewhere: Flows, flows: Flows, tmp_path: Path) -> None:
    store = ("--conda-root", str(tmp_path / "store"))
    call(elsewhere, *store, "unpack", str(packed), "--share").succeeded()
    another = flows.folder / "another"
    another.mkdir()
    cli = (flows.python, "-m", "mfenv.cli", "environment", *store)
    shown = flows.call(*cli, "show", "team/packed:v1", "--json", cwd=another).succeeded()
    assert json.loads(shown.stdout)["environments"][0]["aliases"]
