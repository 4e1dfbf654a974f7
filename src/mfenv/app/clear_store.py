"""Clear a store of what nobody needs any more."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import unquote

from mfenv.domain.alias import Alias
from mfenv.domain.digest import LockId, is_id
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.reachability import Clearing, Inventory, StoredLock, StoredObject, clearing
from mfenv.errors import InvalidSpec, LockError, StoreError
from mfenv.formats import lock_json
from mfenv.store.base import BlobInfo, BlobStore
from mfenv.store.layout import DEPLOYED, ROOT, Layout
from mfenv.store.locks import LockStore

_AT_ONCE = 16
_LOCK = re.compile(r".*/locks/([0-9a-f]{40})\.json")
LEAST_AGE = timedelta(days=1)
"""Nothing younger goes: a run that is under way may have written it, and not yet what refers to it."""

OnBatch = Callable[[int, int], None]
"""Told how many objects, and how many bytes, have gone so far."""


@dataclass(frozen=True, kw_only=True)
class StoreClearing:
    """Looks for what nobody needs in a store, and removes it. For one clearing: what was once read is remembered."""

    store: BlobStore
    layout: Layout
    locks: LockStore
    aliases: Callable[[], Iterable[Alias]]
    """All names. Raises `LockError` for one that can neither be read nor restored: it may be what keeps a lock."""
    project: Callable[[], Mapping[LockId, str]]
    """The locks that this project needs, each with the reason why."""
    knows_run: Callable[[str, str], bool]
    """Tells whether a run of a flow is still known; True when that cannot be told."""
    now: Callable[[], datetime]
    batch: int = 1000
    """How many objects go at a time; behind each batch, what is needed is looked up again."""
    _memory: _Memory = field(default_factory=lambda: _Memory())

    def plan(self, older_than: timedelta, *, with_damaged: bool = False) -> Clearing:
        """Say what can go; changes nothing. Raises `InvalidSpec` for an age that is not safe, and `StoreError`."""
        if older_than < LEAST_AGE:
            raise InvalidSpec(
                "what is younger than a day cannot be cleared away: a run may just have written it",
                hint="Give at least one day",
            )
        return self._plan(self._packages(), self.now() - older_than, with_damaged=with_damaged)

    def clear(
        self,
        planned: Clearing,
        older_than: timedelta,
        *,
        with_damaged: bool = False,
        on_batch: OnBatch = lambda _count, _size: None,
    ) -> tuple[int, int]:
        """Remove what was planned, as far as it can still go; return how many objects and bytes that was.

        The store's own clock counts. Before each batch, what is needed is looked up again, and how old the batch is.
        Raises `StoreError`, which says what was removed before it.
        """
        count, size = 0, 0
        try:
            cutoff = self._store_time() - older_than
            packages = self._packages()
            # What leads to a lock, then the lock, then what it needs: stopped in between, what is left is whole.
            for kind in ("notes", "locks", "packages"):
                keys = [one.key for one in getattr(planned, kind)]
                for start in range(0, len(keys), self.batch):
                    again = self._plan(packages, cutoff, with_damaged=with_damaged)
                    going = again.only(frozenset(keys[start : start + self.batch]))
                    batch = self._unchanged(getattr(going, kind))
                    self.store.delete([one.key for one in batch])
                    count, size = count + len(batch), size + sum(one.size for one in batch)
                    on_batch(count, size)
        except StoreError as error:
            before = f"{count} objects of {size} bytes were removed before" if count else "nothing was removed"
            raise StoreError(
                f"{error.message} ({before})",
                hint=error.hint,
                output=error.output,
            ) from error
        return count, size

    def _unchanged(self, objects: Sequence[StoredObject]) -> list[StoredObject]:
        there = self.store.find(one.key for one in objects)
        return [one for one in objects if one.key in there and there[one.key].modified == one.modified]

    def _store_time(self) -> datetime:
        """Ask the store what time it is: this machine's clock may be ahead by days."""
        self.store.replace(self.layout.clock, b"")
        return self.store.find([self.layout.clock])[self.layout.clock].modified

    # ---------------------------------------------------------------- what there is

    def _packages(self) -> tuple[StoredObject, ...]:
        """Return the package files that no lock of another folder needs: those may have other settings."""
        infos = list(self.store.list(f"{ROOT}/"))
        needed = set[str]()
        for key in (info.key for info in infos):
            found = _LOCK.fullmatch(key)
            if found is None or key.startswith(self.layout.locks):
                continue
            try:
                lock = lock_json.load(self.store.get(key) or b"", expected=LockId(found[1]), path=key)
            except LockError:
                # Nobody can say what it needs.
                return ()
            needed |= set(self._package_keys(lock))
        packages = self.layout.packages
        return tuple(_object(info) for info in infos if info.key.startswith(packages) and info.key not in needed)

    def _infos(self) -> dict[str, BlobInfo]:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            listed = pool.map(lambda prefix: list(self.store.list(prefix)), self.layout.kept_prefixes)
            return {info.key: info for infos in listed for info in infos}

    def _plan(self, packages: tuple[StoredObject, ...], cutoff: datetime, *, with_damaged: bool) -> Clearing:
        infos = self._infos()
        notes = self._notes(infos)
        locks = tuple(self._locks(infos, notes))
        there = {lock.id for lock in locks}
        found = Inventory(
            locks=locks,
            packages=packages,
            orphans={lock_id: tuple(of_lock) for lock_id, of_lock in notes.items() if lock_id not in there},
        )
        return clearing(found, self._roots(infos, cutoff), cutoff, with_damaged=with_damaged)

    def _locks(
        self, infos: Mapping[str, BlobInfo], notes: Mapping[LockId, Sequence[StoredObject]]
    ) -> Iterator[StoredLock]:
        begin = self.layout.locks
        names = {key: key.removeprefix(begin).removesuffix(".json") for key in infos if key.startswith(begin)}
        found = {LockId(name): infos[key] for key, name in names.items() if is_id(name) and key.endswith(".json")}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            read = dict(zip(found, pool.map(self._read, found, found.values()), strict=True))
            siblings = dict(
                zip(found, pool.map(lambda one: self._siblings(one, notes.get(one, ())), found), strict=True)
            )
        for lock_id, info in found.items():
            yield StoredLock(
                id=lock_id,
                object=_object(info),
                packages=read[lock_id],
                notes=tuple(notes.get(lock_id, ())),
                siblings=siblings[lock_id],
            )

    def _read(self, lock_id: LockId, info: BlobInfo) -> frozenset[str] | None:
        """Return the keys of what a lock needs; None when nobody can say."""
        known = self._memory.packages
        if info not in known:
            lock = self._loaded(lock_id, info.key)
            known[info] = None if lock is None else frozenset(self._package_keys(lock))
        return known[info]

    def _loaded(self, lock_id: LockId, key: str) -> LockedEnvironment | None:
        with contextlib.suppress(LockError):
            return lock_json.load(self.store.get(key) or b"", expected=lock_id, path=key)
        with contextlib.suppress(LockError):
            # This project's own may be whole.
            return self.locks.get(lock_id)
        return None

    def _package_keys(self, lock: LockedEnvironment) -> Iterator[str]:
        for artifact in {*lock.artifacts, *lock.stored_artifacts}:
            yield self.layout.package(artifact.sha256, artifact.file_name)

    def _siblings(self, lock_id: LockId, notes: Iterable[StoredObject]) -> frozenset[LockId]:
        groups = frozenset(note.key for note in notes if note.key.startswith(self.layout.groups(lock_id)))
        known, seen = self._memory.siblings.get(lock_id, frozenset()), self._memory.groups.get(lock_id, frozenset())
        if groups - seen:
            known |= {lock for group in self.locks.groups(lock_id) for _, lock in group.locks} - {lock_id}
            self._memory.siblings[lock_id] = known
            self._memory.groups[lock_id] = groups | seen
        # Also when the notes have gone by now, which they do before the locks.
        return known

    def _notes(self, infos: Mapping[str, BlobInfo]) -> dict[LockId, list[StoredObject]]:
        """Return what leads to each lock."""
        begin = f"{self.layout.environments}/"
        found: dict[LockId, list[StoredObject]] = {}
        for key, info in infos.items():
            match key.removeprefix(begin).split("/"):
                case ["provenance" | "groups" | "bytecode", lock_id, _]:
                    pass
                case ["requests", _, _, lock_id, _] | ["runs", _, _, lock_id]:
                    pass
                case _:
                    continue
            if is_id(lock_id):
                found.setdefault(LockId(lock_id), []).append(_object(info))
        return found

    # ---------------------------------------------------------------- what is needed

    def _roots(self, infos: Mapping[str, BlobInfo], cutoff: datetime) -> dict[LockId, str]:
        roots = dict.fromkeys(self._locks_of_runs(infos, cutoff), "run")
        roots |= self.project()
        return roots | dict.fromkeys(self._named(infos), "name")

    def _named(self, infos: Mapping[str, BlobInfo]) -> frozenset[LockId]:
        names = frozenset(info for key, info in infos.items() if key.startswith(self.layout.aliases))
        if self._memory.names is None or self._memory.names[0] != names:
            self._memory.names = names, frozenset(lock for alias in self.aliases() for _, lock in alias.locks)
        return self._memory.names[1]

    def _locks_of_runs(self, infos: Mapping[str, BlobInfo], cutoff: datetime) -> Iterator[LockId]:
        known = self._memory.runs
        for key, info in infos.items():
            if not key.startswith(self.layout.runs):
                continue
            parts = key.removeprefix(self.layout.runs).split("/")
            if len(parts) != 3:
                continue
            run = unquote(parts[0]), unquote(parts[1])
            if info.modified < cutoff and run not in known:
                known[run] = run[1] == DEPLOYED or self.knows_run(*run)
            if info.modified >= cutoff or known[run]:
                yield LockId(parts[2])


@dataclass
class _Memory:
    """What was read already, so that looking again costs little more than a listing."""

    packages: dict[BlobInfo, frozenset[str] | None] = field(default_factory=dict)
    """What a lock needs; by its key, its size and when it was written."""
    groups: dict[LockId, frozenset[str]] = field(default_factory=dict)
    siblings: dict[LockId, frozenset[LockId]] = field(default_factory=dict)
    names: tuple[frozenset[BlobInfo], frozenset[LockId]] | None = None
    runs: dict[tuple[str, str], bool] = field(default_factory=dict)


def _object(info: BlobInfo) -> StoredObject:
    return StoredObject(key=info.key, size=info.size, modified=info.modified)
