"""Package files by their sha256, in a store: brought from there, each checked, and put there, each once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path

from mfenv.domain.artifact import LockedArtifact
from mfenv.io.files import sha256_of
from mfenv.store.base import BlobInfo, BlobStore, OnTransfer
from mfenv.store.layout import Layout

FRESH = timedelta(hours=12)
"""How long after its last writing or touch a file is safe from being cleared away by everybody's reckoning."""


class Brought(Enum):
    """How it went with a file that was asked for."""

    WHOLE = "whole"
    ABSENT = "absent"
    DAMAGED = "damaged"
    """There is something else under its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """Which files a store has."""

    there: frozenset[LockedArtifact]
    old: frozenset[LockedArtifact]
    """Those of `there` that have to be touched before anything new refers to them."""


class PackageStore:
    """Keeps package files in a `BlobStore`."""

    def __init__(self, blobs: BlobStore, layout: Layout | None = None) -> None:
        """Keep files in `blobs`."""
        self._blobs = blobs
        self._layout = layout or Layout()

    def key(self, artifact: LockedArtifact) -> str:
        """Return the key of a file."""
        return self._layout.package(artifact.sha256, artifact.file_name)

    def bring(self, artifact: LockedArtifact, destination: Path) -> Brought:
        """Write a file to `destination`, and say whether it is what it should be; nothing is left if it is not.

        Raises `StoreError` when the store cannot be asked.
        """
        try:
            if not self._blobs.download({self.key(artifact): destination}):
                return Brought.ABSENT
            if sha256_of(destination) == artifact.sha256:
                return Brought.WHOLE
        except BaseException:
            destination.unlink(missing_ok=True)
            raise
        destination.unlink(missing_ok=True)
        return Brought.DAMAGED

    def present(self, artifacts: Iterable[LockedArtifact], now: datetime) -> Present:
        """Say which files are there, in the size that they should have. `now` is this machine's time."""
        keys = {self.key(artifact): artifact for artifact in artifacts}
        found = self._blobs.find(keys)
        there = {keys[key]: info for key, info in found.items() if _has_size(keys[key], info)}
        # This machine's clock may be behind the store's.
        now = max([now, *(info.modified for info in there.values())])
        old = {artifact for artifact, info in there.items() if now - info.modified > FRESH}
        return Present(there=frozenset(there), old=frozenset(old))

    def put(self, files: Mapping[LockedArtifact, Path], on_transfer: OnTransfer | None = None) -> None:
        """Send files, whatever is there under their names; each is at its path, checked."""
        self._blobs.upload({self.key(artifact): path for artifact, path in files.items()}, on_transfer)

    def touch(self, artifacts: Iterable[LockedArtifact]) -> None:
        """Make files young, so that nobody clears them away before something refers to them."""
        self._blobs.touch(map(self.key, artifacts))


def _has_size(artifact: LockedArtifact, info: BlobInfo) -> bool:
    return artifact.size in {None, info.size}
