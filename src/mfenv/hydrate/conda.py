"""The conda installer seam, and py-rattler behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mfenv.domain.artifact import Artifact, LockedArtifact
from mfenv.domain.digest import Json
from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment
from mfenv.formats.lock_json import dump_file, dump_package
from mfenv.hydrate.folders import LocalFolders
from mfenv.hydrate.plan import archive_path, linked_file
from mfenv.io.worker import Calls, OnEvent

OPERATIONS = {
    "fetch": "mfenv.hydrate.rattler_worker:fetch",
    "inspect": "mfenv.hydrate.rattler_worker:inspect",
    "link": "mfenv.hydrate.rattler_worker:link",
}
"""What the helper process must offer for this installer."""


class CondaLinker(Protocol):
    """Makes a prefix of conda packages that are here. Called from any thread, for several environments at a time."""

    def link(self, lock: LockedEnvironment, staging: Path, prefix: Path) -> None:
        """Make in `staging`, which does not exist, what is to be used as `prefix`, from files that are here.

        Of a package that was converted, that file is taken where it is here, else the one that its channel serves: see
        `mfenv.hydrate.plan.linked_file`. Raises `HydrationFailed`.
        """
        ...


class CondaInstaller(CondaLinker, Protocol):
    """Brings conda packages here and makes a prefix of them.

    Called from any thread, for several environments at a time.
    """

    def fetch(self, artifacts: list[LockedArtifact], on_event: OnEvent | None = None) -> None:
        """Have every file in the archives folder, its bytes checked.

        Files that are there are checked too, and fetched again when they are damaged. Raises
        `HydrationFailed` naming the file that cannot be had. Events are
        ``{"fetched": file name, "bytes": n}``, ``{"cached": …}`` and ``{"healed": …}``.
        """
        ...

    def link(self, lock: LockedEnvironment, staging: Path, prefix: Path) -> None:
        """See `CondaLinker.link`; packages that would write outside are refused before anything is written."""
        ...


class RattlerInstaller:
    """Links with py-rattler, in the helper process; see `CondaInstaller`."""

    def __init__(self, worker: Calls, folders: LocalFolders, secret_urls: Mapping[str, str] | None = None) -> None:
        """Use `worker`, which offers `OPERATIONS`.

        `secret_urls` maps a channel's location to its URL with credentials.
        """
        self._worker = worker
        self._folders = folders
        self._secret_urls = {} if secret_urls is None else secret_urls

    def fetch(self, artifacts: list[LockedArtifact], on_event: OnEvent | None = None) -> None:
        """See `CondaInstaller.fetch`."""
        files: list[Json] = [{"name": a.file_name, "url": a.url, "size": a.size, "sha256": a.sha256} for a in artifacts]
        self._worker.call("fetch", self._fetch_payload(files), on_event)

    def measure(self, artifacts: Sequence[Artifact]) -> Sequence[LockedArtifact]:
        """Bring files that no index tells the sha256 or size of, and return what they are, in the same order."""
        files: list[Json] = [
            {"name": a.file_name, "url": a.url, "size": a.size, "sha256": a.sha256, "md5": a.md5} for a in artifacts
        ]
        answer = self._worker.call("fetch", self._fetch_payload(files))
        return [
            LockedArtifact(file_name=a.file_name, url=a.url, size=found["size"], sha256=found["sha256"])
            for a, found in zip(artifacts, answer, strict=True)
        ]

    def _fetch_payload(self, files: list[Json]) -> dict[str, Json]:
        return {"archives": str(self._folders.archives), "files": files, "secret_urls": dict(self._secret_urls)}

    def inspect(self, lock: LockedEnvironment) -> None:
        """Refuse packages that would write outside, from files that are here. Raises `HydrationFailed`."""
        self._worker.call("inspect", {"packages": self._packages(lock)})

    def _packages(self, lock: LockedEnvironment) -> list[Json]:
        return [_package(package, self._folders) for package in lock.packages]

    def link(self, lock: LockedEnvironment, staging: Path, prefix: Path) -> None:
        """See `CondaInstaller.link`."""
        payload: dict[str, Json] = {
            "platform": lock.platform.value,
            "packages": self._packages(lock),
            "cache": str(self._folders.packages),
            "staging": str(staging),
            "prefix": str(prefix),
        }
        self._worker.call("link", payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedByAnother:
    """Has another linker work on nothing but files that were checked, and looked into; see `CondaInstaller`."""

    files: RattlerInstaller
    linker: CondaLinker

    def fetch(self, artifacts: list[LockedArtifact], on_event: OnEvent | None = None) -> None:
        """See `CondaInstaller.fetch`."""
        self.files.fetch(artifacts, on_event)

    def link(self, lock: LockedEnvironment, staging: Path, prefix: Path) -> None:
        """See `CondaInstaller.link`."""
        self.files.inspect(lock)
        self.linker.link(lock, staging, prefix)


def _package(package: LockedCondaPackage, folders: LocalFolders) -> Json:
    archive = linked_file(package, folders.archives)
    return {
        **dump_package(package),
        "linked": dump_file(archive),
        "archive": str(archive_path(archive, folders.archives)),
    }
