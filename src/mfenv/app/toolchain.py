"""The toolchain in the store: what makes environments on a machine that has nothing but a Python."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from mfenv.domain.artifact import LockedArtifact
from mfenv.domain.digest import Json, canonical_json
from mfenv.domain.index import PackageIndex
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform, Target
from mfenv.domain.requirement import Requirement
from mfenv.domain.resolved import ResolvedPypiPackage
from mfenv.domain.toolchain import Toolchain
from mfenv.errors import EnvironmentsError, ResolutionFailed, StoreError
from mfenv.hydrate.folders import LocalFolders
from mfenv.hydrate.plan import archive_path, is_here
from mfenv.io.filelock import held
from mfenv.io.files import remove_tree, sha256_of, write_atomically
from mfenv.resolve.pypi import PypiRequest, PypiResolver
from mfenv.store.base import BlobStore
from mfenv.store.layout import Layout

TOOLS = ("py-rattler", "uv")
"""In the versions that this machine makes environments with: what is locked with them is linked with them."""
PYTHONS = ">=3.10,<3.14"
"""What the tools run on, and `mfenv` with them."""

_LEFT_OUT = ("conda-meta", "include", "share", "etc", "man", "ssl", "pkgs", "compiler_compat", "x86_64-conda-linux-gnu")
_LEFT_OUT_OF_LIBRARY = ("test", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "__pycache__")


@dataclass(frozen=True, kw_only=True)
class ToolchainPublisher:
    """Finds the toolchain for a platform, and puts it into the store."""

    pypi: PypiResolver
    lock_python: Callable[[Platform, str], LockedEnvironment]
    """Returns a lock with nothing but a Python, within a constraint, for a platform."""
    link: Callable[[LockedEnvironment, Path, Path], None]
    """Makes the prefix of a lock in a folder, to be used as another; see `CondaInstaller.link`."""
    fetch: Callable[[list[LockedArtifact]], None]
    folders: LocalFolders
    shared: Callable[[], BlobStore | None]
    layout: Layout
    target: Callable[[Platform], Target]
    lock_timeout: float
    channels: tuple[str, ...] = ()
    indexes: tuple[PackageIndex, ...] = ()
    default_index: PackageIndex | None = None

    def find(self, platform: Platform) -> Toolchain:
        """Return the toolchain for `platform`; what was found once on this machine is what it is.

        Raises `ResolutionFailed` and `HydrationFailed`.
        """
        path = self.folders.toolchain / f"{self._name(platform)}.json"
        with held(path.with_suffix(".lock"), timeout=self.lock_timeout):
            known = _read(path, platform)
            if known and is_here(known.runtime, self.folders.archives):
                return known
            found = Toolchain(platform=platform, wheels=self._wheels(platform), runtime=self._runtime(platform))
            write_atomically(path, _dump(found))
        return found

    def publish(self, toolchain: Toolchain) -> None:
        """Have a toolchain in the store; what is there is not sent again. Raises `StoreError`."""
        store = self.shared()
        if store is None:
            raise StoreError("there is no store that a toolchain could be in")
        keys = {self.layout.tool(toolchain.platform, one.sha256, one.file_name): one for one in toolchain.files}
        there = store.find(keys)
        missing = {key: one for key, one in keys.items() if key not in there or one.size not in {None, there[key].size}}
        if missing:
            self.fetch([one for one in missing.values() if one is not toolchain.runtime])
            store.upload({key: archive_path(one, self.folders.archives) for key, one in missing.items()})

    def _name(self, platform: Platform) -> str:
        """Return what tells this toolchain from others."""
        versions = [f"{name}-{metadata.version(name)}" for name in TOOLS]
        sources: list[Json] = [*self.channels, str(self.default_index), *map(str, self.indexes), PYTHONS]
        return f"{platform.value}-{'-'.join(versions)}-{hashlib.sha256(canonical_json(sources)).hexdigest()[:16]}"

    def _wheels(self, platform: Platform) -> tuple[LockedArtifact, ...]:
        wanted = tuple(
            Requirement.from_text(f"{name}=={metadata.version(name)}", where="the toolchain") for name in TOOLS
        )
        request = PypiRequest(
            requirements=wanted,
            python="3.10.0",
            target=self.target(platform),
            indexes=self.indexes,
            default_index=self.default_index,
            may_build=False,
        )
        return tuple(map(_locked, self.pypi.resolve(request)))

    def _runtime(self, platform: Platform) -> LockedArtifact:
        """Pack a Python: with the standard library's formats, which an old Python reads."""
        lock = self.lock_python(platform, PYTHONS)
        self.fetch(list(lock.artifacts))
        staging = self.folders.staging(lock.id)
        try:
            self.link(lock, staging, staging)
            python = lock.find("python")
            name = f"python-{python.version if python else ''}-{platform.value}.tar.gz"
            packed = staging.with_name(f"{staging.name}.tar.gz")
            _pack(staging, packed)
            file = LockedArtifact(
                file_name=name, url=packed.as_uri(), size=packed.stat().st_size, sha256=sha256_of(packed)
            )
            path = archive_path(file, self.folders.archives)
            path.parent.mkdir(parents=True, exist_ok=True)
            packed.replace(path)
        finally:
            remove_tree(staging)
        return file


def _pack(prefix: Path, packed: Path) -> None:
    """Write what a Python needs to run: the same bytes for the same files."""
    with (
        packed.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in _members(prefix):
            member = archive.gettarinfo(str(path), str(path.relative_to(prefix)))
            # A second name of a file would be one of a file that may be left out.
            if member.islnk():
                member.type, member.linkname, member.size = tarfile.REGTYPE, "", path.stat().st_size
            member.uid = member.gid = member.mtime = 0
            member.uname = member.gname = ""
            if member.isreg():
                with path.open("rb") as content:
                    archive.addfile(member, content)
            else:
                archive.addfile(member)


def _members(prefix: Path) -> Iterator[Path]:
    """Yield what is packed: interpreter, standard library, and the libraries that they load."""
    for folder, folders, files in os.walk(prefix):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if _is_packed(here.relative_to(prefix), name))
        yield from (here / name for name in folders if (here / name).is_symlink())
        yield from (here / name for name in sorted(files) if not name.endswith((".a", ".pyc", ".o")))


def _is_packed(folder: Path, name: str) -> bool:
    if folder == Path():
        return name not in _LEFT_OUT
    in_library = folder.parts[0] == "lib" and len(folder.parts) > 1
    return not (
        (in_library and name in _LEFT_OUT_OF_LIBRARY) or name in {"tcl8.6", "tk8.6", "pkgconfig", "__pycache__"}
    )


def _locked(package: ResolvedPypiPackage) -> LockedArtifact:
    wheel = package.wheel
    if wheel is None or wheel.sha256 is None:
        raise ResolutionFailed(
            f"`{package.name}` has no wheel with a sha256 for this platform", packages=[package.name]
        )
    return LockedArtifact(file_name=wheel.file_name, url=wheel.url, size=wheel.size, sha256=wheel.sha256)


def _dump(toolchain: Toolchain) -> bytes:
    return canonical_json({"wheels": [_file(one) for one in toolchain.wheels], "runtime": _file(toolchain.runtime)})


def _file(artifact: LockedArtifact) -> Json:
    return {"name": artifact.file_name, "url": artifact.url, "size": artifact.size, "sha256": artifact.sha256}


def _read(path: Path, platform: Platform) -> Toolchain | None:
    """Read what `_dump` wrote; None for what is not there, or cannot be read."""
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        wheels = tuple(_artifact(one) for one in document["wheels"])
        return Toolchain(platform=platform, wheels=wheels, runtime=_artifact(document["runtime"]))
    except (OSError, ValueError, KeyError, TypeError, EnvironmentsError):
        return None


def _artifact(fields: dict[str, Any]) -> LockedArtifact:
    return LockedArtifact(file_name=fields["name"], url=fields["url"], size=fields["size"], sha256=fields["sha256"])
