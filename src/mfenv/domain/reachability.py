"""What in a store is still needed, and why; and what is not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mfenv.domain.digest import LockId


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """Something in a store: its key, its size in bytes, and when it was last written or touched there."""

    key: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLock:
    """A lock in a store, with what leads to it."""

    id: LockId
    object: StoredObject
    packages: frozenset[str] | None
    """The keys of its package files; None when the lock cannot be read."""
    notes: tuple[StoredObject, ...] = ()
    """How it came about, what it answers, its groups, the runs that used it."""
    siblings: frozenset[LockId] = frozenset()
    """The locks that were resolved together with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What a store holds."""

    locks: tuple[StoredLock, ...]
    packages: tuple[StoredObject, ...]
    orphans: Mapping[LockId, tuple[StoredObject, ...]] = field(default_factory=dict)
    """What leads to locks that are not there: of processes that were stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearing:
    """What is to go, in the order in which it goes: what leads to a lock, the lock, its packages."""

    notes: tuple[StoredObject, ...] = ()
    locks: tuple[StoredObject, ...] = ()
    packages: tuple[StoredObject, ...] = ()
    damaged: tuple[str, ...] = ()
    """The keys of locks that cannot be read and stay; as long as there are any, no package goes."""
    kept: Mapping[LockId, str] = field(default_factory=dict)
    """Why each of the other locks stays."""

    @property
    def objects(self) -> tuple[StoredObject, ...]:
        """All that is to go."""
        return (*self.notes, *self.locks, *self.packages)

    @property
    def size(self) -> int:
        """The bytes of all that is to go."""
        return sum(one.size for one in self.objects)

    def only(self, keys: frozenset[str]) -> Clearing:
        """Return the part of this whose keys are among `keys`."""
        return Clearing(
            notes=tuple(one for one in self.notes if one.key in keys),
            locks=tuple(one for one in self.locks if one.key in keys),
            packages=tuple(one for one in self.packages if one.key in keys),
            damaged=self.damaged,
            kept=self.kept,
        )


def clearing(
    inventory: Inventory, roots: Mapping[LockId, str], cutoff: datetime, *, with_damaged: bool = False
) -> Clearing:
    """Say what can go: what none of `roots` needs, and nobody wrote or touched since `cutoff`.

    `roots` gives locks, each with the reason why it stays. With `with_damaged`, locks that cannot be read go as well,
    also those that `roots` has: nobody can use them, and a name that cannot be moved would have them stay for ever.
    """
    by_id = {lock.id: lock for lock in inventory.locks}
    is_young = {lock.id: _is_young((lock.object, *lock.notes), cutoff) for lock in inventory.locks}
    given_up = {lock.id for lock in inventory.locks if with_damaged and lock.packages is None and not is_young[lock.id]}
    kept = {lock_id: reason for lock_id, reason in roots.items() if lock_id in by_id}
    for lock_id in by_id:
        if is_young[lock_id]:
            kept.setdefault(lock_id, "recent")
    _keep_siblings(by_id, kept)
    kept = {lock_id: reason for lock_id, reason in kept.items() if lock_id not in given_up}
    going = [
        lock for lock in inventory.locks if lock.id not in kept and (lock.packages is not None or lock.id in given_up)
    ]
    orphans = [
        note
        for lock_id, notes in inventory.orphans.items()
        if lock_id not in roots and not _is_young(notes, cutoff)
        for note in notes
    ]
    gone = {lock.id for lock in going}
    needed = {key for lock in inventory.locks if lock.id not in gone for key in lock.packages or ()}
    damaged = tuple(lock.object.key for lock in inventory.locks if lock.packages is None and lock.id not in gone)
    return Clearing(
        notes=(*(note for lock in going for note in lock.notes), *orphans),
        locks=tuple(lock.object for lock in going),
        packages=tuple(
            one for one in inventory.packages if not damaged and one.key not in needed and one.modified < cutoff
        ),
        damaged=damaged,
        kept=kept,
    )


def _is_young(objects: Iterable[StoredObject], cutoff: datetime) -> bool:
    return any(one.modified >= cutoff for one in objects)


def _keep_siblings(by_id: Mapping[LockId, StoredLock], kept: dict[LockId, str]) -> None:
    """Keep what was resolved together with what is kept."""
    waiting = list(kept)
    while waiting:
        for sibling in by_id[waiting.pop()].siblings:
            if sibling in by_id and sibling not in kept:
                kept[sibling] = "group"
                waiting.append(sibling)
