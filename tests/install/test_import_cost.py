"""`import metaflow` is paid by every task: what it loads because of us is next to nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Flows

_LOADED = "import json, sys, metaflow; print(json.dumps(sorted(sys.modules)))"


def _loaded(flows: Flows, program: str = _LOADED) -> set[str]:
    return set(json.loads(flows.call(flows.python, "-c", program).succeeded().stdout.splitlines()[-1]))


def test_importing_metaflow_loads_only_our_plugin_modules(flows: Flows) -> None:
    without = _loaded(flows.using(METAFLOW_EXTENSIONS_SEARCH_DIRS="/nowhere"))

    more = _loaded(flows) - without

    assert {name for name in more if name.split(".")[0] not in ("metaflow", "metaflow_extensions")} == {
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
    }


def test_task_in_an_environment_loads_no_more_than_that(flows: Flows) -> None:
    flow = """
    class Loads(FlowSpec):
        @conda(packages={"six": ""})
        @step
        def start(self):
            tell(ours=sorted(name for name in sys.modules if name.split(".")[0] in ("mfenv", "rattler")))
            self.next(self.end)

        @conda(disabled=True)
        @step
        def end(self):
            tell(ours=sorted(name for name in sys.modules if name.split(".")[0] in ("mfenv", "rattler")))
    """

    ran = flows.run(flow).succeeded()

    assert ran.fact("start")["ours"] == ran.fact("end")["ours"]
    assert not [
        name for name in ran.fact("start")["ours"] if name.split(".")[1:2] not in ([], ["metaflow"], ["version"])
    ]
    assert "mfenv.metaflow.launch" not in ran.fact("start")["ours"]


def test_launching_loads_no_solver(flows: Flows) -> None:
    """Not even a first run: solving happens in the helper process."""
    flow = """
    class Launched(FlowSpec):
        @conda(packages={"six": ""})
        @step
        def start(self):
            self.next(self.end)

        @step
        def end(self):
            pass
    """
    path = flows.write(flow)
    program = (
        "import atexit, json, runpy, sys;"
        "atexit.register(lambda: print(json.dumps(sorted(sys.modules))));"
        f"sys.argv = [{str(path)!r}, '--no-pylint', '--environment=conda', 'run'];"
        f"runpy.run_path({str(path)!r}, run_name='__main__')"
    )

    loaded = _loaded(flows, program)

    assert "mfenv.app.wiring" in loaded
    assert "rattler" not in loaded
