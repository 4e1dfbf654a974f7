"""Fixtures for command lines."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Flows


@pytest.fixture
def flows(flows: Flows) -> Flows:
    """Runs programs that reach the package index as this machine is set up to: certificates, proxies, mirrors."""
    prefixes = ("UV_", "SSL_CERT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    return flows.using(**{name: value for name, value in os.environ.items() if name.startswith(prefixes)})
