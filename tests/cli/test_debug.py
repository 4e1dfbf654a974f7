"""`metaflow debug task`, as it is typed: what a task had is there again, in its own environment."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbclient
import nbformat
import pytest

if TYPE_CHECKING:
    from tests.conftest import Flows, Ran

SHAPES = """
from dataclasses import dataclass
from helper import twice

@dataclass
class Thing:
    size: int

def told():
    return {
        name: sorted(getattr(current, name)) if name == "tags" else getattr(current, name)
        for name in (
            "flow_name", "run_id", "step_name", "task_id", "retry_count", "pathspec", "origin_run_id", "namespace",
            "username", "tags", "parameter_names", "project_name", "branch_name", "project_flow_name", "is_production",
        )
    }

@project(name="shapes")
class Shapes(FlowSpec):
    limit = Parameter("limit", default=2, type=int)
    CONSTANT = "constant"

    @conda(packages={"six": "1.16"})
    @step
    def start(self):
        self.told = told()
        self.thing = Thing(self.limit)
        self.common = [self.CONSTANT]
        self.next(self.left, self.right)

    @environment(vars={"SIDE": "left"})
    @step
    def left(self):
        text = \"\"\"
  as it was written
\"\"\"

        self.side = os.environ["SIDE"] + text
        self.told = told()
        self.next(self.join)

    @step
    def right(self):
        self.side = "right"
        self.next(self.join)

    @step
    def join(self, branches):
        self.sides = [branches.left.side, branches.right.side]
        self.told = told()
        self.merge_artifacts(branches, exclude=["side"])

        self.count = 0
        self.next(self.loop)

    @step
    def loop(self):
        self.count = self.count + 1
        self.go = "again" if self.count < self.limit else "done"
        self.next({"again": self.loop, "done": self.outer_split}, condition="go")

    @step
    def outer_split(self):
        self.xs = [1, 2]
        self.next(self.inner_split, foreach="xs")

    @step
    def inner_split(self):
        self.base = twice(self.input)
        self.ys = ["a", "b", "c"]
        self.next(self.inside, foreach="ys")

    @step
    def inside(self):
        self.seen = [self.index, self.input, self.foreach_stack(), self.base, self.thing.size]
        self.next(self.after)

    @step
    def after(self):
        self.seen = self.seen + [self.index, self.input]
        self.next(self.inner_join)

    @step
    def inner_join(self, inputs):
        self.all = [one.seen for one in inputs] + [self.index]
        self.merge_artifacts(inputs, include=["base", "common"])
        self.next(self.outer_join)

    @step
    def outer_join(self, inputs):
        self.all = [one.all for one in inputs] + [one.base for one in inputs]
        self.merge_artifacts(inputs, include=["common"])
        self.next(self.end)

    @step
    def end(self):
        self.final = len(self.all), self.common

        if self.final:
            self.early = 1
            return
        self.never = 2
"""

# What a script or a notebook ends with: whether all that the task left was computed again.
COMPARE = """
import json as _json, sys as _sys
_skipped = {"name"}
_differ = [
    _name
    for _name in recreated.artifacts
    if _name not in _skipped and repr(getattr(recreated.self, _name, "none")) != repr(getattr(recreated.task.data, _name))
]
print("COMPARED " + _json.dumps({"differ": _differ, "of": recreated.artifacts, "prefix": _sys.prefix}))
"""


def call(flows: Flows, *arguments: str | Path, cwd: Path | None = None) -> Ran:
    return flows.call(Path(flows.python).with_name("metaflow"), "debug", "task", *arguments, cwd=cwd)


def made(ran: Ran) -> Any:
    return json.loads(ran.succeeded().stdout[ran.stdout.index("{") :])


def compared(text: str) -> Any:
    (line,) = [line for line in text.splitlines() if line.startswith("COMPARED ")]
    return json.loads(line.removeprefix("COMPARED "))


def run_script(flows: Flows, document: Any, added: str = COMPARE) -> Ran:
    script = Path(document["script"])
    text = script.read_text(encoding="utf-8")
    # A step that returns ends the script.
    script.write_text(text.replace("raise StepReturned()", f"exec({added!r}); raise StepReturned()") + added)
    # Neither the folder nor what the shell knows may matter.
    return flows.using(METAFLOW_CONDA_CHANNELS=None).call(document["python"], script, cwd=Path("/"))


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def tasks_of(folder: Path, run: str) -> dict[str, list[str]]:
    """The tasks of a run of `Shapes` by step, in the order in which they were made."""
    root = folder / ".metaflow" / "Shapes" / run
    return {
        step.name: sorted((task.name for task in step.iterdir() if task.name.isdecimal()), key=int)
        for step in root.iterdir()
        if step.is_dir() and not step.name.startswith("_")
    }


def test_scripts_of_all_kinds_of_steps_compute_again_what_the_tasks_left(flows: Flows, tmp_path: Path) -> None:
    (flows.folder / "helper.py").write_text("def twice(x):\n    return 2 * x\n")
    flow = flows.write(SHAPES)
    with_package = flows.using(METAFLOW_FEAT_ALWAYS_UPLOAD_CODE_PACKAGE="1")
    run = with_package.run(flow, "--tag", "mine", "--limit", "3").succeeded().run_id
    tasks = tasks_of(flows.folder, run)
    # What the run had is what counts.
    flow.write_text("gone")
    (flows.folder / "helper.py").unlink()
    before = content(flows.folder / ".metaflow" / "Shapes")

    folder, outcomes = tmp_path / "debug", {}
    chosen = {step: ids[-1:] for step, ids in tasks.items()} | {"loop": tasks["loop"][:2]}
    for step, ids in chosen.items():
        for task in ids:
            document = made(
                call(flows, f"Shapes/{run}/{step}/{task}", "--metaflow-root-dir", folder, "--no-notebook", "--json")
            )
            assert document["code_package"]
            outcome = compared(run_script(flows, document).succeeded().stdout)
            outcomes[f"{step}/{task}"] = outcome["differ"]
            assert outcome["of"]
            assert outcome["prefix"].endswith(document["environment"])
    assert outcomes == {f"{step}/{task}": [] for step, ids in chosen.items() for task in ids}
    assert content(flows.folder / ".metaflow" / "Shapes") == before


TWO = """
class Two(FlowSpec):
    size = Parameter("size", default=5, type=int)

    @step
    def start(self):
        self.xs = [self.size, 6]
        self.next(self.double, foreach="xs")

    @step
    def double(self):
        self.y = 2 * self.input
        self.next(self.join)

    @conda(packages={"six": "1.16"})
    @step
    def join(self, inputs):
        import six
        self.six = six.__version__
        self.ys = [one.y for one in inputs]
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        self.done = True
"""


def notebook_outputs(flows: Flows, document: Any, added: str, monkeypatch: pytest.MonkeyPatch, cwd: Path) -> str:
    for name, value in flows.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("METAFLOW_CONDA_CHANNELS")
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    found = nbformat.read(document["notebook"], as_version=4)
    nbformat.validate(found)
    assert found.metadata.kernelspec.name == document["kernel"]
    found.cells.append(nbformat.v4.new_code_cell(added))
    nbclient.NotebookClient(found, timeout=60, resources={"metadata": {"path": str(cwd)}}).execute()
    return "".join(output.text for output in found.cells[-1].outputs if output.get("name") == "stdout")


def test_a_notebook_runs_the_step_in_a_kernel_of_its_own(
    flows: Flows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flows.run(TWO).succeeded()
    folder = tmp_path / "debug"
    document = made(call(flows, "Two/latest/join", "--metaflow-root-dir", folder, "--json"))
    outcome = compared(notebook_outputs(flows, document, COMPARE, monkeypatch, cwd=tmp_path))
    assert (outcome["differ"], outcome["of"]) == ([], ["name", "six", "size", "ys"])
    assert outcome["prefix"] == str(Path(document["python"]).parents[1])

    after = made(call(flows, "step:Two/latest/join", "--metaflow-root-dir", folder, "--json", "--inspect"))
    shown = notebook_outputs(flows, after, "print(self.ys, [one.y for one in inputs], self.size)", monkeypatch, folder)
    assert shown == "[10, 12] [10, 12] 5\n"
    assert "for one in inputs" in Path(after["notebook"]).read_text()


def test_a_folder_is_used_again_by_us_and_never_taken_from_others(flows: Flows, tmp_path: Path) -> None:
    flows.run(TWO).succeeded()
    folder = tmp_path / "debug"
    folder.mkdir()
    first = made(call(flows, "Two/latest/start", "--metaflow-root-dir", folder, "--no-notebook", "--json"))
    (folder / "mine.txt").write_text("mine")
    second = made(call(flows, "Two/latest/join", "--metaflow-root-dir", folder, "--no-notebook", "--json"))
    assert (Path(first["script"]).exists(), Path(second["script"]).exists()) == (False, True)
    assert (folder / "mine.txt").read_text() == "mine"

    moved = tmp_path / "moved"
    folder.rename(moved)
    document = second | {"script": str(moved / Path(second["script"]).name)}
    assert compared(run_script(flows, document).succeeded().stdout)["differ"] == []

    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "file").write_text("theirs")
    (tmp_path / "plain").write_text("theirs")
    before = content(tmp_path / "theirs")
    refused = call(flows, "Two/latest/join", "--metaflow-root-dir", tmp_path / "theirs", "--no-notebook")
    assert refused.code == 2
    assert (
        f"--metaflow-root-dir: the folder `{tmp_path / 'theirs'}` has content that is not from an earlier"
        in refused.stderr
    )
    assert content(tmp_path / "theirs") == before
    plain = call(flows, "Two/latest/join", "--metaflow-root-dir", tmp_path / "plain", "--no-notebook")
    assert (plain.code, f"`{tmp_path / 'plain'}` is not a folder" in plain.stderr) == (2, True)


def test_a_step_without_an_environment_takes_that_of_another(flows: Flows, tmp_path: Path) -> None:
    flows.run(TWO).succeeded()
    folder = tmp_path / "debug"
    refused = call(flows, "Two", "--metaflow-root-dir", folder, "--no-notebook")
    assert refused.code == 2
    assert "did not run in an environment of this package" in refused.stderr
    assert "--override-env" in refused.stderr
    assert not folder.exists()

    options = ("--metaflow-root-dir", folder, "--no-notebook", "--json")
    environment = made(call(flows, "Two/latest/start", *options))["environment"]
    for option in (("--override-env-from-pathspec", "Two/latest/start"), ("--override-env", environment[:12])):
        document = made(call(flows, "Two", *options, *option))
        outcome = compared(run_script(flows, document).succeeded().stdout)
        assert (outcome["differ"], outcome["prefix"].endswith(environment)) == ([], True)

    both = call(flows, "Two", *options, "--override-env", "a", "--override-env-from-pathspec", "b")
    assert json.loads(both.stdout[both.stdout.index("{") :])["error"] == {
        "kind": "InvalidSpec",
        "message": "--override-env and --override-env-from-pathspec both name an environment",
        "hint": "Use one of them",
        "output": "",
        "exit_code": 2,
    }


FAILS = """
class Fails(FlowSpec):
    @step
    def start(self):
        self.x = 1
        self.next(self.breaks)

    @retry(times=1, minutes_between_retries=0)
    @step
    def breaks(self):
        self.attempt = current.retry_count

        self.x = 2
        raise ValueError("on purpose")
        self.next(self.end)

    @step
    def end(self):
        pass
"""


def test_a_failed_task_is_there_as_it_was_before_and_as_far_as_it_came(flows: Flows, tmp_path: Path) -> None:
    ran = flows.run(FAILS)
    assert ran.code == 1
    options = ("--metaflow-root-dir", tmp_path / "debug", "--no-notebook", "--json")
    task = f"Fails/{ran.run_id}/breaks"

    document = made(call(flows, task, *options))
    Path(document["script"]).write_text(
        Path(document["script"])
        .read_text()
        .replace("self.attempt =", "print(self.x)\nself.attempt =")
        .replace("self.x = 2", "print(self.attempt)\nself.x = 2")
    )
    again = flows.call(document["python"], document["script"])
    assert (again.code, again.stdout) == (1, "1\n1\n")
    assert again.stderr.splitlines()[-1] == "ValueError: on purpose"

    after = made(call(flows, task, *options, "--inspect"))
    assert run_script(flows, after, "print(self.x, self.attempt)").succeeded().stdout == "2 1\n"

    # Killed, a task leaves no word of its end.
    for note in (flows.folder / ".metaflow" / "Fails" / ran.run_id / "breaks").glob("*/_meta/*attempt-done*"):
        note.unlink()
    refused = call(flows, task, *options, "--inspect")
    assert (refused.code, "did not end, so that there is no state after it" in refused.stdout) == (2, True)
    made(call(flows, task, *options))

    for arguments, words in {
        ("Fails",): "PATHSPEC: no run of `Fails` was successful",
        (f"Fails/{ran.run_id}",): f"PATHSPEC: the run `Fails/{ran.run_id}` did not reach its step `end`",
        (f"Fails/{ran.run_id}/end",): f"PATHSPEC: there is no flow, run, step or task `Fails/{ran.run_id}/end`",
    }.items():
        refused = call(flows, *arguments, *options)
        assert (refused.code, words in refused.stdout) == (2, True), refused.text


def test_what_is_not_there_is_refused_by_one_sentence(flows: Flows, tmp_path: Path) -> None:
    ran = flows.run(TWO).succeeded()
    options = ("--metaflow-root-dir", tmp_path / "debug", "--no-notebook", "--json")

    def message(pathspec: str) -> str:
        refused = call(flows, pathspec, *options)
        assert (refused.code, "Traceback" in refused.text) == (2, False), refused.text
        error = json.loads(refused.stdout[refused.stdout.index("{") :])["error"]
        return f"{error['message']}; {error['hint']}".replace(ran.run_id, "RUN")

    where = "; Check flow, run and step, and that the run was made with the metadata service of this project"
    form = "; Write `MyFlow`, `MyFlow/1234`, `MyFlow/1234/train` or `MyFlow/1234/train/5`"
    missing = ["None", "Two/1", f"Two/{ran.run_id}/none", f"Two/{ran.run_id}/join/99", "None/latest/start"]
    expected = {
        **{
            text: f"PATHSPEC: there is no flow, run, step or task `{text}`{where}".replace(ran.run_id, "RUN")
            for text in missing
        },
        **{
            text: f"PATHSPEC: `{text}` names no flow, run, step or task{form}"
            for text in ("", "a b", "a/b/c/d/e", "a//b")
        },
        f"Two/{ran.run_id}/_parameters/0": "PATHSPEC: `Two/RUN/_parameters/0` is no task of a step; Name a step of the flow",
        "Two/latest/double": "PATHSPEC: the step `Two/RUN/double` has 2 tasks; Name one: `Two/RUN/double/2` (xs=5), "
        "`Two/RUN/double/3` (xs=6)",
    }
    assert {text: message(text) for text in expected} == expected
    assert not (tmp_path / "debug").exists()


def test_without_a_package_the_flows_file_is_used_where_it_is_or_missed(flows: Flows, tmp_path: Path) -> None:
    ran = flows.run(TWO).succeeded()
    options = ("--metaflow-root-dir", tmp_path / "debug", "--no-notebook")
    told = call(flows, "Two/latest/join", *options).succeeded()
    flow = flows.folder / "flow.py"
    assert f"The run kept no code package: {flow} is used as it is now, with this Metaflow." in told.stderr

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    flow.rename(elsewhere / "flow.py")
    refused = call(flows, "Two/latest/join", *options)
    assert refused.code == 2
    assert (
        f"the run of `Two/{ran.run_id}/join/4` kept no code package, and its flow's file is not there any more"
        in refused.stderr
    )
    shutil.copytree(flows.folder / ".metaflow", elsewhere / ".metaflow")
    found = made(call(flows, "Two/latest/join", *options, "--json", cwd=elsewhere))
    assert found["flow_file"] == str(elsewhere / "flow.py")


@pytest.mark.parametrize("command", [("debug", "task", "Two/1"), ("environment", "show", "Two/1/start")])
def test_metadata_that_nobody_gives_is_told_without_the_password(
    flows: Flows, tmp_path: Path, command: tuple[str, ...]
) -> None:
    away = flows.using(
        METAFLOW_DEFAULT_METADATA="service",
        METAFLOW_SERVICE_URL="http://me:hidden-word@127.0.0.1:9",
        METAFLOW_SERVICE_RETRY_COUNT="1",
    )
    options = ("--metaflow-root-dir", tmp_path / "debug") if command[0] == "debug" else ()
    ran = away.call(Path(flows.python).with_name("metaflow"), *command, *options)
    assert (ran.code, "Traceback" in ran.text, "hidden-word" in ran.text) == (5, False, False), ran.text
    assert "the metadata of runs cannot be read from `service@http://127.0.0.1:9`" in ran.stderr
