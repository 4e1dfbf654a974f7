"""Clear this machine's caches of what was not used for a while."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mfenv.domain.digest import LockId, is_id
from mfenv.errors import HydrationFailed
from mfenv.hydrate.folders import LocalFolders
from mfenv.hydrate.prefix import MARKER
from mfenv.io.filelock import held
from mfenv.io.files import remove_tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Unused:
    """Something in the caches that nobody used for a while."""

    kind: str
    """``environment``, ``left over``, ``package file``, ``extracted package``, ``wheel``, ``metadata``, ``code``,
    ``channel index``."""
    path: Path
    size: int
    """Bytes that its removal frees: of a file with several names, those count that have no other."""
    lock: Path | None = None
    """Who removes it holds this OS lock."""


@dataclass(frozen=True, kw_only=True)
class LocalClearing:
    """Looks for what was not used in the caches, and removes it."""

    folders: LocalFolders
    needed: Collection[LockId]
    """The environments that stay, used or not."""
    needed_files: Collection[str]
    """The sha256 of package files that stay."""
    in_use: Callable[[Path], bool]
    """Tells whether a process runs from a folder."""

    def plan(self, cutoff: datetime) -> list[Unused]:
        """Return what was not used since `cutoff`; changes nothing."""
        return [*self._prefixes(cutoff), *self._left_over(cutoff), *self._files(cutoff)]

    def clear(self, planned: list[Unused], cutoff: datetime) -> tuple[int, int]:
        """Remove what was planned, unless it was used meanwhile; return how many things and bytes that was."""
        count, size = 0, 0
        for one in planned:
            if self._remove(one, cutoff):
                count, size = count + 1, size + one.size
        return count, size

    def _remove(self, one: Unused, cutoff: datetime) -> bool:
        try:
            if one.lock is None:
                remove_tree(one.path)
                return True
            # Whoever makes or mends it holds this; then it is in use.
            with held(one.lock, timeout=0):
                if one.kind == "environment" and (
                    self.in_use(one.path) or _used(one.path / MARKER) >= _seconds(cutoff)
                ):
                    return False
                remove_tree(one.path)
                return True
        except (OSError, HydrationFailed):
            return False

    def _prefixes(self, cutoff: datetime) -> Iterator[Unused]:
        for path in _entries(self.folders.root / "envs"):
            marker = path / MARKER
            # What has no marker of ours somebody else made, or is making.
            if not is_id(path.name) or not marker.is_file() or path.name in self.needed:
                continue
            if _used(marker) < _seconds(cutoff) and not self.in_use(path):
                lock = self.folders.prefix_lock(LockId(path.name))
                yield Unused(kind="environment", path=path, size=_freed(path), lock=lock)

    def _left_over(self, cutoff: datetime) -> Iterator[Unused]:
        """What processes that were killed left behind."""
        half_made = _entries(self.folders.root / "staging")
        doomed = (path for path in _entries(self.folders.root / "envs") if path.name.endswith(".doomed"))
        for path in (*half_made, *doomed):
            name = path.name.lstrip(".").partition(".")[0]
            if _used(path) < _seconds(cutoff):
                lock = self.folders.prefix_lock(LockId(name)) if is_id(name) else None
                yield Unused(kind="left over", path=path, size=_freed(path), lock=lock)

    def _files(self, cutoff: datetime) -> Iterator[Unused]:
        for kind, folder in (
            ("package file", self.folders.archives),
            ("extracted package", self.folders.packages),
            ("wheel", self.folders.wheels),
            ("metadata", self.folders.metadata),
            ("code", self.folders.code),
            ("channel index", self.folders.repodata),
        ):
            for path in _entries(folder):
                if path.name.endswith(".lock") or path.name in self.needed_files or self._holds_needed(kind, path):
                    continue
                if _youngest(path) >= _seconds(cutoff):
                    continue
                size = _freed(path)
                if kind == "extracted package" and not size:
                    # Environments have the same files: nothing would be freed.
                    continue
                locks = {"package file": path / ".lock", "wheel": path.with_name(f"{path.name}.lock")}
                yield Unused(kind=kind, path=path, size=size, lock=locks.get(kind))

    def _holds_needed(self, kind: str, path: Path) -> bool:
        """Tell whether a wheel that was built is in a lock: nobody else may have it."""
        if kind != "wheel" or not path.is_dir():
            return False
        from mfenv.io.files import sha256_of

        return any(sha256_of(wheel) in self.needed_files for wheel in path.glob("*.whl"))


def runs_from(folder: Path) -> bool:
    """Tell whether a process runs from `folder`, or in it. Where there is no ``/proc``, every folder may be in use."""
    if not Path("/proc/self/exe").exists():
        return True
    for process in Path("/proc").iterdir():
        for link in ("exe", "cwd"):
            # Of other users' processes nothing is told: they do not run from this user's cache.
            with contextlib.suppress(OSError):
                if (process / link).readlink().is_relative_to(folder):
                    return True
    return False


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _seconds(time: datetime) -> float:
    return time.timestamp()


def _used(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return float("inf")


def _youngest(path: Path) -> float:
    """Return when a file, or one of the files at the top of a folder, was last written."""
    return max(
        [_used(path), *(_used(child) for child in (_entries(path) if path.is_dir() else ()) if child.name != ".lock")]
    )


def _freed(path: Path) -> int:
    """Return the bytes that have no name outside of `path`."""
    if not path.is_dir() or path.is_symlink():
        return _size_of(path)
    names: dict[tuple[int, int], int] = {}
    sizes: dict[tuple[int, int], tuple[int, int]] = {}
    for folder, _, files in os.walk(path):
        for name in files:
            with contextlib.suppress(OSError):
                status = os.lstat(f"{folder}/{name}")
                key = (status.st_dev, status.st_ino)
                names[key] = names.get(key, 0) + 1
                sizes[key] = (status.st_nlink, status.st_size)
    return sum(size for key, (links, size) in sizes.items() if links <= names[key])


def _size_of(path: Path) -> int:
    try:
        status = path.lstat()
    except OSError:
        return 0
    return status.st_size if status.st_nlink == 1 else 0
