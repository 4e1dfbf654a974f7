"""The page on migration is true: its flows run, its pairs are what the command makes of them."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mfenv.migrate.rewrite import rewrite
from mfenv.migrate.settings import changed_settings

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
    assert (len(RUNNING), len(PAIRS)) == (4, 8)


@pytest.mark.parametrize("flow", RUNNING)
def test_an_example_runs_as_it_stands(flow: str, flows: Flows) -> None:
    prefixes = ("UV_", "SSL_CERT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    reaching = flows.using(**{name: value for name, value in os.environ.items() if name.startswith(prefixes)})
    path = flows.folder / "example.py"
    path.write_text(flow, encoding="utf-8")
    reaching.run(path).succeeded()


@pytest.mark.parametrize(("before", "now"), PAIRS)
def test_a_pair_is_what_the_command_makes_of_it(before: str, now: str) -> None:
    step = "    @step\n    def start(self): ...\n"
    names = "FlowSpec, step, conda, pip, pypi, named_env"

    def flow(decorators: str) -> str:
        return (
            f"from metaflow import {names}\n\nclass F(FlowSpec):\n"
            + re.sub(r"^", "    ", decorators, flags=re.M).rstrip()
            + f"\n{step}"
        )

    found = rewrite(flow(before), shown="flow.py")
    assert found.notes == ()
    assert found.text.partition("class")[2] == flow(now).partition("class")[2]


def test_the_commands_on_the_page_work(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(
        "from metaflow import FlowSpec, pip, step\n\n@pip_base\nclass F(FlowSpec):\n    @pip\n    @step\n    def start(self): ...\n"
    )
    for line in re.findall(r"^\$ (metaflow .*)$", PAGE, re.MULTILINE):
        command = [str(Path(sys.executable).with_name("metaflow")), *line.split()[1:]]
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "USER": "tester"}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
    assert "@pypi\n" in (tmp_path / "flow.py").read_text()


def test_the_table_of_settings_is_that_of_the_command() -> None:
    lines = changed_settings(lambda _name: "something")
    named = {line.partition(":")[0].removeprefix("METAFLOW_") for line in lines}
    table = PAGE.partition("## Settings")[2]
    assert set(re.findall(r"`((?:CONDA|PYLOCK)_[A-Z_]+)`", table)) == named
