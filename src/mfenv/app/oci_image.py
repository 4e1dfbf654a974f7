"""An image as a folder: the OCI image layout (image-spec 1.1), made without Docker.

The format is four small JSON documents and a tar file, named by their digests. The libraries for it on PyPI talk to
registries (`oras`, `python-dxf`) or describe these documents as classes (`opencontainers`); none lays an image out, so
it is written by hand.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from mfenv.app.oci_base import ARCHITECTURES, Base
from mfenv.domain.digest import Json, canonical_json
from mfenv.domain.platform import Platform
from mfenv.io.files import sha256_of

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_INDEX = "application/vnd.oci.image.index.v1+json"


def write_image(
    folder: Path, top: Path, trees: Sequence[Path], *, platform: Platform, variables: Mapping[str, str], base: Base
) -> str:
    """Write an image to `folder`, which is empty, that has the files of `trees`, which are below `top`.

    They have the same paths in the image. It is built upon `base`, with these variables. The same trees give the same
    image, whoever's they are and whenever they were made. Return its digest. Raises `InvalidSpec` for a base that is
    damaged.
    """
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    base.copy_layers(blobs)
    layer, unpacked = _write_layer(blobs, top, trees)
    config = dict(base.config)
    inside = dict(config.get("config") or {})
    kept = [one for one in inside.get("Env") or [] if one.partition("=")[0] not in variables]
    inside["Env"] = [*kept, *(f"{name}={value}" for name, value in variables.items())]
    config |= {"config": inside, "rootfs": {"type": "layers", "diff_ids": [*base.layer_digests, unpacked]}}
    # It may be left out, but what it says must agree with the layers.
    config.pop("history", None)
    manifest: dict[str, Json] = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _put(blobs, canonical_json(config), _CONFIG),
        "layers": [*map(dict, base.layers), layer],
    }
    described = _put(blobs, canonical_json(manifest), _MANIFEST)
    image: dict[str, Json] = {**described, "platform": {"architecture": ARCHITECTURES[platform], "os": "linux"}}
    index: dict[str, Json] = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [image]}
    (folder / "index.json").write_bytes(canonical_json(index))
    (folder / "oci-layout").write_bytes(canonical_json({"imageLayoutVersion": "1.0.0"}))
    return str(described["digest"])


def _put(blobs: Path, content: bytes, kind: str) -> dict[str, Json]:
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}


def _write_layer(blobs: Path, top: Path, trees: Sequence[Path]) -> tuple[dict[str, Json], str]:
    """Write the trees as a layer; return what describes it, and the digest of what it is when it is unpacked."""
    partial = blobs / ".layer"
    plain = _Digesting()
    with (
        partial.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as packed,
    ):
        plain.target = packed
        with tarfile.open(fileobj=cast("Any", plain), mode="w|", format=tarfile.PAX_FORMAT) as archive:
            _Layer(archive, is_shared=len(trees) > 1).write(top, trees)
    digest = sha256_of(partial)
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


class _Layer:
    """Writes trees so that nothing of this machine is in the layer but their files."""

    def __init__(self, archive: tarfile.TarFile, *, is_shared: bool) -> None:
        self._archive = archive
        self._is_shared = is_shared
        self._known: dict[tuple[str, bool, str], str] = {}

    def write(self, top: Path, trees: Sequence[Path]) -> None:
        """Write `top`, the folders from there to the trees, and these, in one order for all machines."""
        # What is above `top` is the base's, which may have it otherwise; who unpacks a layer makes what is missing.
        for folder in sorted({top} | {one for tree in trees for one in tree.parents if one.is_relative_to(top)}):
            self._add(folder, "")
        for tree in sorted(trees):
            self._add(tree, "")
            for path in _inside(tree):
                self._add(path, path.relative_to(tree).as_posix())

    def _add(self, path: Path, name: str) -> None:
        found = path.lstat()
        member = tarfile.TarInfo(path.as_posix().lstrip("/"))
        # For everybody: the rights that files have here depend on who made them.
        is_program = bool(found.st_mode & stat.S_IXUSR)
        member.mode = 0o755 if is_program else 0o644
        if stat.S_ISLNK(found.st_mode):
            member.type, member.linkname, member.mode = tarfile.SYMTYPE, str(path.readlink()), 0o777
        elif stat.S_ISDIR(found.st_mode):
            member.type, member.mode = tarfile.DIRTYPE, 0o755
        elif known := self._other_name(path, name, member.name, is_program=is_program):
            member.type, member.linkname = tarfile.LNKTYPE, known
        else:
            member.size = found.st_size
            with path.open("rb") as content:
                self._archive.addfile(member, content)
            return
        self._archive.addfile(member)

    def _other_name(self, path: Path, name: str, place: str, *, is_program: bool) -> str | None:
        """Return where another tree has the same file at the same place: environments share most of what they have."""
        if not self._is_shared:
            return None
        known = self._known.setdefault((name, is_program, sha256_of(path)), place)
        return None if known == place else known


def _inside(tree: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(tree):
        folders.sort()
        here = Path(folder)
        yield from (here / name for name in sorted([*folders, *names]))
