"""The store of the existing product, as far as environments are found there by name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mfenv.domain.platform import Platform
from mfenv.errors import InvalidSpec, LockError
from mfenv.formats import legacy_json
from mfenv.formats.legacy_json import LegacyEnvironment
from mfenv.store.base import BlobStore

_IDS = re.compile(r"([0-9a-f]{40}):([0-9a-f]{40})")
_NAME = re.compile(r"[a-z0-9_-]+(/[a-z0-9_-]+)*(:[a-z0-9_-]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyRef:
    """What a name of the existing product stands for."""

    request: str
    full: str


class LegacyStore:
    """Finds environments below ``<root>/<envs>/``."""

    def __init__(self, blobs: BlobStore, *, envs: str = "envs") -> None:
        """Look in `blobs`, which begins at the root of the existing product's store."""
        self.blobs = blobs
        self._envs = envs

    def find(self, name: str) -> LegacyRef | None:
        """Return what ``name``, ``name:tag`` or ``request id:full id`` stands for, or None.

        Raises `InvalidSpec` for what can be no name there, and `LockError` for a damaged one.
        """
        if ids := _IDS.fullmatch(name):
            return LegacyRef(request=ids[1], full=ids[2])
        if not _NAME.fullmatch(name):
            raise InvalidSpec(
                f"`{name}` is not a name of the existing product",
                hint="Those have lower-case letters, digits, `-`, `_` and `/`, and perhaps a tag behind a colon",
            )
        base, _, tag = name.partition(":")
        key = f"{self._envs}/aliases/generic/{base}/{tag or 'latest'}"
        content = self.blobs.get(key)
        if content is None:
            return None
        request, full = legacy_json.load_alias(content, path=key)
        return LegacyRef(request=request, full=full)

    def platforms(self, ref: LegacyRef) -> list[Platform]:
        """Return the platforms that there are environments for."""
        keys = {platform: self._key(ref, platform) for platform in Platform}
        found = self.blobs.find(keys.values())
        return [platform for platform, key in keys.items() if key in found]

    def environment(self, ref: LegacyRef, platform: Platform) -> LegacyEnvironment:
        """Return an environment. Raises `LockError`."""
        key = self._key(ref, platform)
        content = self.blobs.get(key)
        if content is None:
            raise LockError(f"{key}: there is no such environment")
        return legacy_json.load_environment(content, path=key)

    def names(self) -> Iterator[str]:
        """Yield all names."""
        prefix = f"{self._envs}/aliases/generic/"
        for info in self.blobs.list(prefix):
            name, _, tag = info.key.removeprefix(prefix).rpartition("/")
            if name:
                yield f"{name}:{tag}"

    def _key(self, ref: LegacyRef, platform: Platform) -> str:
        return f"{self._envs}/{platform.value}/{ref.request}/{ref.full}/env"
