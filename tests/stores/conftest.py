"""The servers of Azure and of Google, once for all tests."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from mfenv.testing.azurite import Azurite, azurite
from mfenv.testing.gs_emulator import GsEmulator, gs_emulator


@pytest.fixture(scope="session")
def azure_server() -> Iterator[Azurite]:
    with azurite() as server:
        yield server


@pytest.fixture(scope="session")
def gs_server() -> Iterator[GsEmulator]:
    with gs_emulator() as server:
        yield server


@pytest.fixture
def place() -> str:
    return f"place-{uuid.uuid4().hex[:12]}"
