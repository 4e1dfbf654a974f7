"""Flows that share environments through S3, as a real API on loopback speaks it; and through a folder."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mfenv.testing.object_stores import Wire, refused, s3_client, s3_server
from mfenv.testing.wheels import MadeWheel

if TYPE_CHECKING:
    from tests.conftest import Flows, Ran

FLOW = """
class Shares(FlowSpec):
    @conda(packages={"six": "1.16.0"})
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


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    with s3_server() as port:
        yield port


@pytest.fixture
def wire(server: int) -> Iterator[Wire]:
    wire = Wire(server)
    yield wire
    wire.close()


@pytest.fixture
def bucket(server: int) -> str:
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    s3_client(server).create_bucket(Bucket=name)
    return name


@pytest.fixture
def on_s3(flows: Flows, wire: Wire, bucket: str, tmp_path: Path) -> Flows:
    """A machine of its own that works with the bucket."""
    return flows.using(
        local_path=tmp_path / "local",
        METAFLOW_DEFAULT_DATASTORE="s3",
        METAFLOW_DEFAULT_METADATA="local",
        METAFLOW_DATASTORE_SYSROOT_S3=f"s3://{bucket}/metaflow",
        METAFLOW_S3_ENDPOINT_URL=f"http://127.0.0.1:{wire.port}",
        AWS_ACCESS_KEY_ID="any",
        AWS_SECRET_ACCESS_KEY="any",
        AWS_DEFAULT_REGION="us-east-1",
    )


def another_machine(flows: Flows, folder: Path, *, channel: str | None = None, **variables: str) -> Flows:
    """Another user's machine: other folders, an empty cache, and a channel only where one is given."""
    folder.mkdir()
    made = replace(flows, folder=folder)
    if channel:
        variables["METAFLOW_CONDA_CHANNELS"] = channel
    return made.using(local_path=folder / "local", **variables)


def keys(server: int, bucket: str) -> list[str]:
    pages = s3_client(server).get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [
        row["Key"].removeprefix("metaflow/conda_env/mfenv/v1/") for page in pages for row in page.get("Contents", ())
    ]


def ours(wire: Wire) -> list[tuple[str, str]]:
    """The requests for what is shared, as method and the kind of key."""
    found = [(one.method, one.path.partition("?")[0]) for one in wire.passed if "/mfenv/v1/" in one.path]
    return [(method, path.partition("/mfenv/v1/")[2].split("/")[0]) for method, path in found]


def test_what_one_resolved_another_neither_resolves_nor_fetches_from_its_origin(
    on_s3: Flows, server: int, bucket: str, tmp_path: Path
) -> None:
    first = on_s3.run(FLOW).succeeded()
    assert first.resolved == 1
    lock = first.fact("start")["prefix"].rpartition("/")[2]
    kinds = sorted(
        {key.split("/")[0] for key in keys(server, bucket)} & {"locks", "packages", "provenance", "requests", "runs"}
    )
    assert kinds == ["locks", "packages", "provenance", "requests", "runs"]

    ready = another_machine(on_s3, tmp_path / "second", METAFLOW_CONDA_USE_REMOTE_LATEST=":any:", USER="grace")
    other = ready.run(FLOW).succeeded()
    assert (other.resolved, other.fact("start")["prefix"].rpartition("/")[2]) == (0, lock)


def test_an_environment_that_is_known_is_made_from_the_store_alone(on_s3: Flows, wire: Wire, tmp_path: Path) -> None:
    """By its name, from a machine whose channel is empty."""
    metaflow = Path(on_s3.python).with_name("metaflow")
    (on_s3.folder / "environment.yml").write_text("dependencies: [six=1.16]\n")
    on_s3.call(metaflow, "environment", "resolve", "-f", "environment.yml", "--alias", "team/env:v1").succeeded()
    empty = tmp_path / "nothing"
    (empty / "noarch").mkdir(parents=True)
    (empty / "noarch" / "repodata.json").write_text('{"packages": {}, "packages.conda": {}}')
    other = another_machine(on_s3, tmp_path / "second", channel=str(empty))
    uses = FLOW.replace('@conda(packages={"six": "1.16.0"})', '@named_env(name="team/env:v1")')
    wire.passed.clear()
    ran = other.run(uses).succeeded()
    assert (ran.resolved, ran.fact("start")["six"]) == (0, "1.16.0")
    brought = [one for one in wire.passed if one.method == "GET" and "/packages/sha256/" in one.path]
    assert len(brought) == len({one.path for one in brought}) > 5


def test_an_unchanged_run_asks_the_store_for_nothing_and_notes_itself(on_s3: Flows, wire: Wire) -> None:
    on_s3.run(FLOW).succeeded()
    wire.passed.clear()
    ran = on_s3.run(FLOW).succeeded()
    assert (ran.resolved, ran.created) == (0, [])
    assert ours(wire) == [("PUT", "runs")]


def test_what_is_there_already_is_not_sent_again(on_s3: Flows, wire: Wire, tmp_path: Path) -> None:
    on_s3.run(FLOW).succeeded()
    other = another_machine(on_s3, tmp_path / "second")
    wire.passed.clear()
    ran = other.run(on_s3.write(FLOW)).succeeded()
    assert ran.resolved == 1
    asked = ours(wire)
    assert asked.count(("PUT", "packages")) == 0
    assert [one for one in asked if one[1] != "packages"] == [
        ("PUT", "runs"),
        ("GET", "locks"),
        ("PUT", "provenance"),
        ("PUT", "requests"),
    ]


def test_past_runs_lend_their_environments_to_machines_that_see_their_metadata(on_s3: Flows, tmp_path: Path) -> None:
    ran = on_s3.run(FLOW).succeeded()
    other = another_machine(on_s3, tmp_path / "second")
    # What a metadata service would tell both of them.
    shutil.copytree(on_s3.folder / ".metaflow" / "Shares", other.folder / ".metaflow" / "Shares")
    uses = FLOW.replace('@conda(packages={"six": "1.16.0"})', f'@named_env(pathspec="Shares/{ran.run_id}/start")')
    again = other.run(uses.replace("class Shares", "class Uses")).succeeded()
    assert again.resolved == 0
    assert again.fact("start")["prefix"].rpartition("/")[2] == ran.fact("start")["prefix"].rpartition("/")[2]


def test_a_store_that_refuses_writes_is_said_and_the_run_goes_on(on_s3: Flows, wire: Wire) -> None:
    wire.harm = refused(403, "AccessDenied", on="/mfenv/v1/")
    ran = on_s3.run(FLOW).succeeded()
    assert ran.fact("start")["six"] == "1.16.0"
    assert "Warning: not everything could be shared with others: `s3://" in ran.text
    assert "AccessDenied" in ran.text


@pytest.mark.parametrize("arguments", [("resolve", "-f", "environment.yml"), ("history", "x")])
def test_a_store_that_refuses_is_one_error_on_the_command_line(
    on_s3: Flows, wire: Wire, arguments: tuple[str, ...]
) -> None:
    (on_s3.folder / "environment.yml").write_text("dependencies: [six=1.16]\n")
    wire.harm = refused(403, "AccessDenied")
    ran = on_s3.call(Path(on_s3.python).with_name("metaflow"), "environment", *arguments)
    assert (ran.code, "Traceback" in ran.text) == (5, False)
    assert ran.stderr.count("error: ") == 1
    assert "`s3://" in ran.stderr
    assert "hint: Check that you may read and write there" in ran.stderr


def test_a_place_that_nobody_set_is_said_with_the_settings(flows: Flows) -> None:
    (flows.folder / "environment.yml").write_text("dependencies: [six=1.16]\n")
    unset = flows.using(METAFLOW_DEFAULT_DATASTORE="s3")
    ran = unset.call(Path(flows.python).with_name("metaflow"), "environment", "resolve", "-f", "environment.yml")
    assert ran.code == 5
    assert "it is not said where environments are shared with the datastore `s3`" in ran.stderr
    assert "METAFLOW_DATASTORE_SYSROOT_S3, or METAFLOW_CONDA_S3ROOT" in ran.stderr


def test_a_root_of_ones_own_is_used_and_what_is_there_already_is_left_alone(
    on_s3: Flows, server: int, bucket: str
) -> None:
    """Such as the folder that standard Metaflow keeps packages in."""
    s3 = s3_client(server)
    theirs = "metaflow/conda/conda.anaconda.example.org/linux-64/six.conda"
    s3.put_object(Bucket=bucket, Key=theirs, Body=b"theirs")
    chosen = on_s3.using(
        METAFLOW_CONDA_S3ROOT=f"s3://{bucket}/metaflow/conda",
        METAFLOW_CONDA_PACKAGES_DIRNAME="files",
        METAFLOW_CONDA_ENVS_DIRNAME="envs",
    )
    chosen.run(FLOW).succeeded()
    assert s3.get_object(Bucket=bucket, Key=theirs)["Body"].read() == b"theirs"
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="metaflow/conda/mfenv/v1/")
    found = {
        row["Key"].removeprefix("metaflow/conda/mfenv/v1/").split("/")[0] for page in pages for row in page["Contents"]
    }
    assert found == {"files", "envs"}


def test_a_datastore_can_be_kept_out_of_it(on_s3: Flows, wire: Wire) -> None:
    alone = on_s3.using(METAFLOW_CONDA_IGNORE_CACHING_DATASTORES='["s3"]')
    assert alone.run(FLOW).succeeded().resolved == 1
    assert ours(wire) == []
    assert alone.run(FLOW).succeeded().resolved == 0


def _default_of(flows: Flows) -> Any:
    lines = (flows.folder / ".metaflow" / "conda_v2.cnd").read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith('["d/')]


@pytest.mark.parametrize(
    ("whose", "resolved"), [(":none:", 1), (":username:", 1), (":any:", 0), ("tester,ada", 0), ("ada", 1)]
)
def test_whose_environments_are_used_is_a_setting(flows: Flows, tmp_path: Path, whose: str, resolved: int) -> None:
    root = tmp_path / "team"
    first = flows.using(METAFLOW_CONDA_LOCALROOT=str(root))
    first.run(FLOW).succeeded()
    other = another_machine(
        flows,
        tmp_path / "second",
        METAFLOW_CONDA_LOCALROOT=str(root),
        METAFLOW_CONDA_USE_REMOTE_LATEST=whose,
        USER="grace",
    )
    ran = other.run(other.write(FLOW)).succeeded()
    assert ran.resolved == resolved
    assert [line[2]["lock"] for line in _default_of(other)] == [line[2]["lock"] for line in _default_of(flows)]
    # From then on it is this project's own, and nobody is asked.
    assert other.using(METAFLOW_CONDA_USE_REMOTE_LATEST=None).run(other.write(FLOW)).succeeded().resolved == 0


def test_a_file_of_the_existing_product_stays_as_it_is(flows: Flows) -> None:
    (flows.folder / ".metaflow").mkdir()
    theirs = flows.folder / ".metaflow" / "conda_v2.cnd"
    theirs.write_text('{"version": 1, "environments": {}}')
    assert flows.run(FLOW).succeeded().resolved == 1
    assert theirs.read_text() == '{"version": 1, "environments": {}}'
    assert flows.run(FLOW).succeeded().resolved == 0


def test_a_code_package_has_the_environments_of_its_flow_alone(flows: Flows) -> None:
    """However many the project has resolved."""
    flows.run(FLOW).succeeded()
    other = FLOW.replace("Shares", "Other").replace("1.16.0", "1.17.0")
    before = _package(flows, flows.write(other, "other.py"))
    flows.run(FLOW.replace("six", "itsdangerous").replace('"1.16.0"', '""').replace("Shares", "Third")).succeeded()
    assert _package(flows, flows.write(other, "other.py")) == before
    assert len(before["locks"]) == 1


def _package(flows: Flows, flow: Path) -> Any:
    import tarfile

    archive = flows.folder / "package.tgz"
    command = flows.command(flow, "package", "save", str(archive))
    done: Ran = flows.call(*command)
    done.succeeded()
    with tarfile.open(archive) as opened:
        (member,) = [name for name in opened.getnames() if name.endswith("conda_v2.cnd")]
        file = opened.extractfile(member)
        assert file is not None
        return json.loads(file.read())


BUILT = """
class Builds(FlowSpec):
    {environment}
    @step
    def start(self):
        import lib
        tell(version=lib.version)
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        pass
"""


def test_a_wheel_that_was_built_on_one_machine_is_used_on_another(flows: Flows, tmp_path: Path) -> None:
    """Which has neither its source nor anything that could build it."""
    flows = flows.using(METAFLOW_CONDA_LOCALROOT=str(tmp_path / "team"), local_path=tmp_path / "local")
    MadeWheel(name="lib", version="1.5").write_source(flows.folder / "lib")
    asks = '@conda(packages={"requests": ""})\n    @pypi(packages={"lib": "./lib"})'
    ran = flows.run(BUILT.format(environment=asks)).succeeded()
    assert ran.fact("start")["version"] == "1.5"
    lock = ran.fact("start")["prefix"].rpartition("/")[2]
    shutil.rmtree(flows.folder / "lib")
    shutil.rmtree(tmp_path / "local")
    other = another_machine(flows, tmp_path / "second")
    again = other.run(BUILT.format(environment=f'@named_env(name="{lock}")')).succeeded()
    assert again.fact("start") == {**ran.fact("start"), "prefix": again.fact("start")["prefix"]}
    assert again.fact("start")["prefix"].endswith(lock)
