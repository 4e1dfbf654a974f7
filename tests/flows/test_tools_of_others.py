"""Flows whose packages are chosen by conda's programs and by pip."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from mfenv.testing import conda_programs
from mfenv.testing.channel import ChannelServer
from mfenv.testing.index import IndexFolder
from mfenv.testing.wheels import MadeWheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Flows

FLOW = """
class Tools(FlowSpec):
    @conda(packages={"six": "1.16.0"})
    @step
    def start(self):
        import six
        tell(six=six.__version__)
        self.next(self.mixed)

    @conda(packages={"six": ""})
    @pypi(packages={"attrs": "23.1.0"})
    @step
    def mixed(self):
        import attr, six
        tell(six=six.__version__, attr=attr.__version__)
        self.next(self.end)

    @step
    def end(self):
        pass
"""


@pytest.fixture
def reaching(flows: Flows) -> Flows:
    """Runs flows that reach the package index as this machine is set up to."""
    prefixes = ("UV_", "SSL_CERT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "PIP_CERT", "REQUESTS_CA")
    found = {name: value for name, value in os.environ.items() if name.startswith(prefixes)}
    return flows.with_own_environments().using(**found)


@pytest.mark.parametrize(
    ("conda", "version", "pypi"),
    [("micromamba", "2.8.1", "uv"), ("conda", "26.7.1", "pip"), ("rattler", "", "pip"), ("mamba", "1.5.8", "pip")],
)
def test_a_flow_runs_in_what_other_tools_chose(
    reaching: Flows, tmp_path: Path, conda: str, version: str, pypi: str
) -> None:
    chosen = {"METAFLOW_CONDA_DEPENDENCY_RESOLVER": conda, "METAFLOW_CONDA_PYPI_DEPENDENCY_RESOLVER": pypi}
    if version:
        conda_programs.program(tmp_path / "bin", conda, version)
        chosen["PATH"] = f"{tmp_path / 'bin'}{os.pathsep}{reaching.environment()['PATH']}"
    ran = reaching.using(**chosen).run(FLOW, timeout=240).succeeded()
    assert ran.fact("start")["six"] == "1.16.0"
    assert (ran.fact("mixed")["six"], ran.fact("mixed")["attr"]) == ("1.17.0", "23.1.0")
    notes = [path.read_text() for path in (reaching.folder / ".metaflow").rglob("provenance/*/*.json")]
    expected = f"{conda} {version}" if version else "rattler "
    assert all(expected in note for note in notes)
    assert any(f"+ {pypi}" in note or pypi in note for note in notes)


def test_a_step_of_both_sides_runs_in_what_conda_lock_chose(reaching: Flows, tmp_path: Path) -> None:
    conda_programs.program(tmp_path / "bin", "micromamba", "2.8.1")
    (tmp_path / "index").mkdir()
    IndexFolder(tmp_path / "index").add(MadeWheel(name="zz-app", version="1.0"))
    with ChannelServer(tmp_path / "index") as server:
        told = reaching.using(
            PATH=f"{tmp_path / 'bin'}{os.pathsep}{reaching.environment()['PATH']}",
            METAFLOW_CONDA_MIXED_DEPENDENCY_RESOLVER="conda-lock",
            METAFLOW_CONDA_DEFAULT_PYPI_SOURCE=f"{server.url}/index/simple",
            METAFLOW_CONDA_PYPI_INDEX_STRATEGY="unsafe-best-match",
        )
        ran = told.run(BOTH, timeout=240).succeeded()
    assert ran.fact("start") == {**ran.fact("start"), "six": "1.16.0", "app": "1.0"}
    notes = [path.read_text() for path in (reaching.folder / ".metaflow").rglob("provenance/*/*.json")]
    # A step of one side is resolved by that side's own.
    assert sorted({"conda-lock" in note for note in notes}) == [False, True]


BOTH = """
class Both(FlowSpec):
    @conda(packages={"six": "1.16.0"})
    @pypi(packages={"zz-app": "1.0"})
    @step
    def start(self):
        import six, zz_app
        tell(six=six.__version__, app=zz_app.version)
        self.next(self.end)

    @step
    def end(self):
        pass
"""


def test_a_program_that_is_not_there_is_one_error(reaching: Flows, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ran = reaching.using(METAFLOW_CONDA_DEPENDENCY_RESOLVER="micromamba", PATH=str(tmp_path / "empty"), MAMBA_EXE=None)
    done = ran.run(FLOW)
    assert done.code != 0
    assert "the program `micromamba`, which METAFLOW_CONDA_DEPENDENCY_RESOLVER names, is not there" in done.text
    assert "Traceback" not in done.text
