"""Clear this machine's caches of what was not used for a while."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mfenv.domain.digest import LockId, is_id
from mfenv.errors import HydrationFailed
from mfenv.hydrate.folders import LocalFolders
from mfenv.hydrate.prefix import MARKER
from mfenv.io.filelock import unused
from mfenv.io.files import remove_aside, set_aside, sha256_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Unused:
    """Something in the caches that nobody used for a while."""

    kind: str
    """``environment``, ``left over``, ``package file``, ``extracted package``, ``wheel``, ``metadata``, ``code``,
    ``channel index``."""
    path: Path
    size: int
    """Bytes that its removal frees: of a file with several names, those count that have no other."""
    locks: tuple[Path, ...] = ()
    """Who uses it, or makes it, holds one of these OS locks."""
    own_locks: tuple[Path, ...] = ()
    """Those of `locks` that are for it alone, and go with it."""


@dataclass(frozen=True, kw_only=True)
class LocalClearing:
    """Looks for what was not used in the caches, and removes it."""

    folders: LocalFolders
    needed: Mapping[LockId, str]
    """The environments that stay, used or not, each with the reason why."""
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
            with contextlib.suppress(OSError, HydrationFailed):
                if doomed := self._set_aside(one, cutoff):
                    # Not under the locks: nobody is to wait for this.
                    remove_aside(doomed)
                    count, size = count + 1, size + one.size
        return count, size

    def _set_aside(self, one: Unused, cutoff: datetime) -> Path | None:
        """Take something out of the way, unless it is in use; return where it is now."""
        with contextlib.ExitStack() as stack:
            if not all(stack.enter_context(unused(lock)) for lock in one.locks):
                return None
            last_used = _used(one.path / MARKER) if one.kind == "environment" else _last_used(one.kind, one.path)
            if last_used >= cutoff.timestamp() or (one.kind == "environment" and self.in_use(one.path)):
                return None
            doomed = set_aside(one.path)
            for lock in one.own_locks:
                lock.unlink(missing_ok=True)
            return doomed

    def kept(self, cutoff: datetime) -> Iterator[str]:
        """Yield why each environment stays that does: as in `needed`, or ``running``, ``recent``, ``not ours``."""
        return (reason for path in self._environments() if (reason := self._reason(path, cutoff)))

    def _prefixes(self, cutoff: datetime) -> Iterator[Unused]:
        for path in self._environments():
            if not self._reason(path, cutoff):
                locks = self._locks_of(LockId(path.name))
                yield Unused(kind="environment", path=path, size=_freed(path), locks=locks, own_locks=locks)

    def _environments(self) -> Iterator[Path]:
        return (path for path in _entries(self.folders.root / "envs") if not path.name.endswith(".doomed"))

    def _reason(self, path: Path, cutoff: datetime) -> str:
        """Return why an environment stays; nothing for one that may go."""
        marker = path / MARKER
        if not is_id(path.name) or not marker.is_file():
            # Somebody else made it, or is making it.
            return "not ours"
        if reason := self.needed.get(LockId(path.name)):
            return reason
        if _used(marker) >= cutoff.timestamp():
            return "recent"
        return "running" if self.in_use(path) else ""

    def _locks_of(self, lock_id: LockId) -> tuple[Path, ...]:
        """Return the locks of who makes an environment, and of who uses it."""
        return self.folders.prefix_lock(lock_id), self.folders.use_lock(lock_id)

    def _left_over(self, cutoff: datetime) -> Iterator[Unused]:
        """Yield what processes that were killed left behind."""
        half_made = [*_entries(self.folders.root / "staging"), *_entries(self.folders.archives / "unknown")]
        doomed = (path for path in _entries(self.folders.root / "envs") if path.name.endswith(".doomed"))
        for path in (*half_made, *doomed):
            name = path.name.lstrip(".").partition(".")[0]
            if _used(path) < cutoff.timestamp():
                locks = (self.folders.prefix_lock(LockId(name)),) if is_id(name) else ()
                yield Unused(kind="left over", path=path, size=_freed(path), locks=locks)

    def _files(self, cutoff: datetime) -> Iterator[Unused]:
        for kind, path, own_locks in self._all_files():
            if path.name.endswith(".lock") or path.name in self.needed_files:
                continue
            if _last_used(kind, path) >= cutoff.timestamp() or self._holds_needed(kind, path):
                continue
            size = _freed(path)
            if kind != "extracted package" or size:
                # An extracted package that environments share frees nothing.
                locks = (self.folders.files_lock, *own_locks)
                yield Unused(kind=kind, path=path, size=size, locks=locks, own_locks=own_locks)

    def _all_files(self) -> Iterator[tuple[str, Path, tuple[Path, ...]]]:
        """Yield what is cached: its kind, its path, and its own locks."""
        for path in _entries(self.folders.archives):
            if path.name != "unknown":
                yield "package file", path, (path / ".lock",)
        for kind, folder in (("wheel", self.folders.wheels), ("code", self.folders.code)):
            for path in _entries(folder):
                yield kind, path, (path.with_name(f"{path.name}.lock"),)
        for kind, folder in (("extracted package", self.folders.packages), ("metadata", self.folders.metadata)):
            for path in _entries(folder):
                yield kind, path, ()
        for path in _entries(self.folders.repodata):
            for file in _entries(path) if path.is_dir() else (path,):
                yield "channel index", file, ()

    def _holds_needed(self, kind: str, path: Path) -> bool:
        """Tell whether a wheel that was built is in a lock: nobody else may have it."""
        if kind != "wheel" or not path.is_dir():
            return False
        return any(sha256_of(wheel) in self.needed_files for wheel in path.glob("*.whl"))


def runs_from(folder: Path) -> bool:
    """Tell whether a process runs from `folder`, or in it.

    Only Linux tells, by ``/proc``. Elsewhere the locks of runs count, and that all was used within the age limit.
    """
    if not Path("/proc/self/exe").exists():
        return False
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


def _used(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return float("inf")


def _last_used(kind: str, path: Path) -> float:
    """Return when a file, or one of the files at the top of a folder, was last written or marked as used."""
    if kind == "channel index":
        # A client keeps several files for a channel, and writes one of them more often than the others.
        return max(map(_used, path.parent.glob(f"{glob.escape(path.name.partition('.')[0])}*")), default=_used(path))
    children = [_used(child) for child in _entries(path) if child.name != ".lock"]
    # Whoever takes the lock in the folder of a package file makes that folder young.
    return max(children) if children and kind == "package file" else max([_used(path), *children])


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
