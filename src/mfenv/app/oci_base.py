"""What an image is built upon: one image out of an OCI image layout (image-spec 1.1), in a folder or a tar file.

Such a file is what ``skopeo copy … oci-archive:``, ``podman save --format oci-archive`` and ``docker save`` (25) write.
Why no library serves is said in `mfenv.app.oci_image`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import posixpath
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from mfenv.domain.platform import Platform
from mfenv.errors import InvalidSpec

ARCHITECTURES = {Platform.LINUX_64: "amd64", Platform.LINUX_AARCH64: "arm64"}
"""What Go, and so the image-spec, calls the platforms that images are for."""

# What Docker calls layers that are the same in OCI; a manifest must not mix the two.
_OF_DOCKER = {
    "application/vnd.docker.image.rootfs.diff.tar": "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
}
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_BLOCK = 1 << 20
_DEEPEST = 4
"""Indexes may hold indexes; nobody has more of them inside each other."""


class _Layout(Protocol):
    def open(self, name: str) -> IO[bytes]:
        """Open a file of the layout. Raises `OSError`."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Folder:
    path: Path

    def open(self, name: str) -> IO[bytes]:
        return (self.path / name).open("rb")


@dataclass(frozen=True, kw_only=True)
class _Archive:
    archive: tarfile.TarFile
    members: Mapping[str, tarfile.TarInfo]

    def open(self, name: str) -> IO[bytes]:
        content = self.archive.extractfile(self.members[name]) if name in self.members else None
        if content is None:
            raise FileNotFoundError(f"it has no file `{name}`")
        return content


@dataclass(frozen=True, kw_only=True)
class Base:
    """An image that others can be built upon."""

    config: Mapping[str, Any]
    layers: tuple[Mapping[str, Any], ...] = ()
    """Their descriptors, from the lowest on."""
    layout: _Layout | None = None

    @property
    def layer_digests(self) -> list[str]:
        """What the layers are when they are unpacked."""
        return list((self.config.get("rootfs") or {}).get("diff_ids") or [])

    def copy_layers(self, blobs: Path) -> None:
        """Put the layers into a folder, by their digests. Raises `InvalidSpec` for one that is damaged or missing."""
        for layer in self.layers:
            assert self.layout is not None
            digest = hashlib.sha256()
            name = layer["digest"].partition(":")[2]
            try:
                source = self.layout.open(_blob(layer["digest"]))
            except OSError as error:
                raise InvalidSpec(f"--base-layout: the layer `{layer['digest']}` is missing") from error
            with source, (blobs / name).open("wb") as target:
                for block in iter(lambda source=source: source.read(_BLOCK), b""):  # type: ignore[misc]
                    digest.update(block)
                    target.write(block)
            if digest.hexdigest() != name:
                raise InvalidSpec(f"--base-layout: the layer `{layer['digest']}` is damaged", hint=_HINT)


@contextlib.contextmanager
def opened_base(path: Path | None, platform: Platform) -> Iterator[Base]:
    """Give the image for `platform` in the layout at `path`; without one, an image with nothing in it.

    Raises `InvalidSpec` where there is none that can be used.
    """
    architecture = ARCHITECTURES[platform]
    if path is None:
        yield Base(config={"architecture": architecture, "os": "linux"})
        return
    with contextlib.ExitStack() as stack:
        try:
            layout = _Folder(path=path) if path.is_dir() else _archive(stack.enter_context(tarfile.open(path)))
            base = _read(layout, architecture)
        # All that tarfile and json raise over what they are given, and what the look into the documents does.
        except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, tarfile.TarError) as error:
            raise InvalidSpec(
                f"--base-layout: `{path}` holds no image for {architecture} in the OCI layout",
                hint=_HINT,
                output=f"{type(error).__name__}: {error}",
            ) from error
        yield base


_HINT = "Make one with `skopeo copy docker://IMAGE oci:FOLDER`"


def _archive(archive: tarfile.TarFile) -> _Archive:
    return _Archive(archive=archive, members={posixpath.normpath(one.name): one for one in archive.getmembers()})


def _read(layout: _Layout, architecture: str) -> Base:
    with layout.open("index.json") as file:
        index = json.loads(file.read())
    manifest = _manifest(layout, index, architecture)
    config = json.loads(_checked(layout, manifest["config"]["digest"]))
    layers = tuple(
        {**one, "mediaType": _OF_DOCKER.get(one["mediaType"], one["mediaType"])} for one in manifest["layers"]
    )
    base = Base(config=config, layers=layers, layout=layout)
    system, machine = config["os"], config["architecture"]
    if (system, machine) != ("linux", architecture):
        raise ValueError(f"the image is for {system} on {machine}")
    if len(base.layer_digests) != len(layers):
        raise ValueError(f"the image has {len(layers)} layers, and tells of {len(base.layer_digests)}")
    for layer in layers:
        _blob(layer["digest"])
    return base


def _manifest(layout: _Layout, index: Mapping[str, Any], architecture: str, depth: int = 0) -> Mapping[str, Any]:
    """Return the manifest, of an index or of those in it, that is for an architecture."""
    for one in index["manifests"]:
        # Not said: there is one image, and its configuration tells what it is for.
        platform = one.get("platform") or {"os": "linux", "architecture": architecture}
        if (platform["os"], platform["architecture"]) == ("linux", architecture):
            found: dict[str, Any] = json.loads(_checked(layout, one["digest"]))
            if "manifests" not in found:
                return found
            if depth < _DEEPEST:
                return _manifest(layout, found, architecture, depth + 1)
    raise ValueError("no manifest in it is for this architecture")


def _checked(layout: _Layout, digest: str) -> bytes:
    with layout.open(_blob(digest)) as file:
        content = file.read()
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
        raise ValueError(f"`{digest}` is damaged")
    return content


def _blob(digest: str) -> str:
    """Return the name in a layout of what has a digest. Raises `ValueError` for one that is not of SHA-256."""
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"`{digest}` is not a digest by SHA-256")
    return f"blobs/{digest.replace(':', '/')}"
