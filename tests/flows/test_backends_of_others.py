"""Backends that another package brings: the example in the tree, installed as users install it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from uv import find_uv_bin

if TYPE_CHECKING:
    from tests.conftest import Flows

EXAMPLE = Path(__file__).parents[2] / "examples" / "approved_packages"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has the example package."""
    folder = tmp_path_factory.mktemp("backends")
    # A build leaves files beside what it builds.
    source = shutil.copytree(EXAMPLE, folder / "source")
    target = folder / "target"
    command = [find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def organisation(flows: Flows, installed: Path, tmp_path: Path) -> Flows:
    """A user whom an organisation told what to use."""
    approved = tmp_path / "approved.txt"
    approved.write_text("six tzdata")
    return flows.using(
        PYTHONPATH=str(installed),
        APPROVED_PACKAGES=str(approved),
        METAFLOW_CONDA_DEPENDENCY_RESOLVER="approved",
        METAFLOW_CONDA_INSTALLER="told",
        local_path=tmp_path / "mfenv",
    )


def test_a_resolver_of_another_package_is_asked(organisation: Flows) -> None:
    environment = (organisation.python, "-m", "mfenv.cli", "environment")
    refused = organisation.call(*environment, "resolve", "--conda-pkg", "six", "--alias", "one")
    assert refused.code == 3
    assert "`python`" in refused.stderr
    assert "not approved" in refused.stderr
    assert "Ask the platform team for approval" in refused.stderr
    assert organisation.call(*environment, "show", "one").code != 0


def test_what_is_approved_is_made_by_the_installer_of_another_package(organisation: Flows, tmp_path: Path) -> None:
    environment = (organisation.python, "-m", "mfenv.cli", "environment")
    plan = organisation.using(METAFLOW_CONDA_DEPENDENCY_RESOLVER=None).call(
        *environment, "resolve", "--conda-pkg", "six", "--dry-run", "--json"
    )
    names = [package.split()[0] for package in json.loads(plan.succeeded().stdout)["environments"][0]["packages"]]
    (tmp_path / "approved.txt").write_text("\n".join(names))
    organisation.call(*environment, "resolve", "--conda-pkg", "six", "--alias", "one").succeeded()
    shown = organisation.call(*environment, "show", "one", "--json").succeeded().stdout
    assert '"resolver": "approved' in shown
    organisation.call(*environment, "create", "one").succeeded()
    told = (tmp_path / "mfenv" / "backends" / "mfenv.conda_installers" / "told" / "installed.txt").read_text()
    assert f": {len(names)} packages" in told


@pytest.mark.parametrize("role", ["DEPENDENCY_RESOLVER", "INSTALLER"])
def test_backends_of_others_are_among_the_names_that_an_error_lists(organisation: Flows, role: str) -> None:
    wrong = organisation.using(**{f"METAFLOW_CONDA_{role}": "nobodys"})
    said = wrong.call(organisation.python, "-m", "mfenv.cli", "environment", "resolve", "--conda-pkg", "six").stderr
    assert f"METAFLOW_CONDA_{role}: `nobodys` is not known" in said
    assert ("`approved`" if role == "DEPENDENCY_RESOLVER" else "`told`") in said


def test_a_backend_that_cannot_be_made_is_one_sentence(organisation: Flows) -> None:
    said = organisation.using(APPROVED_PACKAGES="/nowhere/approved.txt").call(
        organisation.python, "-m", "mfenv.cli", "environment", "resolve", "--conda-pkg", "six"
    )
    assert "Traceback" not in said.text
    assert "`approved` of the package `approved-packages` cannot be used" in said.stderr
    assert "Mend that package, or set it to `rattler`" in said.stderr
