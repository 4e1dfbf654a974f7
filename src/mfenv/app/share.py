"""Environments that others can use: their files, then their locks, then what leads to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mfenv.app.supply import Supplier
from mfenv.domain.artifact import LockedArtifact
from mfenv.domain.digest import LockId
from mfenv.domain.locked import LockedEnvironment
from mfenv.errors import StoreError
from mfenv.hydrate.plan import archive_path
from mfenv.io.files import sha256_of
from mfenv.store.base import BlobStore, OnTransfer
from mfenv.store.layout import Layout
from mfenv.store.locks import LockStore
from mfenv.store.packages import FRESH, Brought, PackageStore
from mfenv.store.project_index import ProjectIndex

_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What sharing came to."""

    location: str
    kind: str
    environments: tuple[LockId, ...] = ()
    """Those that the store did not have."""
    files: int = 0
    """Package files that were sent."""
    size: int = 0
    """Their bytes."""


@dataclass(frozen=True, kw_only=True)
class Sharer:
    """Puts environments into the shared store."""

    shared: Callable[[], BlobStore | None]
    locks: LockStore
    index: ProjectIndex
    layout: Layout
    archives: Path
    fetch: Callable[[list[LockedArtifact]], None]
    """Has files in `archives`, each checked."""
    supplier: Supplier
    now: Callable[[], datetime]

    def share(
        self, lock_ids: Iterable[LockId], on_transfer: OnTransfer | None = None, *, looks: bool = False
    ) -> Shared | None:
        """Have these environments, whose locks the project has, in the store; None where there is no store.

        With `looks`, the store is asked for each file, also where this project knows it to be there.

        What is there is not sent again; of what this project knows of late to be there, nobody is asked. What is found
        there is made young: nobody clears it away for longer than this project takes it for known. Raises `StoreError`,
        and `HydrationFailed` when a file that the store lacks cannot be had here.
        """
        store = self.shared()
        if store is None:
            return None
        since = self.now() - FRESH
        asked = dict.fromkeys(lock_ids)
        unknown = [one for one in asked if looks or not self.index.is_shared(one, store.location, since=since)]
        if not unknown:
            return Shared(location=store.location, kind=store.kind)
        return self._share(store, unknown, on_transfer, looks=looks)

    def _share(
        self, store: BlobStore, lock_ids: Sequence[LockId], on_transfer: OnTransfer | None, *, looks: bool
    ) -> Shared:
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="mfenv-share") as pool:
            there = dict(zip(lock_ids, pool.map(self.locks.is_shared, lock_ids), strict=True))
            new = [lock_id for lock_id in lock_ids if not there[lock_id] or self._lacks_files(lock_id)]
            looked_at = lock_ids if looks else new
            sent = self._send([self._lock(lock_id) for lock_id in looked_at], store, on_transfer) if looked_at else []
            list(pool.map(self.locks.share, new))
            list(pool.map(self.locks.share_notes, lock_ids))
        self.index.set_shared(lock_ids, store.location, self.now())
        return Shared(
            location=store.location,
            kind=store.kind,
            environments=tuple(new),
            files=len(sent),
            size=sum(archive_path(artifact, self.archives).stat().st_size for artifact in sent),
        )

    def _lacks_files(self, lock_id: LockId) -> bool:
        """Tell whether files of a lock that is in the store turned out to be missing or damaged there."""
        went = self.supplier.went
        if not went:
            return False
        artifacts = self._lock(lock_id).stored_artifacts
        return any(went.get(one.sha256) in {Brought.ABSENT, Brought.DAMAGED} for one in artifacts)

    def _send(
        self, locks: Iterable[LockedEnvironment], store: BlobStore, on_transfer: OnTransfer | None
    ) -> list[LockedArtifact]:
        packages = PackageStore(store, self.layout)
        wanted = {artifact.sha256: artifact for lock in locks for artifact in self._files(lock)}
        present = packages.present(wanted.values(), self.now())
        damaged = {sha256 for sha256, came in self.supplier.went.items() if came is Brought.DAMAGED}
        missing = [one for one in wanted.values() if one not in present.there or one.sha256 in damaged]
        self._put(missing, packages, on_transfer)
        if old := present.old - set(missing):
            # What a new lock refers to must not look as if nobody needed it. Somebody may just have cleared it away.
            packages.touch(old)
            gone = sorted(old - packages.present(old, self.now()).there, key=lambda one: one.sha256)
            self._put(gone, packages, on_transfer)
            missing += gone
        return missing

    def _files(self, lock: LockedEnvironment) -> Iterator[LockedArtifact]:
        """Yield the files that others will want: a package's converted one where it is whole, else its channel's."""
        for package in lock.packages:
            converted = package.converted
            # No origin has what was converted here: one that is damaged could not be fetched again.
            yield converted if converted and self._is_whole(converted) else package.artifact
        yield from (package.artifact for package in lock.pypi)

    def _put(self, artifacts: list[LockedArtifact], packages: PackageStore, on_transfer: OnTransfer | None) -> None:
        if artifacts:
            self.fetch([one for one in artifacts if not self._is_whole(one)])
            packages.put({one: archive_path(one, self.archives) for one in artifacts}, on_transfer)

    def _is_whole(self, artifact: LockedArtifact) -> bool:
        path = archive_path(artifact, self.archives)
        return path.is_file() and sha256_of(path) == artifact.sha256

    def _lock(self, lock_id: LockId) -> LockedEnvironment:
        lock = self.locks.get(lock_id)
        if lock is None:
            raise StoreError(
                f"the environment `{lock_id}` cannot be shared: its lock is not in this project",
                hint="Resolve it again",
            )
        return lock

    def mark_run(self, flow: str, run_id: str, lock_ids: Iterable[LockId]) -> None:
        """Note in the store that a run used these environments, which keeps them. Raises `StoreError`."""
        if store := self.shared():
            for lock_id in dict.fromkeys(lock_ids):
                store.put(self.layout.run(flow, run_id, lock_id), b"")
