"""What the name of an environment stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from mfenv.domain.digest import LockId, RequestKey
from mfenv.domain.platform import Platform
from mfenv.domain.reference import ByName


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A name, and the lock that it stands for on each platform; said by somebody at some time."""

    ref: ByName
    locks: tuple[tuple[Platform, LockId], ...]
    """Sorted by platform, each once."""
    requests: tuple[tuple[Platform, RequestKey], ...] = ()
    """Which request each answered, where that is known."""
    user: str
    time: datetime

    @classmethod
    def of(
        cls,
        ref: ByName,
        locks: Mapping[Platform, LockId],
        *,
        user: str,
        time: datetime,
        requests: Mapping[Platform, RequestKey] | None = None,
    ) -> Alias:
        """Return the alias that stands for `locks`."""
        return cls(
            ref=ref,
            locks=tuple(sorted(locks.items(), key=lambda pair: pair[0].value)),
            requests=tuple(sorted((requests or {}).items(), key=lambda pair: pair[0].value)),
            user=user,
            time=time,
        )

    def lock_for(self, platform: Platform) -> LockId | None:
        """Return the lock for `platform`, or None."""
        return dict(self.locks).get(platform)
