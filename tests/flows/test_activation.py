"""What a task finds around it: variables, programs, and nothing of the user's own Python."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Flows

SURROUNDED = """
import shutil, site, subprocess

def out(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

class Surrounded(FlowSpec):
    @conda(packages={"activates": "", "prefixprobe": "", "postlink": "", "tabulate": "", "pip": ""})
    @step
    def start(self):
        try:
            import planted
            found = planted.__file__
        except ImportError:
            found = None
        tell(
            path=os.environ["PATH"].split(os.pathsep),
            which={name: shutil.which(name) for name in ("python", "python3", "pip", "tabulate", "prefixprobe", "env")},
            shell=out("sh", "-c", "command -v python; echo $CONDA_PREFIX; echo $CONDA_DEFAULT_ENV").splitlines(),
            nested=out("python", "-c", "import sys, tabulate; print(sys.prefix)"),
            nested_planted=subprocess.run(["python", "-c", "import planted"], capture_output=True).returncode,
            own=out(sys.executable, "-c", "import sys; print(sys.prefix)"),
            probe=out("prefixprobe"),
            tabulate=out("sh", "-c", "echo 1 2 | tabulate"),
            activated=os.environ.get("MFENV_TEST_ACTIVATED"),
            activated_prefix=os.environ.get("MFENV_TEST_ACTIVATED_PREFIX"),
            variable=os.environ.get("MFENV_TEST_VARIABLE"),
            postlink=open(sys.prefix + "/share/postlink-ran.txt").read(),
            planted=found,
            user_site=site.ENABLE_USER_SITE,
            pythonhome=os.environ.get("PYTHONHOME"),
            mine=os.environ.get("MINE"),
            in_path=[entry for entry in sys.path if "planted" in entry],
        )
        self.next(self.end)

    @step
    def end(self):
        tell(activated=os.environ.get("MFENV_TEST_ACTIVATED"), variable=os.environ.get("MFENV_TEST_VARIABLE"))
"""


@pytest.fixture
def littered(flows: Flows, tmp_path: Path) -> Flows:
    """A user who has a module of the same name in every place where Python looks, and says so in variables."""
    user_base = tmp_path / "planted-user"
    places = [tmp_path / "planted-path"]
    places += [user_base / "lib" / f"python{minor}" / "site-packages" for minor in flows.channel.pythons]
    for place in places:
        place.mkdir(parents=True)
        (place / "planted.py").write_text("")
    return flows.using(PYTHONUSERBASE=str(user_base), PYTHONPATH=str(places[0]), MINE="stays")


def test_task_finds_its_environment_and_nothing_else(littered: Flows) -> None:
    """A user's site folder and PYTHONPATH would bring modules that no lock knows."""
    ran = littered.run(SURROUNDED).succeeded()
    fact = ran.fact("start")
    prefix = Path(fact["prefix"])
    bin_folder = prefix / "bin"

    assert prefix.parent == littered.local_path / "envs"
    assert fact["path"][0] == str(bin_folder)
    assert {name: path for name, path in fact["which"].items() if name != "env"} == {
        name: str(bin_folder / name) for name in ("python", "python3", "pip", "tabulate", "prefixprobe")
    }
    assert fact["which"]["env"] == "/usr/bin/env", "the rest of PATH is still there"
    assert fact["shell"] == [str(bin_folder / "python"), str(prefix), prefix.name]
    assert fact["nested"] == fact["own"] == fact["probe"] == str(prefix)
    assert fact["tabulate"].split() == ["-", "-", "1", "2", "-", "-"]
    assert (fact["activated"], fact["activated_prefix"], fact["variable"]) == ("1", str(prefix), "from a package")
    assert fact["postlink"] == "postlink 1.0\n"
    assert (fact["planted"], fact["user_site"], fact["in_path"]) == (None, False, [])
    assert fact["nested_planted"] == 1
    assert fact["mine"] == "stays"
    assert (ran.fact("end")["activated"], ran.fact("end")["variable"]) == (None, None)


def test_pythonhome_of_the_launching_python_does_not_reach_other_pythons(flows: Flows) -> None:
    """It would break every interpreter but the one that it is meant for."""
    older = next(iter(flows.channel.pythons))
    flow = f"""
    class Homes(FlowSpec):
        @conda(python="{older}")
        @step
        def start(self):
            import subprocess
            tell(nested=subprocess.run(["python", "-c", "print(2 + 2)"], capture_output=True, text=True).stdout)
            self.next(self.end)

        @conda(disabled=True)
        @step
        def end(self):
            tell(home=os.environ.get("PYTHONHOME"))
    """

    ran = flows.using(PYTHONHOME=sys.base_prefix).run(flow)

    assert ran.code == 0, ran.text
    assert ran.fact("start")["python"] == flows.channel.pythons[older]
    assert ran.fact("start")["nested"] == "4\n"
    assert ran.fact("end")["home"] == sys.base_prefix


def test_link_scripts_can_be_switched_off(cold_flows: Flows) -> None:
    flow = """
    class Linked(FlowSpec):
        @conda(packages={"postlink": ""})
        @step
        def start(self):
            tell(ran=os.path.exists(sys.prefix + "/share/postlink-ran.txt"))
            self.next(self.end)

        @conda(disabled=True)
        @step
        def end(self):
            pass
    """

    ran = cold_flows.using(METAFLOW_CONDA_LINK_SCRIPTS="false").run(flow).succeeded()

    assert ran.fact("start")["ran"] is False
