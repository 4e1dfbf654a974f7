"""Azure Blob and Google Storage, as their emulators speak them: the contract of stores, and flows that share there.

Run by ``make test-stores``, which installs the vendors' clients and the emulators.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mfenv.errors import StoreError
from mfenv.store.backends.azure import AzureObjectClient
from mfenv.store.backends.gs import GsObjectClient
from mfenv.store.base import BlobStore
from mfenv.store.objects import ObjectBlobStore
from mfenv.testing.azurite import Azurite
from mfenv.testing.contracts import BlobStoreContract
from mfenv.testing.gs_emulator import GsEmulator

if TYPE_CHECKING:
    from tests.conftest import Flows

FLOW = """
class Shares(FlowSpec):
    @pypi(packages={"six": "1.16.0"})
    @step
    def start(self):
        from importlib import metadata
        tell(six=metadata.version("six"))
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        pass
"""


@pytest.fixture
def flows(flows: Flows) -> Flows:
    """Reaches the package index, which has what Metaflow needs for these datastores, as this machine is set up to."""
    prefixes = ("UV_", "SSL_CERT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    return flows.using(**{name: value for name, value in os.environ.items() if name.startswith(prefixes)})


@pytest.fixture
def azure_store(azure_server: Azurite, place: str) -> ObjectBlobStore:
    container = azure_server.container(place)
    return ObjectBlobStore(AzureObjectClient(lambda: container, place, "team/env"), pauses=(0, 0, 0))


@pytest.fixture
def gs_store(gs_server: GsEmulator, place: str) -> ObjectBlobStore:
    bucket = gs_server.bucket(place)
    return ObjectBlobStore(GsObjectClient(lambda: bucket, place, "team/env"), pauses=(0, 0, 0))


class TestAzure(BlobStoreContract):
    @pytest.fixture
    def store(self, azure_store: ObjectBlobStore) -> BlobStore:
        return azure_store


class TestGoogle(BlobStoreContract):
    @pytest.fixture
    def store(self, gs_store: ObjectBlobStore) -> BlobStore:
        return gs_store


def test_the_folder_and_the_container_tell_where_it_is(azure_store: BlobStore, gs_store: BlobStore, place: str) -> None:
    assert azure_store.location == f"azure://{place}/team/env"
    assert gs_store.location == f"gs://{place}/team/env"


def test_a_container_that_is_not_there_is_named(azure_server: Azurite, gs_server: GsEmulator, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    gone = azure_server.container("gone-soon")
    gone.delete_container()
    bucket = gs_server.bucket("other").client.bucket("nobody-made-this")
    for store in (
        ObjectBlobStore(AzureObjectClient(lambda: gone, "gone-soon"), pauses=()),
        ObjectBlobStore(GsObjectClient(lambda: bucket, "nobody-made-this"), pauses=()),
    ):
        for act, argument in ((store.replace, b""), (store.put, b""), (store.upload, None)):
            with pytest.raises(StoreError) as caught:
                act({"a": tmp_path / "file"}) if argument is None else act("a", argument)  # type: ignore[operator]
            assert caught.value.message.startswith(f"`{store.location}/a` cannot be used: ")
            assert caught.value.hint is not None
            assert caught.value.hint.startswith("Make the bucket or container")


def _on(flows: Flows, folder: Path, **variables: str) -> Flows:
    folder.mkdir(parents=True)
    return replace(flows, folder=folder).using(
        local_path=folder / "local", METAFLOW_DEFAULT_METADATA="local", **variables
    )


def _shares(flows: Flows, folder: Path, store: BlobStore, variables: dict[str, str]) -> None:
    """One machine resolves and shares; another, with an empty cache, neither resolves nor asks the channel."""
    first = _on(flows, folder / "first", **variables).run(FLOW).succeeded()
    assert first.resolved == 1
    assert "Warning" not in first.text
    kinds = {info.key.split("/")[2] for info in store.list("mfenv/v1/")}
    assert kinds == {"packages", "locks", "provenance", "requests", "runs"}
    other = _on(flows, folder / "second", **variables, METAFLOW_CONDA_USE_REMOTE_LATEST=":any:", USER="grace")
    again = other.run(FLOW).succeeded()
    assert again.resolved == 0
    assert again.fact("start")["prefix"].rpartition("/")[2] == first.fact("start")["prefix"].rpartition("/")[2]


def test_flows_share_through_azure(flows: Flows, azure_server: Azurite, place: str, tmp_path: Path) -> None:
    container = azure_server.container(place)
    store = ObjectBlobStore(AzureObjectClient(lambda: container, place, "metaflow/conda_env"))
    variables = {
        **azure_server.variables,
        "METAFLOW_DEFAULT_DATASTORE": "azure",
        "METAFLOW_DATASTORE_SYSROOT_AZURE": f"{place}/metaflow",
    }
    _shares(flows, tmp_path / "machines", store, variables)


def test_flows_share_through_google(flows: Flows, gs_server: GsEmulator, place: str, tmp_path: Path) -> None:
    bucket = gs_server.bucket(place)
    store = ObjectBlobStore(GsObjectClient(lambda: bucket, place, "metaflow/conda_env"))
    variables = {
        **gs_server.variables,
        "METAFLOW_DEFAULT_DATASTORE": "gs",
        "METAFLOW_DATASTORE_SYSROOT_GS": f"gs://{place}/metaflow",
    }
    _shares(flows, tmp_path / "machines", store, variables)


def test_clients_that_are_not_installed_are_named(flows: Flows, tmp_path: Path) -> None:
    """In an interpreter that has Metaflow and us, and no vendor's packages."""
    hidden = tmp_path / "hidden"
    for name in ("azure", "google"):
        (hidden / name).mkdir(parents=True)
        (hidden / name / "__init__.py").write_text("raise ImportError('hidden for a test')\n")
    (flows.folder / "environment.yml").write_text("dependencies: [six=1.16]\n")
    for kind, root, words in (
        ("azure", "container/metaflow", "azure-identity and azure-storage-blob"),
        ("gs", "gs://bucket/metaflow", "google-cloud-storage and google-auth"),
    ):
        without = flows.using(
            PYTHONPATH=str(hidden),
            METAFLOW_DEFAULT_DATASTORE=kind,
            **{f"METAFLOW_DATASTORE_SYSROOT_{kind.upper()}": root},
        )
        metaflow = Path(flows.python).with_name("metaflow")
        ran = without.call(metaflow, "environment", "history", "team/env")
        assert (ran.code, "Traceback" in ran.text) == (5, False), ran.text
        assert f"hint: Install what Metaflow needs for it: {words}" in ran.stderr
    shutil.rmtree(hidden)
