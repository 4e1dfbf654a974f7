"""Pods that keep their artifacts in Azure Blob and Google Storage, as their emulators speak them.

Run by ``make test-stores``, which installs the vendors' clients and the emulators.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from mfenv.testing.azurite import azurite
from mfenv.testing.gs_emulator import gs_emulator
from mfenv.testing.remote.images import image_with
from mfenv.testing.remote.stores import Access, azure_access, gs_access

if TYPE_CHECKING:
    from tests.remote.conftest import RemoteFlows

# What Metaflow installs in a pod for these datastores.
NEEDED = {
    "azure": ("azure-identity", "azure-storage-blob", "azure-keyvault-secrets", "simple-azure-blob-downloader"),
    "gs": ("google-cloud-storage", "google-auth", "google-cloud-secret-manager", "simple-gcp-object-downloader"),
}

FLOW = """
class Plain(FlowSpec):
    @step
    def start(self):
        self.left = "here"
        self.next(self.end)

    @step
    def end(self):
        tell(found=self.left)
"""


@pytest.fixture(params=["azure", "gs"])
def store(request: pytest.FixtureRequest) -> Iterator[tuple[str, Access]]:
    place = f"place-{uuid.uuid4().hex[:12]}"
    if request.param == "azure":
        with azurite() as azure:
            yield "azure", azure_access(azure, place)
    else:
        with gs_emulator() as gs:
            yield "gs", gs_access(gs, place)


def test_a_plain_flow_keeps_its_artifacts_in_a_store(remote: RemoteFlows, store: tuple[str, Access]) -> None:
    kind, access = store
    remote = remote.on_store(access)
    remote.on_image(
        image_with("3.12", *NEEDED[kind], "requests", variables={"METAFLOW_SKIP_INSTALL_DEPENDENCIES": "1"})
    )
    remote.share_bytecode()
    done = remote.run(FLOW, on="kubernetes").succeeded()
    assert done.fact("end")["found"] == "here"
    assert [record.step for record in done.containers] == ["start", "end"]
    assert remote.served == []


ENVIRONMENTS = """
@pypi_base(packages={packages})
class Remote(FlowSpec):
    @kubernetes
    @conda(packages={{"six": ""}})
    @step
    def start(self):
        import six
        self.left = six.__version__
        tell()
        self.next(self.end)

    @kubernetes
    @pypi(packages={{"attrs": "23.1.0"}})
    @step
    def end(self):
        import attr
        tell(found=self.left)
"""


def test_steps_run_in_environments_that_a_store_has(named: RemoteFlows, store: tuple[str, Access]) -> None:
    """The image has a Python and nothing else; the vendors' clients that tasks need come with the environment."""
    kind, access = store
    remote = named.on_store(access)
    packages = dict.fromkeys(NEEDED[kind], "")
    done = remote.run_as_written(ENVIRONMENTS.format(packages=packages), timeout=400).succeeded()
    assert [record.step for record in done.containers] == ["start", "end"]
    assert done.fact("end")["found"] == "1.17.0"
    for step in ("start", "end"):
        assert re.fullmatch(r"/tmp/mfenv-\d+/envs/[0-9a-f]{40}", done.fact(step)["prefix"])
