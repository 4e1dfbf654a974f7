"""What has to be done to have an environment: a value that can be looked at before anything happens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mfenv.domain.artifact import LockedArtifact
from mfenv.domain.locked import LockedCondaPackage, LockedEnvironment, LockedPackage
from mfenv.hydrate.folders import LocalFolders
from mfenv.hydrate.prefix import usable_prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class HydrationPlan:
    """Files to bring here, packages to link, folders to clear away first; empty means ready."""

    fetch: tuple[LockedArtifact, ...] = ()
    link: tuple[LockedPackage, ...] = ()
    remove: tuple[Path, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.fetch or self.link or self.remove)

    @property
    def download_size(self) -> int:
        """Bytes to bring here, as far as it looks before the files that are here are checked."""
        return sum(artifact.size or 0 for artifact in self.fetch)


def plan(lock: LockedEnvironment, folders: LocalFolders) -> HydrationPlan:
    """Look at what is on this machine and say what is missing for `lock`. Changes nothing."""
    prefix = folders.prefix(lock.id)
    if usable_prefix(prefix, lock):
        return HydrationPlan()
    left_over = ([prefix] if prefix.exists() or prefix.is_symlink() else []) + folders.stale_staging(lock.id)
    wanted = [linked_file(package, folders.archives) for package in lock.packages]
    wanted += [package.artifact for package in lock.pypi]
    missing = tuple(artifact for artifact in wanted if not is_here(artifact, folders.archives))
    return HydrationPlan(fetch=missing, link=(*lock.packages, *lock.pypi), remove=tuple(left_over))


def linked_file(package: LockedCondaPackage, archives: Path) -> LockedArtifact:
    """Return the file that a package is linked from: the converted one where it is here, else its channel's."""
    converted = package.converted
    return converted if converted and is_here(converted, archives) else package.artifact


def archive_path(artifact: LockedArtifact, archives: Path) -> Path:
    """Return where a package file is kept."""
    return archives / artifact.sha256 / artifact.file_name


def is_here(artifact: LockedArtifact, archives: Path) -> bool:
    """Tell whether a file of the right size is kept; its content is checked when it is used."""
    try:
        return artifact.size in {None, archive_path(artifact, archives).stat().st_size}
    except OSError:
        return False
