"""Images that bring environments: built without a network, and recognised by a task at once."""

from __future__ import annotations

import json
import os
import re
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Flows, Ran
    from tests.remote.conftest import RemoteFlows


@pytest.fixture
def baking(flows: Flows) -> Flows:
    """With an environment of both sides that has a name."""
    prefixes = ("UV_", "SSL_CERT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    flows = flows.using(**{name: value for name, value in os.environ.items() if name.startswith(prefixes)})
    command(
        flows, "resolve", "--conda-pkg", "six", "--pypi-pkg", "attrs==23.1.0", "--alias", "team/baked:v1"
    ).succeeded()
    return flows


def command(flows: Flows, *words: str | Path) -> Ran:
    return flows.call(flows.python, "-m", "mfenv.cli", "environment", *words)


def answer(ran: Ran) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ran.succeeded().stdout)
    return found


def test_a_dockerfile_is_built_without_a_network_and_its_image_needs_nothing_more(
    baking: Flows, remote: RemoteFlows, tmp_path: Path
) -> None:
    image = baking.folder / "image"
    told = answer(command(baking, "bake", "team/baked:v1", "--output", image, "--json"))
    (full_id,) = told["full_ids"]
    lines = (image / "Dockerfile").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["#", "FROM", "USER", "COPY", "RUN", "FROM", "COPY", "ENV"]
    assert lines[1] == "FROM --platform=linux/amd64 python:3.11 AS made"

    # What `docker build --network=none` does.
    inside, made = image / "context", tmp_path / "made"
    made.mkdir()
    remote.configure(volumes={"/mfenv-bake": str(inside), "/opt/mfenv": str(made)})
    built = remote.rig.sandbox.run("build", ["sh", "-c", lines[4].removeprefix("RUN ")], {}, image="any", seconds=100)
    assert (built.code, remote.served) == (0, []), built.stderr
    assert ", with bytecode" in built.stderr

    # A task in the image. Its code package names a store that nobody could reach.
    package = tmp_path / "package"
    (package / ".mf_meta").mkdir(parents=True)
    content = (inside / ".mf_meta" / "conda_v2.cnd").read_text().replace("/mfenv-bake/store", "/nowhere")
    (package / ".mf_meta" / "conda_v2.cnd").write_text(content)
    final = tmp_path / "final"
    final.mkdir()
    (made / "envs").rename(final / "envs")
    remote.configure(
        volumes={"/opt/mfenv": str(final), "/package": str(package), "/code": str(inside / "code")}, is_read_only=True
    )
    variables = {
        **dict(re.findall(r"^ENV (\w+)=(.*)$", "\n".join(lines), re.MULTILINE)),
        "MF_PATHSPEC": "F/1/0/1",
        "METAFLOW_EXTRACTED_ROOT": "/package",
        "PYTHONPATH": "/code",
    }
    task = (
        'E=$(python3 -m mfenv.bootstrap); eval "$E"; '
        "python -W ignore -c 'import sys, six, attr; print(sys.prefix, six.__name__, attr.__name__)'"
    )
    ran = remote.rig.sandbox.run("task", ["bash", "-c", task], variables, image="any", seconds=60)
    assert ran.stdout == f"/opt/mfenv/envs/{full_id} six attr\n", ran.stderr
    assert ran.stderr == f"Environment {full_id} is ready on this node.\n"


def test_an_image_in_the_oci_layout_is_made_without_docker(baking: Flows, tmp_path: Path) -> None:
    path = tmp_path / "place"
    words = ("bake", "team/baked:v1", "--format", "oci", "--path", str(path), "--json")
    base = answer(command(baking, *words, "--output", baking.folder / "one"))
    # Nothing stays on this machine.
    assert not path.exists()
    told = answer(command(baking, *words, "--output", baking.folder / "two", "--base-layout", baking.folder / "one"))
    (full_id,) = told["full_ids"]
    image = baking.folder / "two"
    manifest, config = contents(image, told["digest"])
    assert config["config"]["Env"] == [f"METAFLOW_CONDA_NODE_PATH={path}"]
    assert (config["architecture"], config["os"]) == ("amd64", "linux")
    assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"]) == 2
    # The same environment at the same place is the same layer, to the byte.
    below, _ = contents(baking.folder / "one", base["digest"])
    assert manifest["layers"] == below["layers"] * 2
    with tarfile.open(image / "blobs" / "sha256" / manifest["layers"][1]["digest"].removeprefix("sha256:")) as layer:
        layer.extractall(tmp_path / "root", filter="fully_trusted")
    prefix = path / "envs" / full_id
    (path / "envs").mkdir(parents=True)
    (tmp_path / "root" / str(prefix).lstrip("/")).rename(prefix)
    ran = baking.call(prefix / "bin" / "python", "-W", "ignore", "-c", "import six, attr; print(attr.__name__)")
    assert ran.succeeded().stdout == "attr\n"
    # A task that finds it there: its code package names a store that nobody could reach.
    answer(command(baking, "bake", "team/baked:v1", "--output", baking.folder / "context", "--json"))
    inside = baking.folder / "context" / "context"
    metadata = inside / ".mf_meta" / "conda_v2.cnd"
    metadata.write_text(metadata.read_text().replace("/mfenv-bake/store", "/nowhere"))
    variables = {
        "METAFLOW_CONDA_NODE_PATH": str(path),
        "MF_PATHSPEC": "F/1/0/1",
        "METAFLOW_EXTRACTED_ROOT": str(inside),
        "PYTHONPATH": str(inside / "code"),
    }
    task = baking.using(**variables).call(baking.python, "-m", "mfenv.bootstrap").succeeded()
    assert task.stderr == f"Environment {full_id} is ready on this node.\n"


def contents(image: Path, digest: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The manifest and the configuration of an image, each document checked by its digest."""
    assert json.loads((image / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((image / "index.json").read_text())
    assert [one["digest"] for one in index["manifests"]] == [digest]
    blobs = image / "blobs" / "sha256"
    manifest = json.loads((blobs / digest.removeprefix("sha256:")).read_text())
    return manifest, json.loads((blobs / manifest["config"]["digest"].removeprefix("sha256:")).read_text())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--path", "here"), "--path: `here` is not a folder for environments"),
        (("--path", "/a b"), "--path: `/a b` is not a folder for environments"),
        (("--path", "/a/../b"), "--path: `/a/../b` is not a folder for environments"),
        (("--format", "oci", "--path", "/proc/x"), "--path: `/proc/x` cannot be written to: No such file or directory"),
        (("--format", "oci", "--path", "/proc"), "--path: `/proc` is there already, and is not empty"),
        (("--base", "a b"), "--base: `a b` is not the name of an image"),
        (("--base-layout", "x"), "--base-layout is for --format oci"),
        (("--format", "oci", "--base", "x"), "--base names an image in a registry, which nobody asks here"),
        (("--format", "oci", "--base-layout", "nowhere"), "--base-layout: `nowhere` holds no image for amd64"),
        (("--arch", "osx-arm64"), "`team/baked:v1` has no environment for osx-arm64"),
    ],
)
def test_what_cannot_be_baked_is_refused(baking: Flows, words: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    place = () if "--path" in words else ("--path", str(tmp_path / "place"))
    ran = command(baking, "bake", "team/baked:v1", "--output", baking.folder / "image", *place, *words)
    assert ran.code == 2
    assert expected in ran.stderr
    assert "Traceback" not in ran.text
    assert not (baking.folder / "image").exists()


def test_a_folder_with_something_in_it_is_left_alone(baking: Flows) -> None:
    (baking.folder / "image").mkdir()
    (baking.folder / "image" / "mine").touch()
    ran = command(baking, "bake", "team/baked:v1", "--output", baking.folder / "image")
    assert "is there already, and is not empty" in ran.stderr
    assert [path.name for path in (baking.folder / "image").iterdir()] == ["mine"]


def test_the_steps_of_a_flow_that_run_elsewhere_are_baked(baking: Flows) -> None:
    path = baking.write("""
class Baked(FlowSpec):
    @conda(packages={"six": ""})
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass
""")
    words = ("environment", "bake", "start", "--output", "image", "--json")
    ran = baking.call(*baking.command(path, *words)).succeeded()
    told = json.loads(ran.stdout[ran.stdout.index("{") :])
    assert len(told["full_ids"]) == 1
    assert "FROM" in (baking.folder / "image" / "Dockerfile").read_text()
    ran = baking.call(*baking.command(path, "environment", "bake", "middle", "--output", "other"))
    assert "the flow has no step `middle`" in ran.text
