"""Locks by id, and by the request that they answer."""

from __future__ import annotations

from mfenv.domain.digest import LockId, RequestKey, canonical_json, is_id
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Target
from mfenv.domain.provenance import Provenance
from mfenv.errors import LockError
from mfenv.formats import lock_json
from mfenv.store import layout
from mfenv.store.base import BlobStore


class LockStore:
    """Keeps locks in a `BlobStore`."""

    def __init__(self, blobs: BlobStore) -> None:
        """Keep locks in `blobs`."""
        self._blobs = blobs

    def find(self, key: RequestKey, target: Target) -> LockedEnvironment | None:
        """Return the lock that is used for a request, or None.

        A pointer or lock that cannot be read counts as none: solving again heals it.
        """
        pointer = (self._blobs.get(layout.default(key, target)) or b"").decode(errors="replace").strip()
        # A pointer to a lock that was never made for this request is damage like any other.
        if not is_id(pointer) or self._blobs.get(layout.request(key, target, LockId(pointer))) is None:
            return None
        try:
            return self.get(LockId(pointer))
        except LockError:
            return None

    def get(self, lock_id: LockId) -> LockedEnvironment | None:
        """Return a lock by its id, or None; raise `LockError` when what is kept there is not that lock."""
        key = layout.lock(lock_id)
        content = self._blobs.get(key)
        return None if content is None else lock_json.load(content, expected=lock_id, path=key)

    def put(self, lock: LockedEnvironment, made: Provenance) -> None:
        """Keep a lock and make it the one used for the request it was made for."""
        key = layout.lock(lock.id)
        # The lock, then what points to it: a crash leaves a lock that nobody names, never a
        # pointer to nothing. A lock that is there and whole stays: the same packages from another
        # address have the same id.
        if self._damaged(lock.id):
            self._blobs.replace(key, lock_json.dump(lock))
        self._blobs.put(key, lock_json.dump(lock))
        self._blobs.put(layout.provenance(lock.id, made), _provenance(made))
        self._blobs.put(layout.request(made.request, made.target, lock.id), b"")
        self._blobs.replace(layout.default(made.request, made.target), lock.id.encode())

    def _damaged(self, lock_id: LockId) -> bool:
        try:
            self.get(lock_id)
        except LockError:
            return True
        return False


def _provenance(made: Provenance) -> bytes:
    return canonical_json(
        {
            "schema": "mfenv/provenance/1",
            "request": made.request,
            "asked": made.asked.canonical() if made.asked else None,
            "target": {
                "platform": made.target.platform.value,
                "virtual_packages": [str(package) for package in made.target.virtual_packages],
            },
            "resolver": made.resolver,
            "user": made.user,
            "time": made.time.isoformat(),
        }
    )
