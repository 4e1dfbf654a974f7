"""Remote execution on this machine: servers once for all tests of a process, and flows that use them."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mfenv.testing.remote import airflow, argo, step_functions
from mfenv.testing.remote.batch import Aws, Served, aws
from mfenv.testing.remote.executed import Executed
from mfenv.testing.remote.images import bare_image, image_with
from mfenv.testing.remote.kubernetes import Cluster, kubernetes
from mfenv.testing.remote.network import Network, network
from mfenv.testing.remote.sandbox import Image, Record, Sandbox, Settings

if TYPE_CHECKING:
    from tests.conftest import Flows, Ran

    from mfenv.testing.remote.stores import Access

_ROOM = 6 << 30
_FACTS = re.compile(r"^FACTS (\{.*\})$", re.MULTILINE)


@dataclass(frozen=True)
class Rig:
    """What containers run on, and what asks for them."""

    sandbox: Sandbox
    network: Network
    aws: Aws
    cluster: Cluster


@dataclass(frozen=True)
class Done:
    """What a remote run left: what the launching program said, and its containers in the order of their starts."""

    launcher: Ran
    containers: tuple[Record, ...]
    executed: Executed | None = None
    """How what was deployed went."""

    def succeeded(self) -> Done:
        """Itself, if everything went well."""
        shown = "\n".join(record.tail() for record in self.containers if record.code)
        assert self.launcher.code == 0, f"{self.launcher.text}\n{shown}"
        assert self.executed is None or not self.executed.failed, self.executed
        assert [record.code for record in self.containers] == [0] * len(self.containers), shown
        return self

    def of(self, step: str) -> list[Record]:
        """The containers of a step."""
        return [record for record in self.containers if record.step == step]

    @property
    def facts(self) -> dict[str, list[dict[str, Any]]]:
        """What the tasks told, by step."""
        told: dict[str, list[dict[str, Any]]] = {}
        for record in self.containers:
            found = [json.loads(facts) for facts in _FACTS.findall(record.stdout)]
            if record.step and found:
                told.setdefault(record.step, []).extend(found)
        return told

    def fact(self, step: str) -> dict[str, Any]:
        """What the only task of `step` told."""
        (only,) = self.facts[step]
        return only


@dataclass(frozen=True)
class RemoteFlows:
    """Runs flows whose steps are in containers, with a bucket of their own."""

    flows: Flows
    rig: Rig
    bucket: str
    earlier: int
    """How many containers and requests were there before."""
    earlier_requests: int

    def using(self, **variables: str | None) -> RemoteFlows:
        """The same with other variables of the launching program."""
        return replace(self, flows=self.flows.using(**variables))

    def configure(self, **changes: Any) -> None:
        """Change the settings of all containers that start from now on."""
        self.rig.sandbox.settings = replace(self.rig.sandbox.settings, **changes)

    def on_image(self, image: Image) -> None:
        """Give all containers this image, whatever they ask for."""
        self.configure(images={"*": image})

    def on_store(self, access: Access) -> RemoteFlows:
        """The same with another datastore than S3, for the launching program and for containers."""
        for port in access.ports:
            self.rig.network.open(port)
        self.configure(variables=dict(access.container), volumes=dict(access.volumes))
        return self.using(**access.launcher)

    def share_bytecode(self) -> None:
        """Let all containers share the bytecode of what they import, which takes most of a small task's time."""
        folder = self.flows.folder.parent / "bytecode"
        folder.mkdir()
        settings = self.rig.sandbox.settings
        self.configure(
            volumes={**settings.volumes, "/mnt/bytecode": str(folder)},
            variables={**settings.variables, "PYTHONPYCACHEPREFIX": "/mnt/bytecode"},
        )

    @property
    def containers(self) -> tuple[Record, ...]:
        """The containers so far."""
        return tuple(self.rig.sandbox.records[self.earlier :])

    @property
    def served(self) -> list[Served]:
        """What S3 was asked for so far."""
        return self.rig.aws.served[self.earlier_requests :]

    def run(
        self, flow: Path | str, *arguments: str, on: str = "batch", environment: str | None = None, timeout: float = 240
    ) -> Done:
        """Run a flow with all steps on ``batch`` or ``kubernetes``."""
        ran = self.flows.run(flow, "--with", on, *arguments, environment=environment, timeout=timeout)
        return Done(launcher=ran, containers=self.containers)

    def run_as_written(self, flow: Path | str, *arguments: str, timeout: float = 240) -> Done:
        """Run a flow whose decorators say which steps go where, with environments."""
        ran = self.flows.run(flow, *arguments, environment="conda", timeout=timeout)
        return Done(launcher=ran, containers=self.containers)

    def deployed(
        self, flow: Path | str, *arguments: str, on: str, environment: str | None = None, **parameters: object
    ) -> Done:
        """Deploy a flow to ``argo``, ``step-functions`` or ``airflow``, and execute what Metaflow made for it."""
        path, made = self._deployment(flow, *arguments, on=on, environment=environment)
        if made.code:
            return Done(launcher=made, containers=self.containers)
        name = f"run-{uuid.uuid4().hex[:8]}"
        sandbox = self.rig.sandbox
        if on == "argo":
            executed = argo.execute(json.loads(made.stdout), sandbox, name=name, parameters=parameters)
        elif on == "step-functions":
            executed = step_functions.execute(json.loads(made.stdout), self.rig.aws, name=name, parameters=parameters)
        else:
            executed = airflow.execute(path, sandbox, name=name, parameters=parameters)
        return Done(launcher=made, containers=self.containers, executed=executed)

    def _deployment(self, flow: Path | str, *arguments: str, on: str, environment: str | None) -> tuple[Path, Ran]:
        """Have Metaflow write what it would deploy: on its standard output, or (``airflow``) to the path returned."""
        path = self.flows.write(flow) if isinstance(flow, str) else flow
        dag = self.flows.folder / "dag.py"
        words = {
            "argo": ("argo-workflows", "create", "--only-json"),
            "step-functions": ("step-functions", "create", "--only-json"),
            "airflow": ("airflow", "create", str(dag)),
        }[on]
        return dag, self.flows.call(*self.flows.command(path, *words, *arguments, environment=environment))


@pytest.fixture(scope="session")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with _quick_folder(tmp_path_factory) as folder:
        sandbox = Sandbox(folder)
        with network() as inside, aws(sandbox) as server, kubernetes(sandbox) as cluster:
            inside.open(server.port)
            yield Rig(sandbox=sandbox, network=inside, aws=server, cluster=cluster)


@contextmanager
def _quick_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a folder for containers: in memory where there is room, since each of them makes ten thousand files."""
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ROOM:
        with tempfile.TemporaryDirectory(prefix="mfenv-rig-", dir=memory, ignore_cleanup_errors=True) as name:
            yield Path(name)
    else:
        yield tmp_path_factory.mktemp("rig")


@pytest.fixture(scope="session")
def bare() -> Image:
    """A Python that is not the launcher's, alone."""
    return bare_image("3.12")


@pytest.fixture(scope="session")
def stocked() -> Image:
    """A Python with what Metaflow needs on AWS, for flows that bring no environment."""
    return image_with("3.12", "boto3", "requests", variables={"METAFLOW_SKIP_INSTALL_DEPENDENCIES": "1"})


@pytest.fixture
def remote(flows: Flows, rig: Rig, bare: Image) -> RemoteFlows:
    """Runs flows in containers with a bare Python; each test sees only its own containers."""
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    rig.aws.client("s3").create_bucket(Bucket=bucket)
    rig.sandbox.settings = Settings(enter=rig.network.enter, images={"*": bare}, variables=rig.aws.container_variables)
    return RemoteFlows(
        flows=flows.using(**rig.aws.launcher_variables(bucket), **rig.cluster.variables),
        rig=rig,
        bucket=bucket,
        earlier=len(rig.sandbox.records),
        earlier_requests=len(rig.aws.served),
    )


@pytest.fixture
def named(remote: RemoteFlows) -> RemoteFlows:
    """With an environment that has a name, and with the package index within the launching machine's reach."""
    prefixes = ("UV_", "SSL_CERT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    remote = remote.using(**{name: value for name, value in os.environ.items() if name.startswith(prefixes)})
    remote.share_bytecode()
    command = (remote.flows.python, "-m", "mfenv.cli", "environment", "--datastore", "s3", "resolve")
    remote.flows.call(*command, "--conda-pkg", "six", "--alias", "team/late:v1").succeeded()
    return remote
