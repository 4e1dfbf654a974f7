"""Locks by id; and for those who look for one, what each answers and which were resolved together.

A project has its own locks in a folder beside its datastore, and shares them with others through a store. What is in
the project's folder need not be asked of the store.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote

from mfenv.domain.digest import LockId, RequestKey, canonical_json, is_id
from mfenv.domain.group import LockGroup
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform, Target
from mfenv.domain.provenance import Provenance
from mfenv.errors import LockError
from mfenv.formats import fields, lock_json, provenance_json
from mfenv.formats.fields import Fields
from mfenv.store.base import BlobStore
from mfenv.store.layout import Layout

_OWN = Layout()
"""The names of keys in a project's own folder, which settings for the shared store do not change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A lock that somebody got for a request."""

    lock: LockId
    user: str
    time: datetime
    """When it was shared, by the store's clock: those of people's machines differ."""


class LockStore:
    """Keeps locks in a project's own folder, and shares them."""

    def __init__(
        self,
        own: BlobStore,
        *,
        shared: Callable[[], BlobStore | None] = lambda: None,
        layout: Layout | None = None,
        keeps_found: bool = True,
    ) -> None:
        """Keep locks in `own`; `shared` gives the store that others use as well, when it is first needed.

        With `keeps_found`, what is found in the shared store is kept in `own`.
        """
        self._keeps_found = keeps_found
        self._own = own
        self._shared = shared
        self._layout = layout or Layout()

    def get(self, lock_id: LockId) -> LockedEnvironment | None:
        """Return a lock by its id, or None.

        One that the project's folder has not, or not whole, is taken from the shared store, and kept. Raises
        `LockError` when all there is under its name is not that lock.
        """
        damage = None
        key, own_key = self._layout.lock(lock_id), _OWN.lock(lock_id)
        try:
            if (content := self._own.get(own_key)) is not None:
                return lock_json.load(content, expected=lock_id, path=own_key)
        except LockError as error:
            damage = error
        shared = self._shared()
        content = shared.get(key) if shared else None
        if content is None:
            if damage:
                raise damage
            return None
        lock = lock_json.load(content, expected=lock_id, path=f"{shared.location}/{key}" if shared else key)
        if self._keeps_found:
            self._own.replace(own_key, content)
        return lock

    def keep(self, lock: LockedEnvironment, made: Provenance | None = None) -> None:
        """Keep a lock in the project's folder, and how it came about."""
        key = _OWN.lock(lock.id)
        # A lock that is there and whole stays: the same packages from another address have the same id.
        if self._is_damaged(self._own, lock.id):
            self._own.replace(key, lock_json.dump(lock))
        self._own.put(key, lock_json.dump(lock))
        if made:
            self._own.put(_OWN.provenance(lock.id, made), provenance_json.dump(made))

    def keep_group(self, group: LockGroup) -> None:
        """Note in the project's folder which locks were resolved together."""
        for _, lock_id in group.locks:
            self._own.put(_OWN.group(lock_id, group.id), _dump_group(group))

    # ---------------------------------------------------------------- the shared store

    def is_shared(self, lock_id: LockId) -> bool:
        """Ask the shared store whether it has this lock, whole; then it has its packages, too."""
        shared = self._shared()
        return shared is not None and not self._is_damaged(shared, lock_id, or_absent=True)

    def share(self, lock_id: LockId) -> None:
        """Put a lock, whose packages are in the shared store already, there too; replaces a damaged one."""
        shared = self._shared()
        content = self._own.get(_OWN.lock(lock_id))
        assert shared is not None
        assert content is not None
        if not shared.put(self._layout.lock(lock_id), content) and self._is_damaged(shared, lock_id):
            shared.replace(self._layout.lock(lock_id), content)

    def share_notes(self, lock_id: LockId) -> None:
        """Put what the project knows of a lock, which is in the shared store already, there too.

        How it came about first, then what it answers: who finds a lock by its request can see how it was made. The lock
        counts as used of late from then on: nobody clears it away.
        """
        shared = self._shared()
        assert shared is not None
        # Of each request the latest: who resolves the same every night says nothing new.
        latest = {(note.request, note.target): note for note in self._provenances(lock_id)}
        made = list(latest.values())
        for note in made:
            # The same bytes as ever, whatever is there: that makes it young, and heals it.
            shared.replace(self._layout.provenance(lock_id, note), provenance_json.dump(note))
        if not made:
            shared.touch([self._layout.lock(lock_id)])
        for note in made:
            shared.put(self._layout.answer(note, lock_id), b"")
        for group in self.groups(lock_id, only_own=True):
            shared.put(self._layout.group(lock_id, group.id), _dump_group(group))

    def answers(self, request: RequestKey, target: Target) -> list[Answer]:
        """Return the locks in the shared store that somebody got for a request, the latest first."""
        shared, prefix = self._shared(), self._layout.answers(request, target)
        found = []
        for info in shared.list(prefix) if shared else ():
            lock_id, _, note = info.key.removeprefix(prefix).partition("/")
            written, _, user = note.partition("-")
            if is_id(lock_id):
                answer = Answer(lock=LockId(lock_id), user=unquote(user), time=info.modified)
                # Stores tell full seconds; within one, the writer's own time decides.
                found.append((info.modified, written, lock_id, answer))
        return [row[-1] for row in sorted(found, key=lambda row: row[:3], reverse=True)]

    def groups(self, lock_id: LockId, *, only_own: bool = False) -> list[LockGroup]:
        """Return the groups that a lock belongs to, as the project or the shared store knows them."""
        found: dict[str, LockGroup] = {}
        for blobs in (self._own,) if only_own else (self._own, self._shared()):
            layout = _OWN if blobs is self._own else self._layout
            for info in blobs.list(layout.groups(lock_id)) if blobs else ():
                group = _load_group(blobs.get(info.key) or b"", info.key) if blobs else None
                if group and info.key == layout.group(lock_id, group.id) and lock_id in dict(group.locks).values():
                    found[group.id] = group
        return list(found.values())

    def sibling(self, lock_id: LockId, platform: Platform) -> LockId | None:
        """Return the lock for `platform` that was resolved together with another one, or None."""
        found = {group.lock_for(platform) for group in self.groups(lock_id)} - {None}
        return found.pop() if len(found) == 1 else None

    def own_ids(self) -> set[LockId]:
        """Return the ids of all locks that the project has; without reading any."""
        return _ids_in(self._own, _OWN)

    def shared_ids(self) -> set[LockId]:
        """Return the ids of all locks that the shared store has; without reading any."""
        shared = self._shared()
        return _ids_in(shared, self._layout) if shared else set()

    def answered(self, request: RequestKey) -> set[LockId]:
        """Return all locks that are noted to answer a request in the shared store, on any target."""
        shared, prefix = self._shared(), f"{self._layout.requests}{request}/"
        keys = [info.key.removeprefix(prefix) for info in shared.list(prefix)] if shared else []
        found = {key.split("/")[1] for key in keys if key.count("/") >= 2}
        return {LockId(text) for text in found if is_id(text)}

    def notes(self, lock_id: LockId, *, only_own: bool = False) -> list[Provenance]:
        """Return all that is known of how a lock came about, the latest last; of the shared store, where that is."""
        found = {(note.request, note.user, note.time): note for note in self._provenances(lock_id)}
        shared = None if only_own else self._shared()
        for info in shared.list(self._layout.provenances(lock_id)) if shared else ():
            with contextlib.suppress(LockError):
                note = provenance_json.load((shared.get(info.key) if shared else None) or b"", path=info.key)
                found.setdefault((note.request, note.user, note.time), note)
        return sorted(found.values(), key=lambda note: note.time)

    def _provenances(self, lock_id: LockId) -> Iterator[Provenance]:
        """Yield the project's notes on a lock, the latest last."""
        for key in sorted(info.key for info in self._own.list(_OWN.provenances(lock_id))):
            try:
                yield provenance_json.load(self._own.get(key) or b"", path=key)
            except LockError:
                # A damaged note is a note less; the lock does not depend on it.
                continue

    def _is_damaged(self, blobs: BlobStore, lock_id: LockId, *, or_absent: bool = False) -> bool:
        key = (_OWN if blobs is self._own else self._layout).lock(lock_id)
        content = blobs.get(key)
        if content is None:
            return or_absent
        try:
            lock_json.load(content, expected=lock_id, path=key)
        except LockError:
            return True
        return False


def _ids_in(blobs: BlobStore, layout: Layout) -> set[LockId]:
    names = (info.key.rpartition("/")[2].removesuffix(".json") for info in blobs.list(layout.locks))
    return {LockId(name) for name in names if is_id(name)}


_GROUP_SCHEMA = "mfenv/group/1"


def _dump_group(group: LockGroup) -> bytes:
    return canonical_json({"schema": _GROUP_SCHEMA, "locks": {platform.value: lock for platform, lock in group.locks}})


def _load_group(content: bytes, path: str) -> LockGroup | None:
    """Read a group; None for a damaged one, without which the locks are still there."""
    try:
        document = Fields.parse(content, path=path)
        pairs = document.texts("locks")
        locks = {fields.platform(name, path=path): LockId(lock) for name, lock in pairs if is_id(lock)}
    except LockError:
        return None
    return LockGroup.of(locks) if document.values.get("schema") == _GROUP_SCHEMA else None
