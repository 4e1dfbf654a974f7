"""`metaflow environment gc`: shown first, removed when asked, and nothing that a flow needs is missing afterwards."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Flows, Ran

FLOW = """
class Clears(FlowSpec):
    @conda(packages={"six": "%s"})
    @step
    def start(self):
        tell()
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        pass
"""
LONG = """
class Long(FlowSpec):
    @conda(packages={"six": "1.16.0"})
    @step
    def start(self):
        with open("started", "w") as pipe:
            pipe.write("yes")
        with open("go", "r") as pipe:
            pipe.read()
        self.next(self.end)

    @conda(packages={"six": "1.17.0"})
    @step
    def end(self):
        pass
"""
YEAR = 365 * 24 * 3600


def call(flows: Flows, *arguments: str) -> Ran:
    return flows.call(Path(flows.python).with_name("metaflow"), "environment", "gc", *arguments)


def document(ran: Ran) -> Any:
    return json.loads(ran.succeeded().stdout[ran.stdout.index("{") :])


def age(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        then = path.lstat().st_mtime - YEAR
        os.utime(path, (then, then), follow_symlinks=False)


def test_what_a_project_uses_and_runs_ran_in_stays_and_the_rest_goes(flows: Flows, tmp_path: Path) -> None:
    flows = flows.using(local_path=tmp_path / "local")
    first = flows.run(FLOW % "1.16.0").succeeded()
    second = flows.run(FLOW % "1.17.0").succeeded()
    # A run that Metaflow forgot, of an environment that this project uses no more.
    shutil.rmtree(flows.folder / ".metaflow" / "Clears" / first.run_id)
    index = flows.folder / ".metaflow" / "conda_v2.cnd"
    index.unlink()
    flows.run(FLOW % "1.17.0").succeeded()
    store = flows.folder / ".metaflow" / "conda_env"
    age(store)
    age(tmp_path / "local")
    old, kept = (ran.fact("start")["prefix"].rpartition("/")[2] for ran in (first, second))

    shown = document(call(flows, "--json"))
    assert (shown["deleted"], shown["store"]["unused"]["environments"]["count"]) == (False, 1)
    assert shown["store"]["kept"] == {"default": 1}
    assert shown["local"]["unused"]["environments"]["count"] == 1
    assert sorted(path.stem for path in (store / "mfenv/v1/locks").iterdir()) == sorted([old, kept])

    text = call(flows).succeeded()
    assert "1 environments" in text.stdout
    assert "Nothing was removed: add --delete to remove it." in text.stderr

    done = document(call(flows, "--delete", "--json"))
    assert done["store"]["removed"] > 3
    assert done["local"]["freed"] > 0
    assert [path.stem for path in (store / "mfenv/v1/locks").iterdir()] == [kept]
    assert sorted(path.name for path in (tmp_path / "local" / "envs").iterdir()) == [kept]

    again = flows.run(FLOW % "1.17.0").succeeded()
    assert (again.resolved, again.created) == (0, [])
    # And from the store alone, on a machine that has nothing.
    elsewhere = flows.using(local_path=tmp_path / "elsewhere").run(FLOW % "1.17.0").succeeded()
    assert (elsewhere.resolved, elsewhere.created) == (0, [kept])
    assert document(call(flows, "--json"))["store"]["unused"]["environments"]["count"] == 0


def test_a_run_that_metaflow_knows_keeps_its_environment_unless_it_is_too_old(flows: Flows) -> None:
    ran = flows.run(FLOW % "1.16.0").succeeded()
    (flows.folder / ".metaflow" / "conda_v2.cnd").unlink()
    age(flows.folder / ".metaflow" / "conda_env")
    assert document(call(flows, "--store", "--json"))["store"]["kept"] == {"run": 1}
    young = document(call(flows, "--store", "--runs-newer-than", "1", "--json"))
    assert young["store"]["kept"] == {"run": 1}
    assert "local" not in young
    none = document(call(flows, "--store", "--runs-newer-than", "0", "--json"))
    assert none["store"]["unused"]["environments"]["count"] == 1
    assert ran.fact("start")["prefix"]


def test_a_run_that_is_under_way_keeps_what_it_needs_however_old(flows: Flows, tmp_path: Path) -> None:
    """Environments of steps that come later, and the links to Metaflow's code, included."""
    flows = flows.using(local_path=tmp_path / "local")
    # All is there before, so that nothing is made meanwhile, and another environment.
    for version in ("1.16.0", "1.17.0"):
        flows.run(FLOW % version).succeeded()
    idle = flows.run(FLOW.replace("six", "itsdangerous") % "").succeeded().created
    flow = flows.write(LONG, "long.py")
    for pipe in ("started", "go"):
        os.mkfifo(flows.folder / pipe)
    running = flows.start(*flows.command(flow, "run"))
    assert (flows.folder / "started").read_text() == "yes"
    assert len(list((tmp_path / "local" / "envs").glob("*/.mfenv-ready"))) == 3
    # The project's index gone, only the run itself needs them.
    (flows.folder / ".metaflow" / "conda_v2.cnd").unlink()
    age(tmp_path / "local")
    done = document(call(flows, "--local", "--older-than", "1", "--delete", "--json"))
    assert done["local"]["removed"] > 0
    assert not (tmp_path / "local" / "envs" / idle[0]).exists()
    (flows.folder / "go").write_text("go")
    _, said = running.communicate(timeout=120)
    assert running.returncode == 0, said
    assert len(list((tmp_path / "local" / "envs").iterdir())) == 2


def test_what_is_removed_here_comes_again(flows: Flows, tmp_path: Path) -> None:
    flows = flows.using(local_path=tmp_path / "local")
    first = flows.run(FLOW % "1.16.0").succeeded()
    # As another project's, in the same cache: this one needs nothing of it.
    other = tmp_path / "other"
    other.mkdir()
    for _ in range(2):
        age(tmp_path / "local")
        cleared = flows.call(
            Path(flows.python).with_name("metaflow"), "environment", "gc", "--local", "--delete", cwd=other
        ).succeeded()
        assert "Traceback" not in cleared.text
    assert {path.name: sorted(path.iterdir()) for path in (tmp_path / "local").iterdir() if path.name != "locks"} == {
        "archives": [],
        "code": [],
        "envs": [],
        "metadata": [],
        "pkgs": sorted((tmp_path / "local" / "pkgs").glob("*.lock")),
        "staging": [],
    }
    again = flows.run(FLOW % "1.16.0").succeeded()
    assert (again.resolved, again.created) == (0, first.created)


@pytest.mark.parametrize("days", ["99999999999"])
def test_any_age_can_be_asked_for(flows: Flows, days: str) -> None:
    shown = document(call(flows, "--older-than", days, "--runs-newer-than", days, "--json"))
    assert shown["store"]["unused"]["environments"]["count"] == 0


@pytest.mark.parametrize("days", ["0", "-3", "-99999999999"])
def test_less_than_a_day_is_refused(flows: Flows, days: str) -> None:
    ran = call(flows, "--older-than", days)
    assert (ran.code, "Traceback" in ran.text) == (2, False)
    assert "error: --older-than: what is younger than a day cannot be cleared away" in ran.stderr
