"""Environments that have names: given, moved, built upon, looked up when a task starts; and what runs record of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Flows, Ran

USES = """
class Uses(FlowSpec):
    @named_env(name="team/project/env{tag}"{more})
    @step
    def start(self):
        from importlib import metadata
        tell(six=metadata.version("six"), id=os.environ.get("NOTHING", ""))
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        pass
"""
EXTENDS = """
class Extends(FlowSpec):
    @named_env(name="team/project/env:v1.0")
    @conda(packages={"itsdangerous": ""})
    @step
    def start(self):
        from importlib import metadata
        tell(versions={name: metadata.version(name) for name in ("six", "itsdangerous", "requests")})
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        pass
"""


def call(flows: Flows, *arguments: str) -> Ran:
    return flows.call(Path(flows.python).with_name("metaflow"), "environment", *arguments)


def document(ran: Ran) -> Any:
    return json.loads(ran.stdout[ran.stdout.index("{") :])


def resolved(flows: Flows, six: str, *arguments: str) -> str:
    """Resolve an environment with a version of six, and return its id."""
    (flows.folder / "environment.yml").write_text(f"dependencies: [six={six}]\n")
    [row] = document(call(flows, "resolve", "-f", "environment.yml", *arguments, "--json").succeeded())["environments"]
    lock: str = row["full_id"]
    return lock


def recorded(flows: Flows, flow: str, run: str) -> list[str]:
    """What the metadata of the start step says of its environment."""
    (found,) = (flows.folder / ".metaflow" / flow / run / "start").glob("*/_meta/*conda_env_id*")
    value: list[str] = json.loads(json.loads(found.read_text())["value"])
    return value


def test_a_name_runs_a_step_in_exactly_what_it_stands_for(flows: Flows) -> None:
    lock = resolved(flows, "1.16", "--alias", "team/project/env:v1.0", "--alias", "team/project/env")
    for tag in (":v1.0", "", ":latest"):
        ran = flows.run(USES.format(tag=tag, more="")).succeeded()
        assert "Resolving" not in ran.text
        assert ran.fact("start")["prefix"].endswith(lock)
        assert recorded(flows, "Uses", ran.run_id)[1] == lock


def test_a_name_that_moves_is_followed_by_the_next_run_and_each_run_says_what_it_had(flows: Flows) -> None:
    flow = USES.format(tag=":stable", more="")
    first = resolved(flows, "1.16", "--alias", "team/project/env:stable")
    one = flows.run(flow).succeeded()
    second = resolved(flows, "1.17")
    assert second != first
    call(flows, "alias", second, "team/project/env:stable").succeeded()
    other = flows.run(flow).succeeded()
    assert [recorded(flows, "Uses", ran.run_id)[1] for ran in (one, other)] == [first, second]
    assert [ran.fact("start")["six"] for ran in (one, other)] == ["1.16.0", "1.17.0"]
    told = document(call(flows, "history", "team/project/env:stable", "--json").succeeded())["aliases"]
    assert [list(row["environments"].values()) for row in told] == [[second], [first]]
    # What the first run had can be had again, from the run.
    call(flows, "alias", f"step:Uses/{one.run_id}/start", "team/project/env:again").succeeded()
    again = flows.run(USES.format(tag=":again", more="")).succeeded()
    assert again.fact("start")["prefix"].endswith(first)


def test_a_name_that_stays_cannot_be_moved_and_the_error_says_what_it_stands_for(flows: Flows) -> None:
    first = resolved(flows, "1.16", "--alias", "team/project/env:v1.0")
    second = resolved(flows, "1.17")
    ran = call(flows, "alias", second, "team/project/env:v1.0")
    assert ran.code == 5
    assert f"error: `team/project/env:v1.0` stands for {first} (linux" in ran.stderr
    assert "Traceback" not in ran.text
    assert document(call(flows, "alias", first, "team/project/env:v1.0", "--json").succeeded())["aliases"]


def test_a_name_is_given_for_the_platforms_that_are_asked_for(flows: Flows) -> None:
    lock = resolved(flows, "1.16", "--alias", "team/project/env:all")
    [row] = document(call(flows, "alias", "team/project/env:all", "team/project/env:one", "--json").succeeded())[
        "aliases"
    ]
    assert (list(row["environments"].values()), row["local_only"]) == ([lock], False)
    assert list(row["requests"]) == list(row["environments"])
    [arch] = row["environments"]
    call(flows, "alias", lock, "team/project/env:here", "--arch", arch).succeeded()
    ran = call(flows, "alias", "team/project/env:all", "team/project/env:no", "--arch", "osx-64", "--arch", arch)
    assert ran.code == 2
    assert f"error: --arch: `team/project/env:all` has no environment for osx-64, only for {arch}" in ran.stderr


def test_the_history_shows_the_name_of_this_project_alone_first(flows: Flows) -> None:
    first = resolved(flows, "1.16", "--alias", "team/project/env")
    second = resolved(flows, "1.17", "--alias", "team/project/env", "--local-only")
    told = document(call(flows, "history", "team/project/env", "--json").succeeded())["aliases"]
    assert [(row["local_only"], *row["environments"].values()) for row in told] == [(True, second), (False, first)]
    lines = call(flows, "history", "team/project/env").succeeded().stdout.splitlines()
    told = [line for line in lines if line.startswith("team/project/env:latest  ")]
    assert ["  tester  (in this project alone)" in line for line in told] == [True, False]


def test_building_upon_a_name_keeps_its_packages(flows: Flows) -> None:
    resolved(flows, "1.16", "--alias", "team/project/env:v1.0")
    ran = flows.run(EXTENDS).succeeded()
    versions = ran.fact("start")["versions"]
    assert versions["six"] == "1.16.0"
    assert set(versions) == {"six", "itsdangerous", "requests"}
    again = flows.run(EXTENDS).succeeded()
    assert "Resolving" not in again.text


def test_a_name_is_looked_up_when_the_task_starts(flows: Flows) -> None:
    flow = USES.format(tag=":stable", more=", fetch_at_exec=True")
    lock = resolved(flows, "1.16", "--alias", "team/project/env:stable")
    ran = flows.run(flow).succeeded()
    assert ran.fact("start")["prefix"].endswith(lock)
    assert recorded(flows, "Uses", ran.run_id)[1] == lock


def test_a_name_of_one_project_alone_means_nothing_to_others(flows: Flows, tmp_path: Path) -> None:
    lock = resolved(flows, "1.16", "--alias", "team/project/env:mine", "--local-only")
    flow = USES.format(tag=":mine", more="")
    assert flows.run(flow).succeeded().fact("start")["prefix"].endswith(lock)
    shared = flows.folder / ".metaflow" / "conda_env"
    assert not (shared / "mfenv" / "v1" / "aliases").exists()
    call(flows, "alias", "team/project/env:mine", "team/project/env:ours").succeeded()
    assert (shared / "mfenv" / "v1" / "aliases" / "team" / "project" / "env" / "ours.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("alias", "team/nothing", "team/x"), "SOURCE: no environment is known by the name `team/nothing:latest`"),
        (("alias", "ab" * 20, "team/x"), f"SOURCE: the environment `{'ab' * 20}` is not in the store"),
        (("alias", "step:Uses/1/start", "team/x"), "SOURCE: there is no step `Uses/1/start`"),
        (("alias", "Uses/1/start", "team/x", "--pathspec"), "SOURCE: there is no step `Uses/1/start`"),
        (("alias", "team/nothing", "Team/X"), "ALIAS: `Team/X` is not the name of an environment"),
        (("alias", "team/nothing", "ab" * 20), f"ALIAS: `{'ab' * 20}` is not a name"),
        (("history", "team/nothing:v1"), "ALIAS: no environment is known by the name `team/nothing:v1`"),
        (("resolve", "-f", "x.yml", "--alias", "a b"), "--alias: `a b` is not the name of an environment"),
    ],
)
def test_what_is_not_known_or_no_name_is_said(flows: Flows, arguments: tuple[str, ...], words: str) -> None:
    ran = call(flows, *arguments)
    assert (ran.code, "Traceback" in ran.text) == (2, False)
    assert words in ran.stderr
