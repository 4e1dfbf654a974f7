"""The examples in the tree do what they say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Flows

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def flows(flows: Flows) -> Flows:
    """Runs flows that reach the package index as this machine is set up to: certificates, proxies, mirrors."""
    prefixes = ("UV_", "SSL_CERT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    return flows.using(**{name: value for name, value in os.environ.items() if name.startswith(prefixes)})


@pytest.mark.parametrize(
    ("name", "environment", "line"),
    [
        ("hello_pypi.py", "pypi", "end runs with tabulate 0.8.10"),
        ("hello_mixed.py", "conda", "start runs with numpy 1.26"),
        ("hello_files.py", "conda", "start runs with itsdangerous 2.1.2 and GREETING=hello"),
        ("hello_files.py", "conda", "end runs with tabulate 0.8.10"),
    ],
)
def test_the_example_runs(flows: Flows, name: str, environment: str, line: str) -> None:
    ran = flows.run(EXAMPLES / name, environment=environment, timeout=240).succeeded()
    assert line in ran.stdout
