"""An editor knows every argument: Metaflow's own stubs have our decorators, with types."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_GENERATE = """
import sys
from metaflow.cmd.develop.stub_generator import StubGenerator
StubGenerator(sys.argv[1]).write_out()
"""
FLOW = """
from metaflow import FlowSpec, conda, conda_base, named_env, named_env_base, pip, pip_base, pypi, pypi_base, step, sys_packages, sys_packages_base

@conda_base(packages={"a": "1"}, libraries={}, channels=["x"], python="3.11", file="environment.yml", groups=["g"], optional_dependencies=["o"], exclude_newer="30 days", disabled=False)
@pypi_base(packages={"a": "1"}, conda_only={"b": ""}, extra_indices=["i"], extras=["pre"], python="3.11", file="uv.lock", groups=["g"], optional_dependencies=["o"], exclude_newer="30 days", disabled=False)
@named_env_base(name="a", pathspec="F/1/a", fetch_at_exec=True, disabled=False)
@sys_packages_base(packages={"__cuda": "12"}, disabled=False)
@pip_base(packages={"a": "1"})
class Typed(FlowSpec):
    @conda(packages={"a": "1"}, libraries={}, channels=["x"], python="3.11", file="environment.yml", groups=["g"], optional_dependencies=["o"], exclude_newer="30 days", disabled=False, pip_packages={}, pip_sources=[], sources=[], name="a", pathspec="b", fetch_at_exec=True)
    @pypi(packages={"a": "1"}, conda_only={"b": ""}, extra_indices=["i"], extras=["pre"], python="3.11", file="uv.lock", groups=["g"], optional_dependencies=["o"], exclude_newer="30 days", disabled=False, sources=[])
    @named_env(name="a", pathspec="F/1/a", fetch_at_exec=True, disabled=False)
    @sys_packages(packages={"__cuda": "12"}, disabled=False)
    @pip(packages={"a": "1"})
    @step
    def start(self) -> None:
        pass
"""


@pytest.fixture(scope="session")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what `metaflow develop stubs install` would install."""
    folder = tmp_path_factory.mktemp("stubs")
    command = [sys.executable, "-c", _GENERATE, str(folder / "metaflow-stubs")]
    subprocess.run(
        command, cwd=folder, env={**os.environ, "USER": "tester"}, check=True, capture_output=True, timeout=120
    )
    # Where mypy looks for modules that are not installed, it takes a folder by the module's own name.
    (folder / "metaflow").symlink_to("metaflow-stubs")
    return folder


def errors(text: str, stubs: Path, folder: Path) -> list[str]:
    (folder / "flow.py").write_text(text)
    command = [sys.executable, "-m", "mypy", "--no-incremental", "--config-file=", "--follow-imports=silent", "flow.py"]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(stubs)},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    return [line for line in done.stdout.splitlines() if line.startswith("flow.py") and "error" in line]


def test_every_argument_of_every_decorator_has_a_type(stubs: Path, tmp_path: Path) -> None:
    assert errors(FLOW, stubs, tmp_path) == []


def test_wrong_types_and_unknown_arguments_are_found(stubs: Path, tmp_path: Path) -> None:
    wrong = FLOW.replace('channels=["x"]', "channels=3").replace(
        "fetch_at_exec=True, disabled=False)\n    @sys", "nonsense=True)\n    @sys"
    )
    found = errors(wrong, stubs, tmp_path)
    assert [line.split(":")[1] for line in found if "note" not in line] != []
    assert any("conda_base" in line or "channels" in line for line in found)
    assert any("named_env" in line or "nonsense" in line for line in found)


@pytest.mark.parametrize(
    "name",
    [
        "conda",
        "pypi",
        "named_env",
        "sys_packages",
        "conda_base",
        "pypi_base",
        "named_env_base",
    ],
)
def test_every_name_is_documented_there(stubs: Path, name: str) -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in (stubs / "metaflow-stubs").rglob("*.pyi"))
    head = text.partition(f"def {name}(")[2].partition('"""')[2].partition('"""')[0]
    assert "Parameters" in head
