"""What Metaflow can do, it can do with environments."""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Flows, Ran

_ASK = """
import json, sys
from metaflow import Run, namespace
namespace(None)
run = Run(sys.argv[1])
print(json.dumps({step.id: [task.metadata_dict.get("conda_env_id") for task in step] for step in run}))
"""


def _environment_ids(flows: Flows, flow: str, ran: Ran) -> dict[str, list[Any]]:
    """What Metaflow's client tells of the environments of a run's tasks, by step."""
    asked = flows.call(flows.python, "-c", _ASK, f"{flow}/{ran.run_id}").succeeded()
    found = json.loads(asked.stdout)
    return {step: [json.loads(text) if text else None for text in tasks] for step, tasks in found.items()}


BRANCHES = """
class Branches(FlowSpec):
    items = Parameter("items", default=50)

    @conda(packages={"six": "1.17.0"})
    @step
    def start(self):
        self.numbers = list(range(self.items))
        self.next(self.left, self.right)

    @conda(packages={"six": "1.16.0"})
    @step
    def left(self):
        import six
        self.version = six.__version__
        self.next(self.join)

    @conda(packages={"six": "1.17.0"})
    @step
    def right(self):
        import six
        self.version = six.__version__
        self.next(self.join)

    @conda(disabled=True)
    @step
    def join(self, inputs):
        self.versions = [inputs.left.version, inputs.right.version]
        self.merge_artifacts(inputs, exclude=["version"])
        self.next(self.split)

    @conda(disabled=True)
    @step
    def split(self):
        self.next(self.each, foreach="numbers")

    @conda(packages={"tabulate": ""})
    @step
    def each(self):
        import tabulate
        if FAIL and self.input == 3:
            raise ValueError("on purpose")
        self.square = self.input ** 2
        self.next(self.gather)

    @step
    def gather(self, inputs):
        self.total = sum(one.square for one in inputs)
        self.merge_artifacts(inputs, include=["versions"])
        self.next(self.end)

    @step
    def end(self):
        tell(total=self.total, versions=self.versions)
"""


def test_fifty_tasks_of_a_foreach_share_one_environment_that_is_built_once(flows: Flows, tmp_path: Path) -> None:
    cold = flows.using(local_path=tmp_path / "local")

    ran = cold.run("FAIL = False\n" + BRANCHES, "--max-workers", "4").succeeded()

    assert ran.fact("end")["versions"] == ["1.16.0", "1.17.0"]
    assert ran.fact("end")["total"] == sum(number**2 for number in range(50))
    assert (ran.resolved, len(ran.created), len(set(ran.created))) == (4, 4, 4)
    assert sorted(path.name for path in (cold.local_path / "envs").iterdir()) == sorted(ran.created)
    ids = _environment_ids(cold, "Branches", ran)
    assert {step: len(found) for step, found in ids.items()} == {
        "start": 1, "left": 1, "right": 1, "join": 1, "split": 1, "each": 50, "gather": 1, "end": 1,
    }  # fmt: skip
    assert ids["join"] == [None]
    assert ids["start"] == ids["right"] != ids["left"]
    assert ids["gather"] == ids["end"]
    assert all(found == ids["each"][0] for found in ids["each"])
    request, lock, platform = ids["each"][0]
    assert lock in ran.created
    assert (len(request), platform) == (40, flows.channel.subdir)
    assert request != lock


def test_resumed_run_goes_on_in_the_same_environments(flows: Flows) -> None:
    failed = flows.run("FAIL = True\n" + BRANCHES, "--items", "5")
    assert failed.code != 0
    assert "on purpose" in failed.text
    flow = flows.write("FAIL = False\n" + BRANCHES)

    resumed = flows.call(*flows.command(flow, "resume", "--origin-run-id", failed.run_id)).succeeded()

    assert resumed.fact("end") == {**resumed.fact("end"), "total": 30, "versions": ["1.16.0", "1.17.0"]}
    assert "Resolving" not in resumed.text
    assert sorted(resumed.existing) == sorted({*failed.created, *failed.existing})
    assert _environment_ids(flows, "Branches", resumed)["end"] == _environment_ids(flows, "Branches", resumed)["gather"]


DECORATED = """
import neighbour

@project(name="decorated")
class Decorated(FlowSpec):
    text = Parameter("text", default="")

    @card
    @retry(times=2, minutes_between_retries=0)
    @conda(packages={"six": ""})
    @step
    def start(self):
        import six
        if current.retry_count < 1:
            raise ValueError("the first attempt fails")
        self.seen = {"step": current.step_name, "flow": current.flow_name, "project": current.project_name,
                     "retries": current.retry_count, "neighbour": neighbour.NAME, "text": self.text,
                     "cwd": os.getcwd()}
        tell(**self.seen)
        self.next(self.caught)

    @catch(var="failure")
    @conda(packages={"six": ""})
    @step
    def caught(self):
        if os.environ["USER"]:
            raise ValueError("to be caught")
        self.next(self.late)

    @catch(var="lateness")
    @timeout(seconds=1)
    @environment(vars={"FROM_DECORATOR": "set"})
    @conda(packages={"six": ""})
    @step
    def late(self):
        tell(variable=os.environ.get("FROM_DECORATOR"))
        import time
        time.sleep(30)
        self.next(self.end)

    @step
    def end(self):
        tell(failure=str(self.failure), lateness=str(self.lateness))
"""


def test_other_decorators_and_the_flows_own_modules_work_in_an_environment(flows: Flows, tmp_path: Path) -> None:
    """Also: names with spaces and letters beyond ASCII, and a working directory elsewhere."""
    flow = flows.write(DECORATED, "mes flux é/флоу один.py")
    flow.with_name("neighbour.py").write_text('NAME = "the neighbour"\n')
    elsewhere = tmp_path / "ailleurs ü"
    elsewhere.mkdir()

    ran = flows.run(flow, "--text", "très 'long' \"$HOME\"", cwd=elsewhere)

    assert ran.code == 0, ran.text
    start = ran.fact("start")
    assert start == {
        "prefix": start["prefix"], "python": start["python"], "step": "start", "flow": "Decorated",
        "project": "decorated", "retries": 1, "neighbour": "the neighbour", "text": "très 'long' \"$HOME\"",
        "cwd": str(elsewhere),
    }  # fmt: skip
    assert start["prefix"].startswith(str(flows.local_path))
    assert ran.fact("late")["variable"] == "set"
    assert "to be caught" in ran.fact("end")["failure"]
    assert "timed out" in ran.fact("end")["lateness"].lower()
    cards = flows.call(*flows.command(flow, "card", "list", f"{ran.run_id}/start/1"), cwd=elsewhere)
    assert cards.code == 0, cards.text


CONFIGURED = """
class AddConda(StepMutator):
    def mutate(self, mutable_step):
        mutable_step.add_decorator(conda, deco_kwargs={"packages": {"tabulate": ""}})

class Configured(FlowSpec):
    settings = Config("settings", default="settings.json")

    @conda(packages=settings.packages, python=settings.python)
    @step
    def start(self):
        import six
        tell(six=six.__version__)
        self.next(self.mutated)

    @AddConda
    @step
    def mutated(self):
        import tabulate
        tell(settings=dict(self.settings.packages))
        self.next(self.end)

    @step
    def end(self):
        pass
"""


def test_decorators_may_come_from_configurations_and_mutators(flows: Flows) -> None:
    (flows.folder / "settings.json").write_text(json.dumps({"packages": {"six": "1.16.0"}, "python": ">=3.10"}))

    ran = flows.run(CONFIGURED).succeeded()

    assert ran.fact("start")["six"] == "1.16.0"
    assert ran.fact("mutated")["settings"] == {"six": "1.16.0"}
    assert ran.fact("mutated")["prefix"] not in (ran.fact("start")["prefix"], sys.prefix)


SMALL = """
class Small(FlowSpec):
    @conda(packages={"six": "1.16.0"})
    @step
    def start(self):
        import six
        tell(six=six.__version__)
        self.next(self.end)

    @step
    def end(self):
        pass
"""


def test_settings_come_from_the_projects_own_file(flows: Flows, tmp_path: Path) -> None:
    (flows.folder / ".metaflow").mkdir()
    settings = {"METAFLOW_CONDA_CHANNELS": flows.channel.url(), "METAFLOW_CONDA_LOCAL_PATH": str(tmp_path / "set")}
    (flows.folder / ".metaflow" / "config.json").write_text(json.dumps(settings))
    without = flows.using(METAFLOW_CONDA_CHANNELS=None, METAFLOW_CONDA_LOCAL_PATH=None)

    ran = without.run(SMALL)

    assert ran.code == 0, ran.text
    assert ran.fact("start")["prefix"].startswith(str(tmp_path / "set" / "envs"))


def test_runner_takes_the_environment_by_name(flows: Flows) -> None:
    flow = flows.write(SMALL)
    program = f"""
from metaflow import Runner
with Runner({str(flow)!r}, environment="conda", pylint=False, show_output=False).run() as running:
    print(running.status, running.run["start"].task.metadata_dict["conda_env_id"])
"""
    ran = flows.call(flows.python, "-c", program).succeeded()

    status, _, ids = ran.stdout.strip().partition(" ")
    assert status == "successful"
    assert len(json.loads(ids)) == 3


def test_flow_inside_a_step_gets_its_own_environments_or_none(flows: Flows) -> None:
    """What the outer task was told of its environment is not passed on to flows that it starts."""
    inner = flows.write(SMALL, "inner.py")
    outer = f"""
import subprocess
class Outer(FlowSpec):
    @conda(packages={{"tabulate": ""}})
    @step
    def start(self):
        command = [{flows.python!r}, {str(inner)!r}, "--no-pylint", "run"]
        variables = {{k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "METAFLOW_EXTRACTED_ROOT")}}
        done = subprocess.run(command[:3] + ["--environment=conda"] + command[3:], env=variables,
                              capture_output=True, text=True)
        print(done.stdout, done.stderr)
        told = [line.partition("FACTS ")[2] for line in done.stdout.splitlines() if "FACTS" in line]
        self.inner = json.loads(told[0])
        tell(inner=self.inner, passed=[name for name in os.environ if "MFENV" in name])
        self.next(self.end)

    @step
    def end(self):
        pass
"""
    ran = flows.run(outer)

    assert ran.code == 0, ran.text
    told = [fact for fact in ran.facts["start"] if "inner" in fact]
    assert told[0]["inner"]["six"] == "1.16.0"
    assert told[0]["inner"]["prefix"] != told[0]["prefix"]
    assert told[0]["passed"] == []


@pytest.mark.parametrize("command", [["show"], ["check"], ["--help"], ["run", "--help"], ["package", "list"]])
def test_commands_that_run_nothing_make_no_environment(cold_flows: Flows, command: list[str]) -> None:
    flow = cold_flows.write(SMALL)

    ran = cold_flows.call(*cold_flows.command(flow, *command)).succeeded()

    assert ran.created == []
    assert not (cold_flows.local_path / "envs").exists()


def test_code_package_carries_the_locks_of_this_flow(flows: Flows, tmp_path: Path) -> None:
    ran = flows.run(SMALL).succeeded()
    archive = tmp_path / "package.tgz"

    flows.call(*flows.command(flows.folder / "flow.py", "package", "save", str(archive))).succeeded()

    with tarfile.open(archive) as opened:
        member = opened.extractfile(".mf_meta/conda_v2.cnd")
        assert member
        content = member.read().decode()
        names = opened.getnames()
    assert all(lock in content for lock in {*ran.created, *ran.existing})
    assert {".mf_code/mfenv/__init__.py", ".mf_code/mfenv/domain/locked.py"} <= set(names)


def test_what_runs_without_the_environment_is_not_stopped_by_decorators(flows: Flows) -> None:
    """Some schedulers call `dump` and the like without --environment."""
    ran = flows.run(SMALL).succeeded()

    dumped = flows.call(*flows.command(flows.folder / "flow.py", "dump", f"{ran.run_id}/start", environment=None))

    assert dumped.code == 0, dumped.text
