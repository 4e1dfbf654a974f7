"""The distribution: what is in it, what installing it changes, and that removing it changes everything back."""

from __future__ import annotations

import json
import re
import sys
import tarfile
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfenv.version import VERSION

if TYPE_CHECKING:
    from tests.conftest import Flows
    from tests.install.conftest import Distribution, Virtual

SOURCES = Path(__file__).parents[2] / "src"

_ASK = """
import json, metaflow, metaflow.plugins as plugins
from metaflow.decorators import Decorator
from metaflow.metaflow_version import get_version
def named(classes, key):
    return {getattr(c, key): c.__module__ + "." + c.__name__ for c in classes
            if getattr(c, key) in ("conda", "pypi", "conda_base", "pypi_base", "conda_env_internal")}
print(json.dumps({
    "version": get_version(),
    "steps": named(plugins.STEP_DECORATORS, "name"),
    "flows": named(plugins.FLOW_DECORATORS, "name"),
    "environments": named(plugins.ENVIRONMENTS, "TYPE"),
    "exported": [metaflow.conda.__class__.__name__, hasattr(metaflow, "conda_base")],
}))
"""

_FLOW = """
class Plain(FlowSpec):
    @retry(times=0)
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass
"""


def _state(flows: Flows, virtual: Virtual) -> dict[str, Any]:
    """All that the environment is and says: Metaflow's classes, output, and every file."""
    # Commands are listed in the order of a set.
    flows = flows.using(PYTHONHASHSEED="0")
    flow = flows.write(_FLOW)
    asked = flows.call(virtual.python, "-c", _ASK).succeeded()
    files = (path for path in virtual.folder.rglob("*") if "__pycache__" not in path.parts)
    return {
        **json.loads(asked.stdout),
        "help": flows.call(virtual.python, flow, "--help").succeeded().text,
        "run help": flows.call(virtual.python, flow, "run", "--help").succeeded().text,
        "command": flows.call(virtual.python, "-m", "metaflow.cmd.main_cli", "--help").text,
        "plain run": re.sub(r"\d", "0", flows.call(virtual.python, flow, "--no-pylint", "run").succeeded().stderr),
        "files": sorted(str(path.relative_to(virtual.folder)) for path in files),
    }


def test_wheel_and_sdist_hold_the_sources_and_nothing_else(distribution: Distribution) -> None:
    modules = sorted(
        path.relative_to(SOURCES).as_posix()
        for path in SOURCES.rglob("*")
        if path.is_file() and (path.suffix == ".py" or path.name == "py.typed")
    )
    with zipfile.ZipFile(distribution.wheel) as wheel:
        info = f"metaflow_netflix_extensions-{VERSION}.dist-info/"
        names = sorted(name for name in wheel.namelist() if not name.startswith(info))
        # Metaflow looks for extensions in distributions that list this name.
        assert wheel.read(f"{info}top_level.txt") == b"metaflow_extensions\n"
        assert f"Version: {VERSION}\n" in wheel.read(f"{info}METADATA").decode()
    assert names == modules
    assert "metaflow_extensions/__init__.py" not in names, "it is shared with other extensions"
    with tarfile.open(distribution.sdist) as sdist:
        held = {name.partition("/")[2] for name in sdist.getnames()}
    assert {f"src/{name}" for name in modules} | {"pyproject.toml", "setup.py", "README.md", "LICENSE"} <= held
    assert not any(name.startswith(("tests/", "docs/", ".")) for name in held)


def test_installing_takes_over_and_removing_gives_standard_metaflow_back(
    flows: Flows, distribution: Distribution, virtual: Callable[[str], Virtual]
) -> None:
    installed = virtual(sys.executable)
    # All that ours needs: it stays when ours goes.
    needed = metadata.requires("metaflow-netflix-extensions") or ()
    installed.install(*(text for text in needed if "extra ==" not in text))
    flows.call(installed.python, flows.write(_FLOW), "--no-pylint", "run").succeeded()
    before = _state(flows, installed)

    installed.install(distribution.wheel)
    ours = _state(flows, installed)
    installed.uninstall("metaflow-netflix-extensions")
    after = _state(flows, installed)

    assert after == before
    assert "netflix-ext" not in before["version"]
    assert ours["version"] == f"{before['version']}+netflix-ext({VERSION})"
    assert ours["steps"] == {
        "conda": "mfenv.metaflow.decorators.CondaStepDecorator",
        "pypi": "mfenv.metaflow.decorators.PyPIStepDecorator",
        "conda_env_internal": "mfenv.metaflow.enter.EnterEnvironment",
    }
    assert ours["flows"] == {
        "conda_base": "mfenv.metaflow.decorators.CondaFlowDecorator",
        "pypi_base": "mfenv.metaflow.decorators.PyPIFlowDecorator",
    }
    assert ours["environments"] == {
        "conda": "mfenv.metaflow.environment.CondaEnvironment",
        "pypi": "mfenv.metaflow.environment.PyPIEnvironment",
    }
    added = {name.partition("site-packages/")[2].split("/")[0] for name in {*ours["files"]} - {*before["files"]}}
    assert added == {"mfenv", "metaflow_extensions", f"metaflow_netflix_extensions-{VERSION}.dist-info"}
    assert set(before["files"]) <= set(ours["files"])


def test_it_runs_through_a_symbolic_link_to_the_installation(
    flows: Flows, distribution: Distribution, virtual: Callable[[str], Virtual], tmp_path: Path
) -> None:
    """Metaflow compares a package's folder, links followed, with where its distribution says that it is."""
    real = virtual(sys.executable)
    real.install("metaflow", distribution.wheel)
    (tmp_path / "linked").symlink_to(real.folder)
    flow = flows.write(_FLOW.replace("retry(times=0)", 'conda(packages={"six": ""})'))

    linked = flows.using(python=str(tmp_path / "linked" / "bin" / "python")).run(flow)

    assert linked.code == 0, linked.text
