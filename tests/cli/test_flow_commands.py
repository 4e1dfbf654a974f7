"""`python flow.py environment resolve|show`, and the same by Metaflow's Runner."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Flows, Ran

FLOW = """
class Steps(FlowSpec):
    @conda(libraries={"six": "1.16"})
    @step
    def start(self):
        tell()
        self.next(self.train)

    @pypi(packages={"attrs": ""})
    @step
    def train(self):
        tell()
        self.next(self.late)

    @named_env(name="team/late:stable", fetch_at_exec=True)
    @step
    def late(self):
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        pass
"""


def call(flows: Flows, path: Path, *arguments: str, environment: str | None = "conda") -> Ran:
    return flows.call(*flows.command(path, "environment", *arguments, environment=environment))


def answer(flows: Flows, path: Path, *arguments: str) -> Any:
    output = flows.folder / "output.json"
    call(flows, path, *arguments, "--output", str(output)).succeeded()
    return json.loads(output.read_text())


def test_steps_are_resolved_once_and_the_run_has_nothing_to_resolve(flows: Flows) -> None:
    path = flows.write(FLOW)
    first = answer(flows, path, "resolve")
    assert list(first) == ["start", "train"]
    rows = {step: row["linux-64"] for step, row in first.items()}
    assert all(row["newly_resolved"] for row in rows.values())
    assert {package["name"] for package in rows["train"]["env"]["packages"]} >= {"attrs", "python"}
    again = answer(flows, path, "resolve")
    assert {step: row["linux-64"]["full_id"] for step, row in again.items()} == {
        step: row["full_id"] for step, row in rows.items()
    }
    assert not any(row["linux-64"]["newly_resolved"] for row in again.values())

    call(flows, path, "resolve", "start", "--alias", "team/late:stable").succeeded()
    ran = flows.run(path).succeeded()
    assert ran.resolved == 0
    assert ran.fact("start")["prefix"].endswith(rows["start"]["full_id"])


# A stand-in for a decorator that sends steps away, as others than Metaflow bring them.
ELSEWHERE = """
from metaflow.plugins.timeout_decorator import TimeoutDecorator
TimeoutDecorator.target_platform = "linux-aarch64"
"""


def test_a_step_is_what_it_is_on_the_machine_that_it_runs_on(flows: Flows) -> None:
    flows = flows.using(METAFLOW_CONDA_REMOTE_COMMANDS="timeout")
    path = flows.write(ELSEWHERE + FLOW.replace("    @conda(lib", "    @timeout(hours=1)\n    @conda(lib"))
    resolved = answer(flows, path, "resolve")
    assert {step: list(row) for step, row in resolved.items()} == {"start": ["linux-aarch64"], "train": ["linux-64"]}
    shown, here = answer(flows, path, "show"), answer(flows, path, "show", "--arch", "linux-64")
    assert shown["start"]["env_id"][1:] == [resolved["start"]["linux-aarch64"]["full_id"], "linux-aarch64"]
    assert [shown["train"], here["start"]["env_id"]] == [here["train"], None]


def test_what_would_be_resolved_is_shown_and_not_kept(flows: Flows) -> None:
    path = flows.write(FLOW)
    ran = call(flows, path, "resolve", "--dry-run").succeeded()
    assert "start: linux-64" in ran.stdout
    assert "+ six" in ran.stdout
    assert "late: looked up when its task starts: team/late:stable" in ran.stdout
    assert "end: disabled" in ran.stdout
    assert list((flows.folder / ".metaflow").rglob("*.cnd")) == []
    assert list((flows.folder / ".metaflow").rglob("locks")) == []


def test_each_step_is_shown_with_its_state_and_why(flows: Flows) -> None:
    path = flows.write(FLOW)
    before = answer(flows, path, "show")
    assert {step: row["state"] for step, row in before.items()} == {
        "start": ["unresolved"],
        "train": ["unresolved"],
        "late": ["fetch-at-exec of team/late:stable"],
        "end": ["disabled"],
    }
    assert before["start"]["why"] == "nobody resolved this request here"
    resolved = answer(flows, path, "resolve", "--local-only")
    row = answer(flows, path, "show", "start", "--local-only")["start"]
    assert row["state"][0] == "resolved"
    assert "cached" not in row["state"]
    assert row["env_id"] == [
        resolved["start"]["linux-64"]["req_id"],
        resolved["start"]["linux-64"]["full_id"],
        "linux-64",
    ]
    assert row["requested_hash"] == row["env_id"][0]
    assert "six ==1.16" in row["requested_packages"]
    assert row["why"].startswith("it came for this request on ")
    shared = answer(flows, path, "resolve")
    assert not shared["start"]["linux-64"]["newly_resolved"]
    assert "cached" in answer(flows, path, "show", "start")["start"]["state"]
    assert "start: resolved, cached" in call(flows, path, "show").succeeded().stdout


def test_a_base_that_has_everything_is_what_a_step_runs_in(flows: Flows) -> None:
    path = flows.write(
        """
class Upon(FlowSpec):
    @named_env(name="team/base:v1")
    @step
    def start(self):
        tell()
        self.next(self.end)

    @named_env(name="team/gone:v1")
    @step
    def end(self):
        pass
"""
    )
    found = answer(flows, path, "show")
    assert found["start"]["state"] == ["derived from team/base:v1", "error"]
    flows.call(
        flows.python, "-m", "mfenv.cli", "environment", "resolve", "--conda-pkg", "six", "--alias", "team/base:v1"
    ).succeeded()
    found = answer(flows, path, "show")
    assert found["start"]["state"][:2] == ["derived from team/base:v1", "compatible with base environment"]
    assert found["start"]["from_env_name"] == "team/base:v1"
    assert "no environment is known by the name `team/gone:v1`" in found["end"]["error"]["message"]
    assert "Names like it are" in found["end"]["error"]["hint"]


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (("resolve", "nope"), "conda", "the flow has no step `nope`"),
        (("show", "nope"), "conda", "the flow has no step `nope`"),
        (("show",), None, "the steps of this flow have no environments without --environment=conda"),
        (("resolve", "--alias", "a:b"), "conda", "--alias: 2 different environments cannot have one name"),
        (("resolve", "--arch", "beos-86"), "conda", "beos-86"),
        (("show", "--output", "no/such/folder/x"), "conda", "--output: `no/such/folder/x` cannot be written"),
    ],
)
def test_what_makes_no_sense_for_a_flow_is_refused(
    flows: Flows, arguments: tuple[str, ...], environment: str | None, words: str
) -> None:
    ran = call(flows, flows.write(FLOW), *arguments, environment=environment)
    assert (ran.code, "Traceback" in ran.text) == (2, False)
    assert words in ran.stderr


def test_all_that_fails_is_told_with_its_step(flows: Flows) -> None:
    path = flows.write(
        """
class Impossible(FlowSpec):
    @conda(libraries={"no-such-package": ""})
    @step
    def start(self):
        self.next(self.end)

    @conda(libraries={"another-missing": ""})
    @step
    def end(self):
        pass
"""
    )
    ran = call(flows, path, "resolve")
    assert ran.code == 3
    assert 'step `start`, @conda(libraries={"no-such-package": ""})' in ran.stderr
    assert 'step `end`, @conda(libraries={"another-missing": ""})' in ran.stderr


def test_the_environment_that_is_called_pypi_has_the_same_commands(flows: Flows) -> None:
    ran = call(flows, flows.write(FLOW), "show", environment="pypi").succeeded()
    assert "start: unresolved" in ran.stdout


def test_a_program_resolves_and_shows_by_the_runner(flows: Flows) -> None:
    flows.write(FLOW)
    program = flows.folder / "program.py"
    program.write_text(
        """
import json
from metaflow import Runner

with Runner("flow.py", pylint=False, environment="conda", show_output=False) as runner:
    assert runner.environment().show()["start"]["env"] is None
    planned = runner.environment().resolve("start", dry_run=True)
    assert planned == {"start": {"linux-64": (None, True)}}, planned
    found = runner.environment().resolve("start", "train", arch=["linux-64"])
    env, is_new = found["start"]["linux-64"]
    assert is_new and env["six"].version == "1.16.0", env
    assert env.env_type == "conda-only" and env.co_resolved_archs == ("linux-64",)
    shown = runner.environment().show("start")["start"]["env"]
    assert shown.env_id == env.env_id
    assert not runner.environment().resolve("start", alias="team/late:stable")["start"]["linux-64"][1]
    try:
        runner.environment().resolve("nope")
    except RuntimeError as error:
        assert "the flow has no step `nope`" in str(error)
    else:
        raise AssertionError
    run = runner.run().run

from mfenv import environment_of

print(json.dumps({step.id: str(environment_of(step)) for step in run} | {"resolved": str(env)}))
assert environment_of(run["start"].task).id == env.id
assert environment_of(f"Steps/{run.id}/end") is None
"""
    )
    ran = flows.call(flows.python, program, timeout=200).succeeded()
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told["start"] == told["resolved"]
    assert told["end"] == "None"
