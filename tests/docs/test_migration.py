"""The page on migration is true: its flows run, its pairs are what the command makes of them."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mfenv.app import settings
from mfenv.migrate.rewrite import rewrite
from mfenv.migrate.settings import VALUES, changed_settings

if TYPE_CHECKING:
    from tests.conftest import Flows

PAGE = (Path(__file__).parents[2] / "docs" / "migration.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
PAIRS = [
    (one.removeprefix("# before\n"), other.removeprefix("# now\n"))
    for one, other in itertools.pairwise(BLOCKS)
    if one.startswith("# before") and other.startswith("# now")
]
RUNNING = [pytest.param(block, id=re.findall(r"class (\w+)", block)[0]) for block in BLOCKS if "FlowSpec" in block]


def test_every_block_is_a_flow_or_half_of_a_pair() -> None:
    assert len(BLOCKS) == len(RUNNING) + 2 * len(PAIRS)
    assert (len(RUNNING), len(PAIRS)) == (4, 9)


@pytest.mark.parametrize("flow", RUNNING)
def test_an_example_runs_as_it_stands(flow: str, flows: Flows) -> None:
    prefixes = ("UV_", "SSL_CERT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    reaching = flows.using(**{name: value for name, value in os.environ.items() if name.startswith(prefixes)})
    path = flows.folder / "example.py"
    path.write_text(flow, encoding="utf-8")
    reaching.run(path).succeeded()


@pytest.mark.parametrize(("before", "now"), PAIRS)
def test_a_pair_is_what_the_command_makes_of_it(before: str, now: str) -> None:
    def flow(decorators: str) -> str:
        names = sorted(set(re.findall(r"^@(\w+)", decorators, re.MULTILINE)))
        indented = re.sub(r"^", "    ", decorators.rstrip(), flags=re.MULTILINE)
        imports = f"from metaflow import FlowSpec, step, {', '.join(names)}"
        return f"{imports}\n\nclass F(FlowSpec):\n{indented}\n    @step\n    def start(self): ...\n"

    found = rewrite(flow(before), shown="flow.py")
    assert found.notes == ()
    assert found.text.partition("class")[2] == flow(now).partition("class")[2]
    assert {"named_env", "pypi"} & set(re.findall(r"\w+", now)) <= set(
        re.findall(r"\w+", found.text.partition("class")[0])
    )


def commands_on(page: str) -> list[str]:
    blocks = re.findall(r"^```console\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]


def test_the_commands_on_the_page_work(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(
        "from metaflow import FlowSpec, pip, pip_base, step\n\n@pip_base\nclass F(FlowSpec):\n    @pip\n    @step\n    def start(self): ...\n"
    )
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "USER": "tester",
    }
    commands = commands_on(PAGE)
    for line in commands:
        subprocess.run(line.split(), cwd=tmp_path, env=environment, capture_output=True, check=True, timeout=60)
    assert len(commands) == 3
    assert {"@pypi_base", "@pypi"} < set((tmp_path / "flow.py").read_text().split())


def test_the_commands_for_programs_work(tmp_path: Path) -> None:
    """Those on the page of the reference: what they print is JSON and nothing else."""
    (tmp_path / "flow.py").write_text("import metaflow\n")
    reference = (Path(__file__).parents[2] / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "USER": "tester",
    }
    [command] = commands_on(reference)
    done = subprocess.run(command.split(), cwd=tmp_path, env=environment, capture_output=True, check=True, timeout=60)
    assert json.loads(done.stdout)["files"][0]["file"] == "flow.py"


def test_the_tables_of_settings_are_those_of_the_command() -> None:
    same, changed = (
        table.partition("\n\n")[0] for table in PAGE.partition("## Settings")[2].split("\n| --- | --- |\n")[1:]
    )
    rows = re.findall(r"^\| (.*?) \| (.*) \|$", changed, re.MULTILINE)
    told = {f"METAFLOW_{name}: {text}" for names, text in rows for name in re.findall(r"`(\w+)`", names)}
    assert told == set(changed_settings(lambda name: min(VALUES[name][0]) if name in VALUES else "something", {}))

    asked = list[str]()
    settings.read(lambda name: asked.append(name), {"HOME": "/home/me"})
    assert set(re.findall(r"^\| `(\w+)`", same, re.MULTILINE)) <= set(asked)
