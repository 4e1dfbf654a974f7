"""Clear a store of what nobody needs any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import unquote

from mfenv.domain.alias import Alias
from mfenv.domain.digest import LockId, is_id
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.reachability import Clearing, Inventory, StoredLock, StoredObject, clearing
from mfenv.errors import InvalidSpec, LockError
from mfenv.formats import lock_json
from mfenv.store.base import BlobInfo, BlobStore
from mfenv.store.layout import Layout
from mfenv.store.locks import LockStore

_BATCH = 500
LEAST_AGE = timedelta(days=1)
"""Nothing younger goes: a run that is under way may have written it, and not yet what refers to it."""


@dataclass(frozen=True, kw_only=True)
class StoreClearing:
    """Looks for what nobody needs in a store, and removes it."""

    store: BlobStore
    layout: Layout
    locks: LockStore
    aliases: Callable[[], Iterable[Alias]]
    """All names. Raises `LockError` for one that can neither be read nor restored: it may be what keeps a lock."""
    defaults: Callable[[], Iterable[LockId]]
    """The locks that this project uses."""
    knows_run: Callable[[str, str], bool]
    """Tells whether a run of a flow is still known; True when that cannot be told."""
    now: Callable[[], datetime]

    def plan(self, older_than: timedelta, *, with_damaged: bool = False, now: datetime | None = None) -> Clearing:
        """Say what can go; changes nothing. Raises `InvalidSpec` for an age that is not safe, and `StoreError`."""
        if older_than < LEAST_AGE:
            raise InvalidSpec(
                "what is younger than a day cannot be cleared away: a run may just have written it",
                hint="Give at least one day",
            )
        infos = {info.key: info for info in self.store.list(f"{self.layout.environments}/")}
        packages = tuple(_object(info) for info in self.store.list(self.layout.packages))
        cutoff = (now or self.now()) - older_than
        found = Inventory(locks=tuple(self._locks(infos)), packages=packages)
        return clearing(found, self._roots(infos, cutoff), cutoff, with_damaged=with_damaged)

    def clear(
        self,
        planned: Clearing,
        older_than: timedelta,
        *,
        with_damaged: bool = False,
        on_batch: Callable[[int, int], None] = lambda _count, _size: None,
    ) -> tuple[int, int]:
        """Remove what was planned, as far as it can still go; return how many objects and bytes that was.

        Looks again first, by the store's own clock, and at the ages of packages once more before each batch goes.
        """
        again = self.plan(older_than, with_damaged=with_damaged, now=self._store_time())
        going = again.only(frozenset(one.key for one in planned.objects))
        count, size = 0, 0
        # What leads to a lock, then the lock, then what it needs: stopped in between, what is left is whole.
        for objects in (going.notes, going.locks, going.packages):
            for start in range(0, len(objects), _BATCH):
                batch = self._unchanged(objects[start : start + _BATCH])
                self.store.delete([one.key for one in batch])
                count, size = count + len(batch), size + sum(one.size for one in batch)
                on_batch(count, size)
        return count, size

    def _unchanged(self, objects: Sequence[StoredObject]) -> list[StoredObject]:
        there = self.store.find(one.key for one in objects)
        return [one for one in objects if one.key in there and there[one.key].modified == one.modified]

    def _store_time(self) -> datetime:
        """Ask the store what time it is: this machine's clock may be ahead by days."""
        key = f"{self.layout.environments}/clock"
        self.store.replace(key, b"")
        return self.store.find([key])[key].modified

    # ---------------------------------------------------------------- what there is

    def _locks(self, infos: Mapping[str, BlobInfo]) -> Iterator[StoredLock]:
        notes = self._notes(infos)
        keys = {
            LockId(name): key
            for key in infos
            if key.startswith(self.layout.locks) and is_id(name := key.removeprefix(self.layout.locks)[: -len(".json")])
        }
        for lock_id, key in keys.items():
            lock = self._read(lock_id, key)
            yield StoredLock(
                id=lock_id,
                object=_object(infos[key]),
                packages=None if lock is None else frozenset(self._package_keys(lock)),
                notes=tuple(notes.get(lock_id, ())),
                siblings=self._siblings(lock_id, notes.get(lock_id, ())),
            )

    def _read(self, lock_id: LockId, key: str) -> LockedEnvironment | None:
        try:
            return lock_json.load(self.store.get(key) or b"", expected=lock_id, path=key)
        except LockError:
            return None

    def _package_keys(self, lock: LockedEnvironment) -> Iterator[str]:
        for artifact in {*lock.artifacts, *lock.stored_artifacts}:
            yield self.layout.package(artifact.sha256, artifact.file_name)

    def _siblings(self, lock_id: LockId, notes: Iterable[StoredObject]) -> frozenset[LockId]:
        if not any(note.key.startswith(self.layout.groups(lock_id)) for note in notes):
            return frozenset()
        return frozenset(lock for group in self.locks.groups(lock_id) for _, lock in group.locks) - {lock_id}

    def _notes(self, infos: Mapping[str, BlobInfo]) -> dict[LockId, list[StoredObject]]:
        """Return what leads to each lock."""
        begin = f"{self.layout.environments}/"
        found: dict[LockId, list[StoredObject]] = {}
        for key, info in infos.items():
            match key.removeprefix(begin).split("/"):
                case ["provenance" | "groups", lock_id, _]:
                    pass
                case ["requests", _, _, lock_id, _] | ["runs", _, _, lock_id]:
                    pass
                case _:
                    continue
            found.setdefault(LockId(lock_id), []).append(_object(info))
        return found

    # ---------------------------------------------------------------- what is needed

    def _roots(self, infos: Mapping[str, BlobInfo], cutoff: datetime) -> dict[LockId, str]:
        roots = dict.fromkeys(self._locks_of_runs(infos, cutoff), "run")
        roots |= dict.fromkeys(self.defaults(), "default")
        return roots | {lock: "name" for alias in self.aliases() for _, lock in alias.locks}

    def _locks_of_runs(self, infos: Mapping[str, BlobInfo], cutoff: datetime) -> Iterator[LockId]:
        known: dict[tuple[str, str], bool] = {}
        for key, info in infos.items():
            if not key.startswith(self.layout.runs):
                continue
            parts = key.removeprefix(self.layout.runs).split("/")
            if len(parts) != 3:
                continue
            run = unquote(parts[0]), unquote(parts[1])
            if info.modified < cutoff and run not in known:
                known[run] = self.knows_run(*run)
            if info.modified >= cutoff or known[run]:
                yield LockId(parts[2])


def _object(info: BlobInfo) -> StoredObject:
    return StoredObject(key=info.key, size=info.size, modified=info.modified)
