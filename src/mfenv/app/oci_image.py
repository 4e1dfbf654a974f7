"""An image as a folder: the OCI image layout (image-spec 1.1), made without Docker.

The format is four small JSON documents and a tar file, named by their digests. The libraries for it on PyPI talk to
registries and describe these documents as classes; none lays an image out, so it is written by hand.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from mfenv.domain.digest import Json, canonical_json
from mfenv.domain.platform import Platform
from mfenv.errors import InvalidSpec

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_INDEX = "application/vnd.oci.image.index.v1+json"
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    """What an image is built upon."""

    layers: tuple[dict[str, Any], ...] = ()
    config: dict[str, Any]
    folder: Path | None = None


def write_image(
    folder: Path, trees: Sequence[Path], *, platform: Platform, variables: dict[str, str], base: Path | None = None
) -> str:
    """Write an image to `folder` that has the files below `trees`, at the same paths, and these variables.

    It is built upon the image in the layout at `base`; without one, it has nothing else. The same trees give the same
    image. Return its digest. Raises `InvalidSpec` for a base that cannot be used.
    """
    architecture = {"linux-64": "amd64", "linux-aarch64": "arm64"}[platform.value]
    below = _read_base(base, architecture) if base else _Base(config={"architecture": architecture, "os": "linux"})
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for layer in below.layers:
        assert below.folder is not None
        _copy(_blob(below.folder, layer["digest"]), blobs)
    layer, plain = _write_layer(blobs, trees)
    config = dict(below.config)
    inside = dict(config.get("config") or {})
    kept = [one for one in inside.get("Env") or [] if one.partition("=")[0] not in variables]
    inside["Env"] = [*kept, *(f"{name}={value}" for name, value in variables.items())]
    known = list((config.get("rootfs") or {}).get("diff_ids") or [])
    config |= {"config": inside, "rootfs": {"type": "layers", "diff_ids": [*known, plain]}}
    config.pop("history", None)
    manifest: dict[str, Json] = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _put(blobs, canonical_json(config), _CONFIG),
        "layers": [*below.layers, layer],
    }
    described = _put(blobs, canonical_json(manifest), _MANIFEST)
    index: dict[str, Json] = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [described]}
    (folder / "index.json").write_bytes(canonical_json(index))
    (folder / "oci-layout").write_bytes(canonical_json({"imageLayoutVersion": "1.0.0"}))
    return str(described["digest"])


def _put(blobs: Path, content: bytes, kind: str) -> dict[str, Json]:
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}


def _write_layer(blobs: Path, trees: Sequence[Path]) -> tuple[dict[str, Json], str]:
    """Write the trees as a layer; return what describes it, and the digest of what it is uncompressed."""
    partial = blobs / ".layer"
    plain = _Digesting()
    with (
        partial.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as packed,
    ):
        plain.target = packed
        with tarfile.open(fileobj=cast("Any", plain), mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for path in _paths(trees):
                _add(archive, path)
    digest = _digest(partial)
    partial.replace(blobs / digest)
    size = (blobs / digest).stat().st_size
    described: dict[str, Json] = {"mediaType": _LAYER, "digest": f"sha256:{digest}", "size": size}
    return described, f"sha256:{plain.digest.hexdigest()}"


class _Digesting:
    """A file that digests what is written to it, and passes it on."""

    target: Any = None

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.digest.update(content)
        self.target.write(content)
        return len(content)


def _paths(trees: Sequence[Path]) -> Iterator[Path]:
    """Yield the folders that lead to the trees, and all that is in them, in one order for all machines."""
    above = {parent for tree in trees for parent in tree.parents if parent != parent.parent}
    yield from sorted(above)
    for tree in sorted(trees):
        yield tree
        for folder, folders, names in os.walk(tree):
            folders.sort()
            here = Path(folder)
            yield from (here / name for name in sorted([*folders, *names]))


def _add(archive: tarfile.TarFile, path: Path) -> None:
    member = archive.gettarinfo(str(path), str(path).lstrip("/"))
    if member.islnk():
        # Files of a prefix are links to those of a cache, which is not in the image.
        member.type, member.linkname, member.size = tarfile.REGTYPE, "", path.stat().st_size
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    if member.isreg():
        with path.open("rb") as content:
            archive.addfile(member, content)
    else:
        archive.addfile(member)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


# ---------------------------------------------------------------- what it is built upon


def _read_base(folder: Path, architecture: str) -> _Base:
    try:
        index = json.loads((folder / "index.json").read_bytes())
        manifest = _manifest(folder, index, architecture)
        config = json.loads(_checked(folder, manifest["config"]["digest"]))
        layers = tuple(manifest["layers"])
        for layer in layers:
            if _digest(_blob(folder, layer["digest"])) != layer["digest"].partition(":")[2]:
                raise InvalidSpec(f"--base-layout: the layer `{layer['digest']}` in `{folder}` is damaged")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise InvalidSpec(
            f"--base-layout: `{folder}` holds no image for {architecture} in the OCI layout",
            hint="Make one with `skopeo copy docker://IMAGE oci:FOLDER`",
            output=f"{type(error).__name__}: {error}",
        ) from error
    if config.get("architecture") != architecture:
        raise InvalidSpec(
            f"--base-layout: the image in `{folder}` is for {config.get('architecture')}, not for {architecture}"
        )
    return _Base(layers=layers, config=config, folder=folder)


def _manifest(folder: Path, index: dict[str, Any], architecture: str) -> dict[str, Any]:
    """Return the manifest of an index, or of the index in it, that is for an architecture."""
    fitting = [
        one
        for one in index["manifests"]
        if (one.get("platform") or {}).get("architecture", architecture) == architecture
    ]
    found: dict[str, Any] = json.loads(_checked(folder, next(iter(fitting))["digest"]))
    return _manifest(folder, found, architecture) if "manifests" in found else found


def _checked(folder: Path, digest: str) -> bytes:
    content = _blob(folder, digest).read_bytes()
    if hashlib.sha256(content).hexdigest() != digest.partition(":")[2]:
        raise InvalidSpec(f"--base-layout: `{digest}` in `{folder}` is damaged")
    return content


def _blob(folder: Path, digest: str) -> Path:
    kind, _, name = digest.partition(":")
    if kind != "sha256" or not name.isalnum():
        raise ValueError(digest)
    return folder / "blobs" / kind / name


def _copy(path: Path, blobs: Path) -> None:
    with path.open("rb") as source, (blobs / path.name).open("wb") as target:
        for block in iter(lambda: source.read(_BLOCK), b""):
            target.write(block)
