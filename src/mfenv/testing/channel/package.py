"""One conda package: its metadata, its files, and the two archive formats it is written in.

The outer ``.conda`` archive is made by ``conda_package_streaming``. What goes into ``info/`` is written
here: the only public library for it is conda-build itself, which wants a recipe and a build, and is not
on PyPI. The rules are conda-build's package specification and CEP 26 to 34 (``index.json``,
``paths.json``, ``link.json``).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import posixpath
import tarfile
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zstandard
from conda_package_streaming.create import conda_builder

if TYPE_CHECKING:
    from collections.abc import Mapping

# As long as conda-build makes a build prefix, so that any real prefix is shorter and can be written
# over it in a binary file.
PLACEHOLDER = ("/opt/mfenv_test_channel/_h_env" + "_placehold" * 30)[:255]

# 2025-01-01T00:00:00Z, in seconds: for packages whose age nothing tells.
DEFAULT_TIME = 1735689600

# Fast, and a third larger than level 10: nobody downloads these packages.
COMPRESSION_LEVEL = 1


class FileMode(Enum):
    """How a prefix is put in place of the placeholder (``file_mode`` in ``paths.json``)."""

    TEXT = "text"
    BINARY = "binary"


class ArchiveFormat(Enum):
    """The two formats of a conda package; the value is the file name's suffix."""

    CONDA = ".conda"
    TAR_BZ2 = ".tar.bz2"


@dataclass(frozen=True, slots=True)
class RegularFile:
    """A file's bytes. ``placeholder`` is set when ``PLACEHOLDER`` stands in them."""

    content: bytes
    mode: int = 0o644
    placeholder: FileMode | None = None


@dataclass(frozen=True, slots=True)
class SoftLink:
    """A symbolic link; ``target`` is relative to the link's own folder."""

    target: str


Entry = RegularFile | SoftLink


@dataclass(frozen=True, slots=True, kw_only=True)
class CondaPackage:
    """A package to be written: what ``index.json`` says of it, and its files by path in the prefix.

    ``extra_paths`` are rows added to ``paths.json`` as they are, for packages that lie about themselves.
    """

    name: str
    version: str
    build: str
    subdir: str
    files: Mapping[str, Entry] = field(default_factory=dict)
    build_number: int = 0
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    noarch: str | None = None
    license: str = "LicenseRef-Unknown"
    summary: str = ""
    time: int = DEFAULT_TIME
    entry_points: tuple[str, ...] = ()
    site_packages_path: str | None = None
    extra_paths: tuple[Mapping[str, object], ...] = ()

    @property
    def stem(self) -> str:
        """The file name without its suffix."""
        return f"{self.name}-{self.version}-{self.build}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenPackage:
    """What became of a ``CondaPackage``: its ``index.json`` and the files that hold it."""

    index: Mapping[str, Any]
    paths: tuple[Path, ...]


def index_json(package: CondaPackage) -> dict[str, Any]:
    """Give the content of ``info/index.json`` (CEP 34); ``timestamp`` is in milliseconds."""
    platform, _, machine = package.subdir.partition("-")
    index: dict[str, Any] = {
        "arch": None if package.noarch else {"64": "x86_64"}.get(machine, machine),
        "build": package.build,
        "build_number": package.build_number,
        "depends": sorted(package.depends),
        "license": package.license,
        "name": package.name,
        "platform": None if package.noarch else platform,
        "subdir": package.subdir,
        "timestamp": package.time * 1000,
        "version": package.version,
    }
    if package.constrains:
        index["constrains"] = sorted(package.constrains)
    if package.noarch:
        index["noarch"] = package.noarch
    if package.site_packages_path:
        index["python_site_packages_path"] = package.site_packages_path
    return index


def paths_json(package: CondaPackage) -> dict[str, Any]:
    """Give the content of ``info/paths.json``, version 1 (CEP 26): every file with its hash and size."""
    rows: list[Mapping[str, object]] = [
        _path_row(package.files, path, entry) for path, entry in sorted(package.files.items())
    ]
    return {"paths": [*rows, *package.extra_paths], "paths_version": 1}


def _path_row(files: Mapping[str, Entry], path: str, entry: Entry) -> dict[str, object]:
    if isinstance(entry, SoftLink):
        # A soft link's hash is that of the file that it leads to, when that is in the same package.
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), entry.target))
        reached = files.get(target)
        content = reached.content if isinstance(reached, RegularFile) else b""
        row: dict[str, object] = {"_path": path, "path_type": "softlink"}
    else:
        content = entry.content
        row = {"_path": path, "path_type": "hardlink"}
        if entry.placeholder:
            row["prefix_placeholder"] = PLACEHOLDER
            row["file_mode"] = entry.placeholder.value
    row["sha256"] = hashlib.sha256(content).hexdigest()
    row["size_in_bytes"] = len(content)
    return row


def info_files(package: CondaPackage) -> dict[str, bytes]:
    """Give the files of the package's ``info/`` folder, by path."""
    paths = paths_json(package)
    rows = paths["paths"]
    info = {
        "info/index.json": _json(index_json(package)),
        "info/paths.json": _json(paths),
        "info/files": "".join(f"{row['_path']}\n" for row in rows).encode(),
        "info/about.json": _json({"license": package.license, "summary": package.summary}),
    }
    prefixed = [row for row in rows if "prefix_placeholder" in row]
    if prefixed:
        info["info/has_prefix"] = "".join(
            f'"{PLACEHOLDER}" "{row["file_mode"]}" "{row["_path"]}"\n' for row in prefixed
        ).encode()
    if package.noarch == "python":
        noarch = {"type": "python", "entry_points": list(package.entry_points)}
        info["info/link.json"] = _json({"noarch": noarch, "package_metadata_version": 1})
    return info


def write_package(
    package: CondaPackage, channel: Path, formats: tuple[ArchiveFormat, ...] = (ArchiveFormat.CONDA,)
) -> WrittenPackage:
    """Write ``package`` into its subdir of the folder ``channel``, once for each format.

    Raises ``FileExistsError`` when the channel already holds a package of that name, version and build.
    """
    folder = channel / package.subdir
    folder.mkdir(parents=True, exist_ok=True)
    info = info_files(package)
    written = []
    for archive_format in formats:
        path = folder / f"{package.stem}{archive_format.value}"
        if archive_format is ArchiveFormat.CONDA:
            _write_conda(package, info, path)
        else:
            _write_tar_bz2(package, info, path)
        written.append(path)
    return WrittenPackage(index=index_json(package), paths=tuple(written))


def _write_conda(package: CondaPackage, info: Mapping[str, bytes], path: Path) -> None:
    def compressor() -> zstandard.ZstdCompressor:
        return zstandard.ZstdCompressor(level=COMPRESSION_LEVEL)

    with conda_builder(package.stem, path.parent, compressor=compressor) as tar:
        _add_members(tar, package, info)


def _write_tar_bz2(package: CondaPackage, info: Mapping[str, bytes], path: Path) -> None:
    with tarfile.open(path, "x:bz2", compresslevel=1) as tar:
        _add_members(tar, package, info)


def _add_members(tar: tarfile.TarFile, package: CondaPackage, info: Mapping[str, bytes]) -> None:
    # Sorted, one owner and one time: the same package gives the same bytes of tar.
    for path, content in sorted(info.items()):
        _add_member(tar, path, RegularFile(content), package.time)
    for path, entry in sorted(package.files.items()):
        _add_member(tar, path, entry, package.time)


def _add_member(tar: tarfile.TarFile, path: str, entry: Entry, time: int) -> None:
    member = tarfile.TarInfo(path)
    member.mtime = time
    if isinstance(entry, SoftLink):
        member.type, member.linkname, member.mode = tarfile.SYMTYPE, entry.target, 0o777
        tar.addfile(member)
    else:
        member.size, member.mode = len(entry.content), entry.mode
        tar.addfile(member, io.BytesIO(entry.content))


def build_string(*parts: object, prefix: str = "h", number: int = 0) -> str:
    """Make a build string as conda-build does: a hash of what went into the build, then its number.

    >>> build_string("numpy", "2.0", prefix="py311h")
    'py311hd214657_0'
    """
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:7]
    return f"{prefix}{digest}_{number}"


def read_tree(root: Path, *, text_prefixed: frozenset[str] = frozenset()) -> dict[str, Entry]:
    """Read every file below ``root``; the paths in ``text_prefixed`` hold the placeholder."""
    files: dict[str, Entry] = {}
    for folder, _, names in os.walk(root):
        for name in names:
            file = Path(folder, name)
            path = file.relative_to(root).as_posix()
            if file.is_symlink():
                files[path] = SoftLink(str(file.readlink()))
                continue
            files[path] = RegularFile(
                file.read_bytes(),
                0o755 if os.access(file, os.X_OK) else 0o644,
                FileMode.TEXT if path in text_prefixed else None,
            )
    return files


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True).encode()
