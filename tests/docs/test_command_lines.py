"""Every command line on the pages works, in a project as the pages imagine it, from the top of a page to its end."""

from __future__ import annotations

import re
import shlex
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mfenv.cli.commands import environment

if TYPE_CHECKING:
    from tests.conftest import Flows

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), ROOT / "examples" / "README.md"])

# Command lines that other tests or nobody can run, and why.
ELSEWHERE = {
    r"make ": "test_commands runs the demo, this is one of the tests",
    r"pip install ": "tests/install installs",
    r"python benchmarks/": "test_commands starts them",
    r"python -m mfenv.testing.channel ": "tests/unit/testing builds and serves",
    r"UV_CONFIG_FILE=\S+ python -m mfenv.testing.channel ": "the same",
    r"python (two_pandas|hello_conda)|python examples/": "test_snippets and test_hello run these flows",
    r"CONDA_OVERRIDE_CUDA=": "no channel has CUDA's builds here; tests/flows sets these variables",
    r"metaflow develop stubs": "tests/install/test_stubs.py",
    r"METAFLOW_CONDA_(PYPI_)?DEPENDENCY_RESOLVER=": "tests/flows/test_tools_of_others.py, with stand-ins",
    r"METAFLOW_CONDA_DENIED_PACKAGES=": "it is refused, as tests/cli/test_policy.py sees",
}

FLOW = """
from metaflow import *

class {name}(FlowSpec):
    @conda(libraries={{"six": "1.16"}})
    @step
    def start(self):
        self.items = [1, 2]
        self.next(self.train)

    @pypi(packages={{"attrs": ""}})
    @step
    def train(self):
        self.model = 3
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        pass

if __name__ == "__main__":
    {name}()
"""


def commands_on(page: Path) -> list[str]:
    """The command lines on a page; a backslash at the end of a line continues it."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line[2:].strip() for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def is_elsewhere(line: str) -> bool:
    return any(re.match(pattern, line) for pattern in ELSEWHERE)


def examples() -> list[str]:
    """The examples in the help of all commands, which the reference has too."""
    return [command.epilog.removeprefix("Example: ") for command in environment.commands.values() if command.epilog]


class Project:
    """A project as the pages imagine it: files, two flows that ran, and environments with names."""

    def __init__(self, flows: Flows) -> None:
        self.flows = flows.with_own_environments().using(
            PATH=f"{Path(sys.executable).parent}:{flows.environment()['PATH']}"
        )
        folder = flows.folder
        (folder / "environment.yml").write_text("dependencies: [six]\n")
        (folder / "requirements.txt").write_text("six\n")
        with zipfile.ZipFile(folder / "all.zip", "w") as archive:
            archive.writestr("one.json", '{"id": "GHSA-1", "affected": []}')
        for name, file in (("MyFlow", "flow.py"), ("Train", "train.py")):
            (folder / file).write_text(FLOW.format(name=name))
            ran = self.flows.run(folder / file).succeeded()
            setattr(self, name, ran.run_id)
        self.runs = {"Train/1234": f"Train/{self.Train}", "MyFlow/1234": f"MyFlow/{self.MyFlow}"}

    Train = MyFlow = ""

    def run(self, line: str) -> None:
        """Run a line as a shell does; ids of runs on pages stand for those there are."""
        for written, real in self.runs.items():
            line = line.replace(written, real)
        ran = self.flows.call("bash", "-c", line, timeout=200)
        assert ran.code == 0, f"$ {line}\nended with {ran.code}\n{ran.text}"
        assert "Traceback" not in ran.text, ran.text

    def name(self, *names: str) -> None:
        """Have environments with these names."""
        for index, name in enumerate(names):
            packages = ["--conda-pkg", "six=1.16", *(["--pypi-pkg", "attrs"] if index % 2 else [])]
            self.flows.call(
                sys.executable, "-m", "mfenv.cli", "environment", "resolve", *packages, "--alias", name
            ).succeeded()


@pytest.fixture
def flows(flows: Flows) -> Flows:
    """Runs programs that reach the package index as this machine is set up to: certificates, proxies, mirrors."""
    import os

    prefixes = ("UV_", "SSL_CERT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    return flows.using(**{name: value for name, value in os.environ.items() if name.startswith(prefixes)})


PLAYED = [page for page in PAGES if any(not is_elsewhere(line) for line in commands_on(page))]


@pytest.mark.parametrize("page", PLAYED, ids=lambda page: page.stem)
def test_the_command_lines_on_a_page_work(page: Path, flows: Flows) -> None:
    project = Project(flows)
    named = set(re.findall(r"--alias ([a-z][\w/.:-]*)", " ".join(commands_on(page))))
    # What a page takes for there, and does not name itself.
    project.name(*(name for name in ("team/env:v1", "team/env:v2") if name not in named))
    for line in commands_on(page):
        if not is_elsewhere(line):
            project.run(line)


def test_the_example_of_each_command_works(flows: Flows) -> None:
    project = Project(flows)
    project.name("team/env:v1", "team/env:v2", "team/project/train:stable", "team/project/train")
    lines = examples()
    assert len(lines) == len(environment.commands), "a command has no example"
    skipped = [line for line in lines if "--legacy" in line]
    for line in lines:
        if line in skipped:
            # tests/flows/test_legacy.py takes over what the existing product stored.
            continue
        if "resolve -r" in line or line.endswith("train:v1"):
            # Their names must be free.
            line = re.sub(r"(--alias |train:)\S+", r"\1new/name", line) if "resolve -r" in line else line
        project.run(line)


def test_pages_have_command_lines_and_each_reason_is_one() -> None:
    lines = [line for page in PAGES for line in commands_on(page)]
    assert len(lines) > 40
    assert [pattern for pattern in ELSEWHERE if not any(re.match(pattern, line) for line in lines)] == []
    for line in lines:
        shlex.split(line)
