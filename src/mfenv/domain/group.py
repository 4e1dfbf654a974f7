"""Locks that were resolved together: one for each platform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mfenv.domain.digest import LockId, identity
from mfenv.domain.platform import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class LockGroup:
    """The locks that one request had on several platforms at the same moment."""

    locks: tuple[tuple[Platform, LockId], ...]
    """Sorted by platform, each once."""

    @classmethod
    def of(cls, locks: Mapping[Platform, LockId]) -> LockGroup:
        """Return the group of `locks`."""
        return cls(locks=tuple(sorted(locks.items(), key=lambda pair: pair[0].value)))

    @property
    def id(self) -> str:
        """The group as 40 hex digits."""
        return identity("mfenv/group/1", [[platform.value, lock] for platform, lock in self.locks])

    def lock_for(self, platform: Platform) -> LockId | None:
        """Return the group's lock for `platform`, or None."""
        return dict(self.locks).get(platform)
