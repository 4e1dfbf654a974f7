"""What every task imports: readable by old Pythons, and next to nothing."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import mfenv

ROOT = Path(mfenv.__file__).parent
MODULES = ("__init__", "version", "metaflow/__init__", "metaflow/environment", "metaflow/decorators", "metaflow/enter")


@pytest.mark.parametrize("module", MODULES)
def test_it_is_readable_by_python_3_7(module: str) -> None:
    ast.parse((ROOT / f"{module}.py").read_text(), feature_version=(3, 7))


def test_metaflow_with_our_classes_loads_nothing_heavy() -> None:
    program = "import json, sys, metaflow, mfenv.metaflow.enter; print(json.dumps(sorted(sys.modules)))"
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    loaded = json.loads(printed.splitlines()[-1])
    ours = {name for name in loaded if name.split(".")[0] == "mfenv"}
    assert {name for name in ours if not name.startswith("mfenv.metaflow")} == {"mfenv", "mfenv.version"}
    assert "mfenv.metaflow.environment" in ours
    assert ours & {"mfenv.metaflow.launch", "mfenv.metaflow.requirements", "mfenv.metaflow.code_root"} == set()
    assert "rattler" not in loaded


def test_a_launch_that_changes_nothing_loads_no_solver_and_no_parser_of_requirements() -> None:
    """What only resolving needs is loaded when something has to be resolved."""
    code = (
        "import sys, metaflow, mfenv.metaflow.launch; "
        "print(sorted({'rattler', 'packaging', 'uv', 'conda_package_streaming'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
