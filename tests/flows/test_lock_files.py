"""Lock files of a project, and environments of earlier runs that others build upon, in real flows."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from mfenv.resolve.backends.uv import find_uv

if TYPE_CHECKING:
    from tests.conftest import Flows

PROJECT = """
[project]
name = "shop"
version = "1"
requires-python = ">=3.10"
dependencies = ["humanize", "lib"]
[dependency-groups]
more = ["tabulate"]
[tool.uv.sources]
lib = { path = "lib" }
"""
LIB = """
[project]
name = "lib"
version = "1"
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[tool.setuptools]
packages = ["lib"]
"""
IMPORTS = "from metaflow import named_env, resolved_uv\n"
FIRST = """
class First(FlowSpec):
    @pypi(file="uv.lock", groups=["more"])
    @step
    def start(self):
        from importlib import metadata
        import lib
        names = ("humanize", "tabulate", "lib", "requests", "pip")
        have = {found.metadata["Name"] for found in metadata.distributions()}
        tell(versions={name: metadata.version(name) for name in names if name in have}, says=lib.SAYS)
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        pass
"""
SECOND = """
class Second(FlowSpec):
    @named_env(pathspec="First/latest/start")
    @conda(packages={"itsdangerous": ""})
    @step
    def start(self):
        from importlib import metadata
        tell(versions={name: metadata.version(name) for name in ("humanize", "tabulate", "lib", "requests", "itsdangerous")})
        self.next(self.end)

    @named_env(pathspec="First/latest/start")
    @step
    def end(self):
        tell()
"""
WHOLE = """
@resolved_uv
class Whole(FlowSpec):
    @step
    def start(self):
        import humanize, lib
        tell(tabulate=__import__("importlib.util").util.find_spec("tabulate") is not None)
        self.next(self.end)

    @step
    def end(self):
        import humanize
"""


@pytest.fixture
def project(flows: Flows) -> Flows:
    """Runs flows in the folder of a project that uv has locked."""
    prefixes = ("UV_", "SSL_CERT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    reaching = flows.using(**{name: value for name, value in os.environ.items() if name.startswith(prefixes)})
    folder = flows.folder
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "lib" / "lib").mkdir(parents=True)
    (folder / "lib" / "pyproject.toml").write_text(LIB)
    (folder / "lib" / "lib" / "__init__.py").write_text("SAYS = 'one'\n")
    subprocess.run(
        [find_uv(), "lock"],
        cwd=folder,
        env={**os.environ, **reaching.environment()},
        check=True,
        capture_output=True,
        timeout=60,
    )
    return reaching


def test_a_lock_file_is_taken_as_it_is_and_can_be_built_upon(project: Flows) -> None:
    locked = (project.folder / "uv.lock").read_text()
    first = project.run(FIRST).succeeded()
    facts = first.fact("start")
    versions = facts["versions"]
    assert f'name = "humanize"\nversion = "{versions["humanize"]}"' in locked
    # What Metaflow needs is there too; what nobody asked for is not.
    assert (sorted(versions), facts["says"]) == (["humanize", "lib", "requests", "tabulate"], "one")

    again = project.run(FIRST).succeeded()
    assert "Resolving" not in again.stdout + again.stderr
    assert again.fact("start")["prefix"] == facts["prefix"]

    second = project.run(IMPORTS + SECOND).succeeded()
    extended = second.fact("start")
    assert {name: extended["versions"][name] for name in versions} == versions
    assert "itsdangerous" in extended["versions"]
    # What has all that is asked for is used as it is.
    assert second.fact("end")["prefix"] == facts["prefix"] != extended["prefix"]

    (project.folder / "lib" / "lib" / "__init__.py").write_text("SAYS = 'two'\n")
    changed = project.run(FIRST).succeeded().fact("start")
    assert (changed["says"], changed["versions"]) == ("two", versions)


@pytest.mark.parametrize("arguments", [(), ("--tag", "step"), ("--tag", "spin-step")])
def test_a_whole_flow_runs_in_what_its_project_is_locked_to(project: Flows, arguments: tuple[str, ...]) -> None:
    """Whatever words there are on the command line."""
    assert project.run(IMPORTS + WHOLE, *arguments).succeeded().fact("start")["tabulate"] is False


def test_a_project_and_a_decorator_cannot_both_say_what_a_step_runs_in(project: Flows) -> None:
    ran = project.run(
        IMPORTS
        + WHOLE.replace("    @step\n    def start", "    @conda(packages={'six': ''})\n    @step\n    def start")
    )
    assert ran.code == 1
    assert "@resolved_uv says what all steps run in, but there is @conda of step `start` as well" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_project_that_is_not_there_is_said(flows: Flows) -> None:
    ran = flows.run(IMPORTS + WHOLE)
    assert ran.code == 1
    assert "there is no uv.lock and pyproject.toml in" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("pathspec", "words"),
    [
        ("Nowhere/latest/start", "there is no step `Nowhere/latest/start`"),
        ("Refused/1/start", "there is no step `Refused/1/start`"),
    ],
)
def test_a_step_that_never_ran_cannot_be_built_upon(flows: Flows, pathspec: str, words: str) -> None:
    ran = flows.run(
        IMPORTS
        + f"""
class Refused(FlowSpec):
    @named_env(pathspec="{pathspec}")
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass
"""
    )
    assert ran.code == 1
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr
