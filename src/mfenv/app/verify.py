"""Whether environments on this machine are what their locks say, and their repair."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from mfenv.app.create import ACTIVATE
from mfenv.app.wiring import Wiring
from mfenv.domain.locked import LockedEnvironment
from mfenv.errors import InvalidSpec, StoreError
from mfenv.hydrate.clearing import runs_from
from mfenv.hydrate.prefix import MARKER, owner
from mfenv.hydrate.verify import Deviation, Verified, verify_archives, verify_prefix
from mfenv.io.filelock import held, unused, used
from mfenv.io.files import remove_tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found on this machine of an environment."""

    lock: LockedEnvironment
    archives: Verified
    prefix: Verified | None
    """None where the environment was not made."""
    path: Path
    """Where the environment is, or would be."""
    is_own: bool = False
    """Whether it is one of the user's own, which nobody makes again unasked."""

    @property
    def differences(self) -> tuple[Deviation, ...]:
        """All that is not as locked."""
        return (*self.archives.differences, *(self.prefix.differences if self.prefix else ()))


def verify(wiring: Wiring, lock: LockedEnvironment, path: Path | None = None) -> Report:
    """Compare all that is on this machine of `lock` with it; `path` is an environment of the user's own made of it.

    Changes nothing. Raises `HydrationFailed`.
    """
    folders = wiring.folders
    place = path or folders.prefix(lock.id)
    with used(folders.files_lock):
        archives = verify_archives(lock, folders.archives)
        is_there = (place / MARKER).is_file()
        beside = (ACTIVATE,) if path else ()
        prefix = verify_prefix(lock, place, folders.archives, beside=beside) if is_there else None
    return Report(lock=lock, archives=archives, prefix=prefix, path=place, is_own=path is not None)


def repair(wiring: Wiring, report: Report) -> list[Path]:
    """Remove what differs, so that it is made again from what is whole; return what was removed.

    Raises `StoreError` when the environment is in use.
    """
    folders, removed = wiring.folders, list[Path]()
    for one in report.archives.differences:
        file = Path(one.path)
        with held(file.parent / ".lock", timeout=wiring.settings.lock_timeout), contextlib.suppress(FileNotFoundError):
            file.unlink()
            removed.append(file)
    if report.prefix and report.prefix.differences:
        locks: tuple[Path, ...] = (folders.place_lock(report.path),)
        if report.path == folders.prefix(report.lock.id):
            locks = (folders.prefix_lock(report.lock.id), folders.use_lock(report.lock.id))
        with contextlib.ExitStack() as stack:
            if not all(stack.enter_context(unused(lock)) for lock in locks) or runs_from(report.path):
                raise StoreError(
                    f"the environment at `{report.path}` is in use, and stays as it is",
                    hint="Wait for the runs that use it to end, and repair it then",
                )
            remove_tree(report.path)
        removed.append(report.path)
    return removed


def lock_at(wiring: Wiring, path: Path) -> LockedEnvironment:
    """Return the lock that the environment at `path` was made of. Raises `InvalidSpec` for what is not ours."""
    lock_id = owner(path)
    if lock_id is None:
        raise InvalidSpec(
            f"--prefix: `{path}` is not an environment that was made here",
            hint="Name the folder of one that `metaflow environment create` made",
        )
    if (lock := wiring.locks.get(lock_id)) is None:
        raise StoreError(
            f"`{path}` was made of the lock `{lock_id}`, which this project does not have",
            hint="Verify it where it was made",
        )
    return lock
