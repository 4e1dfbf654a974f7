"""Runs in unusual surroundings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Flows

FLOW = """
class Anywhere(FlowSpec):
    @conda(packages={"six": "1.17.0"})
    @step
    def start(self):
        import six
        tell(six=six.__version__, bytecode=not sys.dont_write_bytecode)
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        pass
"""


@pytest.mark.parametrize(
    ("variables", "bytecode"),
    [
        ({"PYTHONDONTWRITEBYTECODE": "1"}, False),
        ({"TERM": "dumb", "LANG": "C", "NO_COLOR": "1"}, True),
        ({"PYTHONSAFEPATH": "1", "PYTHONUTF8": "1", "PYTHONHASHSEED": "0"}, True),
        ({"CONDA_PREFIX": "/opt/conda", "CONDA_DEFAULT_ENV": "base", "VIRTUAL_ENV": "/opt/venv"}, True),
        ({"HOME": "/proc/nowhere"}, True),
        ({"USER": None, "METAFLOW_USER": "somebody"}, True),
    ],
    ids=["no bytecode", "plain terminal", "Python's own switches", "inside conda", "no home", "no user"],
)
def test_it_runs_here_too(flows: Flows, variables: dict[str, str | None], bytecode: bool) -> None:
    ran = flows.using(**variables).run(FLOW)

    assert ran.code == 0, ran.text
    assert (ran.fact("start")["six"], ran.fact("start")["bytecode"]) == ("1.17.0", bytecode)
    assert ran.fact("start")["prefix"].startswith(str(flows.local_path))
    assert flows.leftovers() == []


def test_users_module_that_is_called_like_the_solver_does_not_disturb_it(flows: Flows) -> None:
    """The helper process searches neither the working folder nor PYTHONPATH."""
    for name in ("rattler", "packaging"):
        (flows.folder / f"{name}.py").write_text("raise RuntimeError('not this one')\n")

    ran = flows.using(PYTHONPATH=str(flows.folder)).run(FLOW)

    assert ran.code == 0, ran.text
    assert ran.fact("start")["six"] == "1.17.0"


def test_environments_are_kept_in_the_users_cache_by_default(flows: Flows) -> None:
    without = flows.using(METAFLOW_CONDA_LOCAL_PATH=None)

    ran = without.run(FLOW).succeeded()

    assert Path(ran.fact("start")["prefix"]).parent == flows.home / ".cache" / "mfenv" / "envs"


@pytest.mark.parametrize("odd", ["with space", "ü 'quoted' 20%20"])
def test_folder_of_environments_may_have_any_name(flows: Flows, tmp_path: Path, odd: str) -> None:
    body = FLOW.replace('"six": "1.17.0"', '"six": "1.17.0", "prefixprobe": "", "activates": "", "tabulate": ""')
    body = body.replace(
        "tell(",
        "import subprocess; tell(probe=open(sys.prefix + '/share/prefixprobe.txt').read(),"
        "command=subprocess.check_output(['tabulate', '--help'], text=True)[:5],"
        "activated=os.environ['MFENV_TEST_ACTIVATED_PREFIX'],",
    )

    ran = flows.using(local_path=tmp_path / odd).run(body)

    assert ran.code == 0, ran.text
    fact = ran.fact("start")
    assert fact["prefix"].startswith(str(tmp_path / odd / "envs"))
    assert (fact["probe"], fact["activated"]) == (f"prefix={fact['prefix']}\n", fact["prefix"])
    assert fact["command"] == "Usage"


def test_environment_that_lost_its_marker_or_moved_is_built_again(flows: Flows, tmp_path: Path) -> None:
    own = flows.using(local_path=tmp_path / "own")
    created = own.run(FLOW).succeeded().created
    moved = tmp_path / "moved"
    own.local_path.rename(moved)

    ran = own.using(local_path=moved).run(FLOW).succeeded()

    assert ran.created == created, "a prefix that was moved has its old path in its files"
    assert ran.fact("start")["prefix"] == os.fspath(moved / "envs" / created[0])
