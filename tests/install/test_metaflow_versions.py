"""The oldest Metaflow that is supported, and the newest, on the oldest Python; tasks on still older ones."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mfenv.testing.channel.interpreters import Interpreter, find_interpreters

if TYPE_CHECKING:
    from tests.conftest import Flows
    from tests.install.conftest import Distribution, Virtual

HELLO = Path(__file__).parents[2] / "examples" / "hello_conda.py"
OLDEST_METAFLOW = "2.16.0"

INTERPRETERS = {found.minor: found for found in find_interpreters()}

# `add_to_package` of a decorator sends the layout of Metaflow's code down its slow way.
ADDS = """
from metaflow.plugins.retry_decorator import RetryDecorator
RetryDecorator.add_to_package = lambda self: [(os.path.abspath(__file__), "added_by_decorator.py")]

class Adds(FlowSpec):
    @retry
    @conda(packages={"six": ""})
    @step
    def start(self):
        import six, metaflow
        root = os.path.dirname(os.path.dirname(metaflow.__file__))
        found = [name for _, _, names in os.walk(os.path.dirname(root)) for name in names]
        tell(added="added_by_decorator.py" in found, metaflow=metaflow.__file__)
        self.next(self.end)

    @step
    def end(self):
        pass
"""


@pytest.mark.parametrize("metaflow", [f"metaflow=={OLDEST_METAFLOW}", "metaflow"], ids=["oldest", "newest"])
def test_flows_run_on_this_metaflow(
    flows: Flows, distribution: Distribution, virtual: Callable[[Path], Virtual], metaflow: str
) -> None:
    installed = virtual(INTERPRETERS["3.10"].executable)
    # Metaflow 2.16 imports pkg_resources where setuptools is there, and does without where it is not.
    installed.install(metaflow, distribution.wheel)
    older, newer = flows.channel.pandas_versions("3.10")[-2:]
    here = flows.using(python=installed.python, HELLO_PANDAS_A=older, HELLO_PANDAS_B=newer)

    first = here.run(HELLO)
    second = here.run(HELLO)
    added = here.run(ADDS)

    for ran in (first, second, added):
        assert ran.code == 0, ran.text
    assert f"start runs with pandas {older}" in first.stdout
    assert f"end runs with pandas {newer}" in first.stdout
    assert sorted(second.existing) == sorted({*first.created, *first.existing})
    assert "Resolving" not in second.text
    assert added.fact("start")["added"] is True
    assert not added.fact("start")["metaflow"].startswith(str(installed.folder))
    assert added.fact("start")["prefix"].startswith(str(flows.local_path))


OLD = [found for minor, found in INTERPRETERS.items() if minor in ("3.8", "3.9")]


def test_there_are_old_interpreters_to_try() -> None:
    assert OLD, "install a CPython 3.8 or 3.9, for example with `uv python install 3.8`"


@pytest.mark.parametrize("interpreter", OLD, ids=lambda found: found.minor)
def test_what_tasks_import_is_readable_by_old_pythons(
    flows: Flows,
    distribution: Distribution,
    virtual: Callable[[Path], Virtual],
    tmp_path: Path,
    interpreter: Interpreter,
) -> None:
    """A step's Python may be older than what solving needs; its tasks import Metaflow with our classes in it."""
    installed = virtual(interpreter.executable)
    installed.install("metaflow")
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(distribution.wheel) as wheel:
        wheel.extractall(unpacked)
    program = (
        "import sys, metaflow, metaflow.plugins as plugins;"
        "print(*sorted(c.__module__ for c in plugins.ENVIRONMENTS if c.TYPE in ('conda', 'pypi')));"
        "print(*sorted(name for name in sys.modules if name.split('.')[0] == 'mfenv'))"
    )

    ran = flows.using(PYTHONPATH=str(unpacked), PYTHONWARNINGS="error::SyntaxWarning").call(
        installed.python, "-c", program
    )

    assert ran.code == 0, ran.text
    environments, ours = ran.stdout.splitlines()
    assert environments == "mfenv.metaflow.environment mfenv.metaflow.environment"
    assert ours.split() == [
        "mfenv",
        "mfenv.metaflow",
        "mfenv.metaflow.decorators",
        "mfenv.metaflow.enter",
        "mfenv.metaflow.environment",
        "mfenv.metaflow.mutators",
        "mfenv.metaflow.neighbour",
        "mfenv.metaflow.parsers",
        "mfenv.metaflow.runner",
        "mfenv.version",
    ]
