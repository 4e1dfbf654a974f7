"""What moves on a terminal while something takes its time, and what everybody else reads."""

from __future__ import annotations

import io
import re
import sys
from typing import TYPE_CHECKING

import pexpect
import pytest

from mfenv.app.reporting import Live, is_terminal

if TYPE_CHECKING:
    from tests.conftest import Flows

FLOW = """
class Moves(FlowSpec):
    @conda(libraries={"six": ""})
    @step
    def start(self):
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        pass
"""


def on_a_terminal(flows: Flows, *command: str, **variables: str) -> str:
    environment = flows.using(TERM="xterm", **variables).environment()
    child = pexpect.spawn(
        command[0],
        list(command[1:]),
        cwd=str(flows.folder),
        env=environment,
        encoding="utf-8",
        timeout=120,
        dimensions=(40, 200),
    )
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0, child.before
    return str(child.before)


def moving(text: str) -> list[str]:
    """The states of lines that move: each begins with a spinner."""
    return re.findall(r"[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]\x1b\[0m ([^\x1b\r]*)", text)


def test_resolving_making_and_caching_move_on_a_terminal(cold_flows: Flows) -> None:
    command = (sys.executable, "-m", "mfenv.cli", "environment")
    text = on_a_terminal(cold_flows, *command, "resolve", "--conda-pkg", "six", "--alias", "a/b:v1")
    assert any(line.startswith("Resolving 1 environment") for line in moving(text))
    assert any(line.startswith("Caching packages") for line in moving(text))
    assert re.search(r"Resolving 1 environment \.\.\. done in \d+\.\d seconds\.", text)
    text = on_a_terminal(cold_flows, *command, "create", "a/b:v1")
    assert any("linking" in line for line in moving(text))
    assert re.search(r"Creating Conda environment [0-9a-f]{40} \.\.\. done in \d+\.\d seconds\.", text)


def test_a_run_shows_all_environments_that_are_made_at_once(cold_flows: Flows) -> None:
    path = cold_flows.write(FLOW.replace("disabled=True", 'libraries={"tzdata": ""}'))
    text = on_a_terminal(cold_flows, *map(str, cold_flows.command(path, "run")))
    assert any(re.search(r"/2 solved, \d+ packages", line) for line in re.sub(r"\x1b\[[\d;]*m", "", text).split("\r"))
    assert len({line[:66] for line in moving(text) if line.startswith("Creating Conda environment")}) == 2


def test_a_run_shows_what_it_waits_for(cold_flows: Flows) -> None:
    path = cold_flows.write(FLOW)
    command = [str(word) for word in cold_flows.command(path, "run")]
    text = on_a_terminal(cold_flows, *command)
    assert any(line.startswith("Resolving 1 environment") for line in moving(text))
    assert any(line.startswith("Creating Conda environment") for line in moving(text))
    assert re.search(r"Resolving 1 environment \.\.\. done in", text)
    # Nothing changed: nothing moves.
    assert moving(on_a_terminal(cold_flows, *command)) == []


@pytest.mark.parametrize(
    "variables", [{"TERM": "dumb"}, {"CI": "true"}, {"NO_COLOR": "1"}], ids=["dumb", "ci", "no colour"]
)
def test_a_terminal_that_cannot_move_gets_plain_lines(flows: Flows, variables: dict[str, str]) -> None:
    command = (sys.executable, "-m", "mfenv.cli", "environment", "resolve", "--conda-pkg", "six")
    text = on_a_terminal(flows.using(**variables), *command) if "TERM" not in variables else _dumb(flows, *command)
    assert moving(text) == []
    assert "\x1b" not in text
    assert re.search(r"Resolving 1 environment \.\.\. done in \d+\.\d seconds\.", text)


def _dumb(flows: Flows, *command: str) -> str:
    child = pexpect.spawn(
        command[0],
        list(command[1:]),
        cwd=str(flows.folder),
        env=flows.using(TERM="dumb").environment(),
        encoding="utf-8",
        timeout=120,
    )
    child.expect(pexpect.EOF)
    return str(child.before)


def test_a_pipe_gets_plain_lines_and_an_answer_alone_when_that_is_wanted(flows: Flows) -> None:
    command = (flows.python, "-m", "mfenv.cli", "environment")
    ran = flows.call(*command, "resolve", "--conda-pkg", "six").succeeded()
    assert "\x1b" not in ran.text
    assert re.search(r"^Resolving 1 environment \.\.\. done in \d+\.\d seconds\.$", ran.stderr, re.MULTILINE)
    quiet = flows.call(*command, "--quiet", "resolve", "--conda-pkg", "tzdata").succeeded()
    assert "Resolving" not in quiet.text
    failed = flows.call(*command, "resolve", "--conda-pkg", "no-such-package")
    assert re.search(r"^Resolving 1 environment \.\.\. failed in", failed.stderr, re.MULTILINE)


def test_nothing_is_drawn_where_nobody_looks() -> None:
    stream = io.StringIO()
    with Live("Working", stream=stream) as live:
        live.passed("a", 10)
        live.fetched({"fetched": "b", "bytes": 5})
        live.fetched({"linking": 2})
        live.fetched({"healed": "c"})
    assert (stream.getvalue(), live.files, live.size) == ("", 2, 15)
    assert not is_terminal(stream, {"TERM": "xterm"})
    stream.close()
    assert not is_terminal(stream, {"TERM": "xterm"})
