"""Images in the OCI layout: the same trees give the same image, upon whatever base."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.app.oci_base import Base, opened_base
from mfenv.app.oci_image import write_image
from mfenv.domain.platform import Platform
from mfenv.errors import InvalidSpec

HERE = Platform.LINUX_64
PLAIN = Base(config={"architecture": "amd64", "os": "linux"})


def tree(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def image(folder: Path, top: Path, *trees: Path, base: Base = PLAIN, **variables: str) -> str:
    folder.mkdir()
    return write_image(folder, top, trees, platform=HERE, variables=variables, base=base)


def blob(folder: Path, digest: str) -> bytes:
    content = (folder / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == digest
    return content


def documents(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The manifest and the configuration of the only image."""
    (described,) = json.loads((folder / "index.json").read_bytes())["manifests"]
    manifest = json.loads(blob(folder, described["digest"]))
    return manifest, json.loads(blob(folder, manifest["config"]["digest"]))


def layer(folder: Path, number: int = -1) -> list[tuple[str, str, int, str]]:
    """What a layer holds: name, kind, permissions, and what it links to or contains."""
    manifest, config = documents(folder)
    described = manifest["layers"][number]
    packed = blob(folder, described["digest"])
    assert len(packed) == described["size"]
    assert f"sha256:{hashlib.sha256(gzip.decompress(packed)).hexdigest()}" == config["rootfs"]["diff_ids"][number]
    path = folder / "blobs" / "sha256" / described["digest"].removeprefix("sha256:")
    with tarfile.open(path) as archive:
        found = []
        for one in archive:
            assert (one.uid, one.gid, one.uname, one.gname, one.mtime) == (0, 0, "", "", 0)
            content = archive.extractfile(one) if one.isreg() else None
            held = content.read().decode() if content else one.linkname
            found.append((one.name, one.type.decode(), one.mode, held))
        return found


def test_a_layer_holds_the_trees_and_the_folders_that_lead_there(tmp_path: Path) -> None:
    """What is above belongs to the base, which may have other rights there."""
    top = tmp_path / "opt"
    made = tree(top / "envs" / "a", {"bin/run": "#!", "lib/b.py": "b", "lib/a.py": "a", ".ready": "{}"})
    tree(top / "cache", {"x": "left out"})
    (made / "bin" / "run").chmod(0o700)
    (made / "bin" / "python").symlink_to("run")
    (made / "here").symlink_to("lib")
    image(tmp_path / "image", top, made)
    at = str(top)[1:]
    assert layer(tmp_path / "image") == [
        (at, "5", 0o755, ""),
        (f"{at}/envs", "5", 0o755, ""),
        (f"{at}/envs/a", "5", 0o755, ""),
        (f"{at}/envs/a/.ready", "0", 0o644, "{}"),
        (f"{at}/envs/a/bin", "5", 0o755, ""),
        (f"{at}/envs/a/here", "2", 0o777, "lib"),
        (f"{at}/envs/a/lib", "5", 0o755, ""),
        (f"{at}/envs/a/bin/python", "2", 0o777, "run"),
        (f"{at}/envs/a/bin/run", "0", 0o755, "#!"),
        (f"{at}/envs/a/lib/a.py", "0", 0o644, "a"),
        (f"{at}/envs/a/lib/b.py", "0", 0o644, "b"),
    ]


def test_what_several_trees_have_at_the_same_place_is_in_the_layer_once(tmp_path: Path) -> None:
    first = tree(tmp_path / "envs" / "1", {"same": "text", "other": "1", "program": "x"})
    second = tree(tmp_path / "envs" / "2", {"same": "text", "other": "2", "program": "x", "elsewhere": "text"})
    (second / "program").chmod(0o755)
    image(tmp_path / "image", tmp_path / "envs", second, first)
    at = f"{tmp_path}/envs"[1:]
    assert [one for one in layer(tmp_path / "image") if one[1] != "5"] == [
        (f"{at}/1/other", "0", 0o644, "1"),
        (f"{at}/1/program", "0", 0o644, "x"),
        (f"{at}/1/same", "0", 0o644, "text"),
        (f"{at}/2/elsewhere", "0", 0o644, "text"),
        (f"{at}/2/other", "0", 0o644, "2"),
        (f"{at}/2/program", "0", 0o755, "x"),
        (f"{at}/2/same", "1", 0o644, f"{at}/1/same"),
    ]


@given(
    files=st.dictionaries(st.sampled_from("abcdef"), st.text("xy", max_size=3), min_size=1),
    rights=st.lists(st.sampled_from([0o600, 0o644, 0o666, 0o640]), min_size=6, max_size=6),
    time=st.integers(0, 2_000_000_000),
)
def test_times_rights_of_others_links_and_the_order_of_making_do_not_count(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, str], rights: list[int], time: int
) -> None:
    folder = tmp_path_factory.mktemp("made")
    made = tree(folder / "envs" / "1", files)
    before = image(folder / "before", folder / "envs", made)
    made.rename(folder / "old")
    tree(made, dict(reversed(files.items())))
    for name, mode in zip(files, rights, strict=False):
        (made / name).chmod(mode)
        os.utime(made / name, (time, time))
        (folder / f"link-{name}").hardlink_to(made / name)
    made.chmod(0o700)
    assert image(folder / "after", folder / "envs", made) == before


# ---------------------------------------------------------------- upon another

CONFIG: dict[str, Any] = {
    "architecture": "amd64",
    "os": "linux",
    "created": "2024-01-01T00:00:00Z",
    "config": {"Env": ["PATH=/bin", "METAFLOW_CONDA_NODE_PATH=/old"], "User": "1000"},
    "history": [{"created_by": "COPY"}],
}
PACKED = "application/vnd.oci.image.layer.v1.tar+gzip"


def write_base(
    folder: Path,
    *,
    config: dict[str, Any] | None = None,
    kind: str = PACKED,
    deep: bool = False,
    platform: dict[str, str] | None = None,
) -> Path:
    """Write a layout of one image with one layer; `deep`: in an index of several platforms."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"digest": f"sha256:{digest}", "size": len(content), "mediaType": "x"}

    below = b"what a layer holds"
    whole = {**(config or CONFIG), "rootfs": {"type": "layers", "diff_ids": ["sha256:of-the-base"]}}
    described = put(
        json.dumps({"config": put(json.dumps(whole).encode()), "layers": [{**put(below), "mediaType": kind}]}).encode()
    )
    if platform:
        described["platform"] = platform
    manifests = [described]
    if deep:
        other = {"digest": f"sha256:{'0' * 64}", "platform": {"os": "unknown", "architecture": "unknown"}}
        manifests = [put(json.dumps({"manifests": [other, described]}).encode())]
    (folder / "index.json").write_text(json.dumps({"manifests": manifests}))
    return folder


def as_file(folder: Path) -> Path:
    path = folder.with_suffix(".tar")
    with tarfile.open(path, "w") as archive:
        archive.add(folder, ".")
    return path


def packed_file(folder: Path) -> Path:
    path = folder.with_suffix(".tgz")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, "")
    return path


@pytest.mark.parametrize("form", [lambda path: path, as_file, packed_file])
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("kind", [PACKED, "application/vnd.docker.image.rootfs.diff.tar.gzip"])
def test_an_image_has_the_layers_and_the_configuration_of_its_base(
    tmp_path: Path, form: Callable[[Path], Path], kind: str, *, deep: bool
) -> None:
    made = tree(tmp_path / "envs" / "1", {"a": "a"})
    path = form(write_base(tmp_path / "base", kind=kind, deep=deep))
    with opened_base(path, HERE) as base:
        image(tmp_path / "image", tmp_path / "envs", made, base=base, METAFLOW_CONDA_NODE_PATH="/new")
    manifest, config = documents(tmp_path / "image")
    below, own = manifest["layers"]
    assert (below["mediaType"], own["mediaType"]) == (PACKED, PACKED)
    assert blob(tmp_path / "image", below["digest"]) == b"what a layer holds"
    assert config.pop("rootfs")["diff_ids"][0] == "sha256:of-the-base"
    inside = {"Env": ["PATH=/bin", "METAFLOW_CONDA_NODE_PATH=/new"], "User": "1000"}
    assert config == {"architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00Z", "config": inside}


def test_an_image_is_a_base_of_others(tmp_path: Path) -> None:
    first = tree(tmp_path / "envs" / "1", {"a": "a"})
    second = tree(tmp_path / "envs" / "2", {"a": "b"})
    image(tmp_path / "one", tmp_path / "envs", first)
    with opened_base(tmp_path / "one", HERE) as base:
        image(tmp_path / "two", tmp_path / "envs", second, base=base)
    assert layer(tmp_path / "two", 0) == layer(tmp_path / "one")
    assert len(documents(tmp_path / "two")[0]["layers"]) == 2


def damage(folder: Path, content: bytes) -> None:
    (path,) = (path for path in (folder / "blobs" / "sha256").iterdir() if path.read_bytes() == content)
    path.write_bytes(content[::-1])


def without_index(folder: Path) -> None:
    (folder / "index.json").unlink()


def with_another_index(text: str) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        (folder / "index.json").write_text(text)

    return harm


def index_itself(folder: Path) -> None:
    """An index that holds more indexes than anybody follows."""
    inner = b'{"manifests": []}'
    for _ in range(9):
        digest = hashlib.sha256(inner).hexdigest()
        (folder / "blobs" / "sha256" / digest).write_bytes(inner)
        inner = json.dumps({"manifests": [{"digest": f"sha256:{digest}"}]}).encode()
    (folder / "index.json").write_bytes(inner)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (without_index, "FileNotFoundError: [Errno 2] No such file or directory: '{}/index.json'"),
        (
            with_another_index("{"),
            "JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2",
        ),
        (with_another_index("[]"), "TypeError: list indices must be integers or slices, not str"),
        (with_another_index("{}"), "KeyError: 'manifests'"),
        (with_another_index('{"manifests": []}'), "ValueError: no manifest in it is for this architecture"),
        (
            with_another_index('{"manifests": [{"digest": "sha256:../../../../etc/passwd"}]}'),
            "ValueError: `sha256:../../../../etc/passwd` is not a digest by SHA-256",
        ),
        (index_itself, "ValueError: no manifest in it is for this architecture"),
    ],
)
def test_a_base_that_is_no_image_is_refused(tmp_path: Path, harm: Callable[[Path], None], reason: str) -> None:
    folder = write_base(tmp_path / "base")
    harm(folder)
    with pytest.raises(InvalidSpec) as raised, opened_base(folder, HERE):
        pytest.fail("it was opened")
    assert str(raised.value) == f"--base-layout: `{folder}` holds no image for amd64 in the OCI layout"
    assert raised.value.hint == "Make one with `skopeo copy docker://IMAGE oci:FOLDER`"
    assert (raised.value.output or "").startswith(reason.format(folder))


@pytest.mark.parametrize(
    ("config", "platform"),
    [
        ({**CONFIG, "architecture": "arm64"}, None),
        ({**CONFIG, "os": "windows"}, None),
        (CONFIG, {"os": "linux", "architecture": "arm64"}),
    ],
)
def test_a_base_for_another_machine_is_refused(
    tmp_path: Path, config: dict[str, Any], platform: dict[str, str] | None
) -> None:
    folder = write_base(tmp_path / "base", config=config, platform=platform)
    with pytest.raises(InvalidSpec, match="holds no image for amd64"), opened_base(folder, HERE):
        pytest.fail("it was opened")


@pytest.mark.parametrize("name", ["nowhere", "text"])
def test_a_base_that_is_no_layout_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "text").write_text("no tar file")
    with pytest.raises(InvalidSpec, match="holds no image for amd64"), opened_base(tmp_path / name, HERE):
        pytest.fail("it was opened")


def test_a_layer_of_the_base_that_is_damaged_or_missing_is_refused(tmp_path: Path) -> None:
    made = tree(tmp_path / "envs" / "1", {"a": "a"})
    folder = write_base(tmp_path / "base")
    damage(folder, b"what a layer holds")
    digest = f"sha256:{hashlib.sha256(b'what a layer holds').hexdigest()}"
    with opened_base(folder, HERE) as base:
        with pytest.raises(InvalidSpec) as raised:
            image(tmp_path / "one", tmp_path / "envs", made, base=base)
        assert str(raised.value) == f"--base-layout: the layer `{digest}` is damaged"
        (folder / "blobs" / "sha256" / digest.removeprefix("sha256:")).unlink()
        with pytest.raises(InvalidSpec) as raised:
            image(tmp_path / "two", tmp_path / "envs", made, base=base)
        assert str(raised.value) == f"--base-layout: the layer `{digest}` is missing"
