"""What a machine that has nothing needs to make environments, and where it finds them."""

from __future__ import annotations

from dataclasses import dataclass

from mfenv.domain.artifact import LockedArtifact
from mfenv.domain.platform import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """The files that make environments on a platform."""

    platform: Platform
    wheels: tuple[LockedArtifact, ...]
    """py-rattler and uv, and what they need in turn."""
    runtime: LockedArtifact
    """A Python that can run them, as an archive (.tar.gz) of its prefix; for images whose own is too old."""

    @property
    def files(self) -> tuple[LockedArtifact, ...]:
        """All of it."""
        return (*self.wheels, self.runtime)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLocation:
    """Where a store is, for those who have nothing else to find it by."""

    kind: str
    """Metaflow's name for the datastore: ``local``, ``s3``, ``azure``, ``gs``."""
    root: str
    """As `mfenv.store.base.BlobStore.location` has it."""
    packages: str
    """How the keys of package files begin."""
    toolchain: str
    """How the keys of the toolchain begin; they go on with platform, sha256 and file name."""
    environments: str
    """How all other keys begin."""
