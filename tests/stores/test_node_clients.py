"""The clients of a node, which has nothing but a Python, against the emulators of Azure and Google."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mfenv.bootstrap.objects import Missing, Objects, open_objects
from mfenv.testing.azurite import Azurite
from mfenv.testing.gs_emulator import GsEmulator
from mfenv.testing.remote.stores import Access, azure_access, gs_access

CONTENT = bytes(range(256)) * 8192


@pytest.fixture(params=["azure", "gs"])
def node(request: pytest.FixtureRequest, place: str) -> Objects:
    """What a container with an identity of its own has of a store."""
    if request.param == "azure":
        server: Azurite = request.getfixturevalue("azure_server")
        access = azure_access(server, place)
        return open_objects("azure", f"{place}/metaflow", _variables(access))
    emulator: GsEmulator = request.getfixturevalue("gs_server")
    return open_objects("gs", f"gs://{place}/metaflow", _variables(gs_access(emulator, place)))


def _variables(access: Access) -> Mapping[str, str]:
    names = ("METAFLOW_AZURE_STORAGE_BLOB_SERVICE_ENDPOINT",)
    # Metaflow hands these on to its containers.
    return {**{name: access.launcher[name] for name in names if name in access.launcher}, **access.container}


def test_what_was_put_is_there_for_many_at_once(node: Objects, tmp_path: Path) -> None:
    node.put("a/b c+d%.bin", CONTENT)

    def fetch(number: int) -> str:
        return node.fetch("a/b c+d%.bin", str(tmp_path / str(number)), size=len(CONTENT))

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(fetch, range(32))) == {hashlib.sha256(CONTENT).hexdigest()}
    assert {path.read_bytes() == CONTENT for path in tmp_path.iterdir()} == {True}


def test_names_are_listed_below_a_prefix(node: Objects) -> None:
    for name in ("x/1", "x/y/2", "z/3"):
        node.put(name, name.encode())
    assert node.names("x/") == ["x/1", "x/y/2"]
    assert node.names("nothing/") == []
    assert node.read("x/1") == b"x/1"


def test_what_is_not_there_is_missing(node: Objects, tmp_path: Path) -> None:
    with pytest.raises(Missing, match="`no/such` is not in "):
        node.fetch("no/such", str(tmp_path / "file"))
    assert list(tmp_path.iterdir()) == []
