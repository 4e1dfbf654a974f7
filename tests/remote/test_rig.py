"""The rig itself: what containers see, and that flows without environments of ours go through every scheduler."""

from __future__ import annotations

import contextlib
import json
import shlex
import signal
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mfenv.testing.remote.batch import Served
from mfenv.testing.remote.images import bare_image
from mfenv.testing.remote.sandbox import Image, Record, Sandbox, Settings

if TYPE_CHECKING:
    from tests.remote.conftest import RemoteFlows, Rig

PLAIN = """
class Plain(FlowSpec):
    width = Parameter("width", default=1)

    @step
    def start(self):
        self.items = [10 * n for n in range(1, self.width + 1)]
        self.next(self.left, self.right)

    @step
    def left(self):
        self.next(self.each, foreach="items")

    @step
    def each(self):
        self.found = self.input
        self.next(self.gather)

    @step
    def gather(self, inputs):
        self.total = sum(one.found for one in inputs)
        self.next(self.join)

    @step
    def right(self):
        self.total = 1
        self.next(self.join)

    @step
    def join(self, inputs):
        self.total = inputs.gather.total + inputs.right.total
        self.next(self.end)

    @step
    def end(self):
        tell(total=self.total)
"""

STEPS = ["each", "each", "end", "gather", "join", "left", "right", "start"]


# --------------------------------------------------------------- containers


def run(rig: Rig, *command: str, image: str = "any", seconds: float = 60, **variables: str) -> Record:
    return rig.sandbox.run("job", command, variables, image=image, seconds=seconds)


def python(rig: Rig, code: str, **variables: str) -> Any:
    """What a piece of Python prints in a container, read as JSON."""
    record = run(rig, "python", "-c", f"import json, os, sys\nprint(json.dumps({code}))", **variables)
    assert record.code == 0, record.stderr
    return json.loads(record.stdout)


def test_a_container_has_the_variables_of_its_job_its_image_and_its_role_alone(rig: Rig, remote: RemoteFlows) -> None:
    image = remote.rig.sandbox.settings.image("any")
    remote.on_image(replace(image, variables={"OF_THE_IMAGE": "1"}))
    seen = python(rig, "dict(os.environ)", OF_THE_JOB="2")
    node = seen["HOSTNAME"]
    assert seen == {
        "PATH": f"{image.prefix}/bin:/tools",
        "HOME": "/home",
        "LANG": "C.UTF-8",
        "HOSTNAME": node,
        "OF_THE_IMAGE": "1",
        "OF_THE_JOB": "2",
        "AWS_ACCESS_KEY_ID": node,
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": rig.aws.endpoint,
    }


def test_a_container_reaches_servers_on_loopback_and_nothing_else(rig: Rig, remote: RemoteFlows) -> None:
    interfaces = python(rig, "[name for _, name in __import__('socket').if_nameindex()]")
    assert interfaces == ["lo"]
    ask = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=20).status)"
    assert run(rig, "python", "-c", ask, f"{rig.aws.endpoint}/moto-api/config").stdout == "201\n"
    # An address for documentation (RFC 5737), and that of clouds' metadata.
    for address in ("192.0.2.1", "169.254.169.254"):
        assert "Network is unreachable" in run(rig, "python", "-c", ask, f"http://{address}/").stderr
    # A port of this machine that was not opened.
    assert "Connection refused" in run(rig, "python", "-c", ask, f"http://127.0.0.1:{rig.cluster.port}/").stderr


def test_a_container_sees_its_image_and_an_empty_working_folder(rig: Rig, remote: RemoteFlows) -> None:
    seen = python(rig, "{path: os.listdir(path) for path in ('.', os.environ['HOME'], '/tmp', '/mnt/out')}")
    # An image that is kept in a temporary folder is seen where it is.
    shown = {
        Path(folder).parts[2]
        for folder in remote.rig.sandbox.settings.image("any").folders
        if folder.startswith("/tmp/")
    }
    assert seen == {".": [], "/home": [], "/tmp": sorted(shown), "/mnt/out": []}
    assert not Path(__file__).is_relative_to("/usr")
    assert python(rig, f"os.path.exists({__file__!r})") is False
    found = run(rig, "bash", "-c", "for name in git curl wget gcc uv pip conda; do command -v $name; done")
    assert (found.code, found.stdout) == (1, "")
    packages = "sorted({name.split('.')[0] for _, name, _ in __import__('pkgutil').iter_modules()} & "
    packages += "{'boto3', 'pip', 'requests', 'metaflow', 'setuptools', 'mfenv'})"
    assert python(rig, packages) == []


@pytest.mark.parametrize("minor", ["3.8", "3.10", "3.12"])
def test_images_have_pythons_of_other_versions(rig: Rig, remote: RemoteFlows, minor: str) -> None:
    remote.on_image(bare_image(minor))
    seen = python(rig, "['.'.join(map(str, sys.version_info[:2])), [p for p in sys.path if 'packages' in p]]")
    assert seen == [minor, [f"{bare_image(minor).prefix}/lib/python{minor}/site-packages"]]


def test_nothing_of_the_machine_can_be_changed(rig: Rig, remote: RemoteFlows) -> None:
    prefix = rig.sandbox.settings.image("any").prefix
    for path in ("/usr/new", "/etc/new", f"{prefix}/new"):
        assert "Read-only file system" in run(rig, "touch", path).stderr


def test_a_container_of_some_user_with_a_read_only_root_writes_where_it_may(rig: Rig, remote: RemoteFlows) -> None:
    remote.configure(user=12345, is_read_only=True)
    record = run(rig, "bash", "-c", "id -u; for path in /new /home/new /job/new /tmp/new; do echo $path > $path; done")
    assert record.stdout == "12345\n"
    refused = [line.split(": ")[2] for line in record.stderr.splitlines() if "Read-only file system" in line]
    assert refused == ["/new", "/home/new"]


def test_a_volume_is_seen_by_all_containers(rig: Rig, remote: RemoteFlows, tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    remote.configure(volumes={"/mnt/node": str(tmp_path / "node")})
    run(rig, "bash", "-c", "echo kept > /mnt/node/file; echo lost > /tmp/file")
    assert run(rig, "bash", "-c", "cat /mnt/node/file /tmp/file").stdout == "kept\n"


def test_a_container_ends_with_all_that_it_started(rig: Rig, remote: RemoteFlows) -> None:
    duration = f"1000.{uuid.uuid4().int % 10**9}"
    leave = f"import os; os.setsid(); os.execvp('sleep', ['sleep', '{duration}'])"
    command = f"(python -c {shlex.quote(leave)} &); sleep 1000"
    container = rig.sandbox.start("job", ["bash", "-c", command], {}, image="any", seconds=60)
    record = container.wait(is_stopped=lambda: bool(running(duration)))
    assert (record.code, record.reason) == (-signal.SIGKILL, "stopped on request")
    deadline = time.monotonic() + 10
    while running(duration) and time.monotonic() < deadline:
        pass
    assert running(duration) == []


def test_a_container_ends_when_its_time_is_over(rig: Rig, remote: RemoteFlows) -> None:
    record = run(rig, "sleep", "1000", seconds=0.5)
    assert (record.code, record.reason) == (-signal.SIGKILL, "ran past its time limit")


def running(duration: str) -> list[str]:
    """The processes of this machine, containers included, that sleep for so long."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (path / "cmdline").read_bytes() == f"sleep\0{duration}\0".encode():
                found.append(path.name)
    return found


def test_what_a_container_leaves_is_known_to_other_processes(rig: Rig, remote: RemoteFlows) -> None:
    record = run(
        rig, "bash", "-c", "echo out; echo err >&2; echo file > /tmp/file; exit 3", "step", "train", "--run-id"
    )
    assert (record.code, record.stdout, record.stderr, record.step) == (3, "out\n", "err\n", "train")
    assert (record.root / "tmp" / "file").read_text() == "file\n"
    assert Sandbox(rig.sandbox.folder).records[-1] == record == remote.containers[-1]


def test_settings_are_read_as_they_were_written(rig: Rig, remote: RemoteFlows) -> None:
    settings = Settings(
        enter=("a", "b"),
        images={"*": Image(folders=("/x", "/y"), variables={"A": "b"})},
        variables={"C": "{node}"},
        volumes={"/in": "/out"},
        user=7,
        is_read_only=True,
        keeps_files=True,
    )
    rig.sandbox.settings = settings
    assert Sandbox(rig.sandbox.folder).settings == settings


def test_requests_to_s3_are_counted_by_who_asks(rig: Rig, remote: RemoteFlows) -> None:
    rig.aws.client("s3").put_object(Bucket=remote.bucket, Key="folder/a key", Body=b"twelve bytes")
    before = len(remote.served)
    rig.aws.client("s3").get_object(Bucket=remote.bucket, Key="folder/a key")["Body"].read()
    assert remote.served[before:] == [
        Served(node="launcher", method="GET", path=f"/{remote.bucket}/folder/a key", status=200, sent=12)
    ]


# ---------------------------------------------------------------- schedulers


def test_a_plain_flow_runs_on_batch(remote: RemoteFlows, stocked: Image) -> None:
    remote.on_image(stocked)
    remote.share_bytecode()
    done = remote.run(PLAIN, "--width", "2").succeeded()
    assert done.fact("end")["total"] == 31
    assert sorted(record.step or "" for record in done.containers) == STEPS
    assert done.fact("end")["prefix"] == str(stocked.prefix)
    nodes = {served.node for served in remote.served}
    assert nodes == {"launcher", *(record.variables["HOSTNAME"] for record in done.containers)}


def test_a_plain_flow_runs_on_kubernetes(remote: RemoteFlows, stocked: Image) -> None:
    remote.on_image(stocked)
    remote.share_bytecode()
    done = remote.run(PLAIN, "--width", "2", on="kubernetes").succeeded()
    assert done.fact("end")["total"] == 31
    assert sorted(record.step or "" for record in done.containers) == STEPS
    assert {record.variables["METAFLOW_KUBERNETES_POD_NAMESPACE"] for record in done.containers} == {"default"}


@pytest.mark.parametrize("scheduler", ["argo", "step-functions", "airflow"])
def test_a_plain_flow_that_is_deployed_runs(remote: RemoteFlows, stocked: Image, scheduler: str) -> None:
    remote.on_image(stocked)
    remote.share_bytecode()
    done = remote.deployed(PLAIN, on=scheduler, width=2).succeeded()
    assert done.fact("end")["total"] == 31
    assert sorted(record.step or "" for record in done.containers) == STEPS
