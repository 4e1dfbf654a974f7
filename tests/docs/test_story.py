"""The story on its page, in a real terminal: from files to a machine without a network. And the program for Python."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import nbclient
import nbformat
import pexpect
import pytest

if TYPE_CHECKING:
    from tests.conftest import Flows

ROOT = Path(__file__).parents[2]
STORY = (ROOT / "docs" / "story.md").read_text(encoding="utf-8")
PYTHON = (ROOT / "docs" / "how-to" / "python.md").read_text(encoding="utf-8")
PROMPT = "READY-0123>"


def block(text: str, kind: str) -> str:
    found = re.search(rf"^```{kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found, kind
    return found[1]


def lines(kind: str) -> list[str]:
    blocks = re.findall(rf"^```{kind}\n(.*?)^```", STORY, re.MULTILINE | re.DOTALL)
    return [line[2:] for part in blocks for line in part.splitlines() if line.startswith("$ ")]


@pytest.fixture
def flows(flows: Flows) -> Flows:
    """Runs programs that reach the package index as this machine is set up to: certificates, proxies, mirrors."""
    prefixes = ("UV_", "SSL_CERT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    found = {name: value for name, value in os.environ.items() if name.startswith(prefixes)}
    return flows.with_own_environments().using(
        PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        TERM="xterm",
        JUPYTER_DATA_DIR=str(flows.home / "jupyter"),
        **found,
    )


class Terminal:
    """A shell in a real terminal, in which lines are typed one by one."""

    def __init__(self, environment: dict[str, str], folder: Path, before: tuple[str, ...] = ()) -> None:
        self.shell = pexpect.spawn(
            [*before, "bash"][0],
            [*before, "bash", "--norc", "-i"][1:],
            cwd=str(folder),
            env={**environment, "PS1": PROMPT},
            encoding="utf-8",
            timeout=180,
            dimensions=(50, 200),
        )
        self.shell.expect_exact(PROMPT)

    def type(self, line: str) -> str:
        """Type a line, and return what it printed; it has to end well."""
        # The terminal shows what is typed: the code is asked for in a way that does not look like its answer.
        self.shell.sendline(f'{line}; echo "CODE=""$?."')
        self.shell.expect(r"CODE=(\d+)\.")
        said, code = str(self.shell.before), self.shell.match[1]
        self.shell.expect_exact(PROMPT)
        assert code == "0", f"$ {line}\nended with {code}\n{said}"
        assert "Traceback" not in said, said
        return said


def test_the_whole_story(flows: Flows, tmp_path: Path) -> None:
    (flows.folder / "requirements.txt").write_text(block(STORY, "text"))
    (flows.folder / "flow.py").write_text(block(STORY, "python no-run"))
    here = Terminal(flows.environment(), flows.folder)
    said = {line: here.type(line) for line in lines("console")}
    assert "made with six 1.16.0" in said["python flow.py --environment=conda run"]
    assert "+ attrs" in said["metaflow environment diff team/story:v1 team/story:v2"]

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import attr, six; print(six.__version__)")])
    before = dict(os.environ)
    os.environ.update({"HOME": str(flows.home), "JUPYTER_DATA_DIR": str(flows.home / "jupyter")})
    try:
        nbclient.NotebookClient(notebook, kernel_name="mf_team_story_v2", timeout=60).execute()
    finally:
        os.environ.clear()
        os.environ.update(before)
    assert notebook.cells[0].outputs[0]["text"] == "1.16.0\n"

    there = tmp_path / "there"
    (there / "project").mkdir(parents=True)
    (flows.folder / "story.pack").rename(there / "project" / "story.pack")
    bare = {
        **flows.environment(),
        "HOME": str(there),
        "METAFLOW_CONDA_LOCAL_PATH": str(there / "environments"),
        # Neither channel nor index is in reach.
        "METAFLOW_CONDA_CHANNELS": (there / "no-channel").as_uri(),
        "UV_OFFLINE": "1",
    }
    away = Terminal(bare, there / "project", before=_without_network())
    said = {line: away.type(line) for line in lines("console there")}
    assert any("here is six 1.16.0" in text for text in said.values())


def _without_network() -> tuple[str, ...]:
    """Return what runs a program with no network at all, where this machine lets us."""
    probe = ["unshare", "--net", "--map-root-user", "true"]
    done = subprocess.run(probe, capture_output=True, check=False) if sys.platform == "linux" else None
    return ("unshare", "--net", "--map-root-user") if done and done.returncode == 0 else ()


def test_the_program_on_the_page_for_python_works(flows: Flows) -> None:
    program = flows.folder / "program.py"
    program.write_text(block(PYTHON, "python"))
    ran = flows.call(flows.python, program).succeeded()
    assert "upgraded six" in ran.stdout
    assert "no environment is known by the name `nobody:v1`" in ran.stdout
