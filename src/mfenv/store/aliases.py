"""Names of environments, and where they pointed.

The tags ``latest``, ``candidate`` and ``stable`` can be moved; every other stays what it is, also when two say at the
same moment what it is. Each name has a history, written before the name itself: what is in no history was never said.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from mfenv.domain.alias import Alias
from mfenv.domain.reference import ByName, parse_reference
from mfenv.errors import InvalidSpec, LockError, StoreError
from mfenv.formats import alias_json
from mfenv.store.base import BlobStore
from mfenv.store.layout import Layout, stamp

_AT_ONCE = 16


class AliasExistsError(StoreError):
    """A name that stays what it is was to stand for something else."""


class AliasStore:
    """Keeps names in a `BlobStore`."""

    def __init__(
        self, blobs: BlobStore, layout: Layout | None = None, *, tell: Callable[[str], None] = lambda _line: None
    ) -> None:
        """Keep names in `blobs`; `tell` hears of what was found damaged and healed."""
        self._blobs = blobs
        self._layout = layout or Layout()
        self._tell = tell

    def get(self, ref: ByName) -> Alias | None:
        """Return what a name stands for, or None.

        A damaged name is healed from its history. Raises `LockError` when that is damaged as well.
        """
        key = self._layout.alias(ref)
        content = self._blobs.get(key)
        if content is None:
            return None
        try:
            return self._read(content, key, ref)
        except LockError:
            if not (history := self.history(ref)):
                raise
        # The first that was said of a name that stays; the last of one that can be moved.
        whole = history[0] if ref.is_mutable else history[-1]
        self._blobs.replace(key, alias_json.dump(whole))
        self._tell(f"The name {ref} was damaged in the store; it was restored from its history.")
        return whole

    def point(self, alias: Alias) -> Alias:
        """Have a name stand for something, and return what it now stands for: the same, said first by whomever.

        Raises `AliasExistsError` for a name that stands for something else and cannot be moved.
        """
        before = self.get(alias.ref)
        if before and before.locks == alias.locks:
            if not alias.ref.is_mutable and not self.history(alias.ref):
                # Whoever said it first was stopped before its note.
                self._blobs.put(self._new_note(before), alias_json.dump(before))
            return before
        if before and not alias.ref.is_mutable:
            raise taken(before)
        content, note = alias_json.dump(alias), self._new_note(alias)
        if alias.ref.is_mutable:
            self._blobs.put(note, content)
            self._blobs.replace(self._layout.alias(alias.ref), content)
            return alias
        if not self._blobs.put(self._layout.alias(alias.ref), content):
            won = self.get(alias.ref)
            if won is None or won.locks != alias.locks:
                raise taken(won or alias)
            return won
        # Behind the name: two may try at the same time, and only what came to be is history.
        self._blobs.put(note, content)
        return alias

    def _new_note(self, alias: Alias) -> str:
        return f"{self._layout.history(alias.ref)}{stamp(alias.time)}-{secrets.token_hex(4)}.json"

    def all(self, prefix: str = "") -> Iterator[Alias]:
        """Yield all names that begin with `prefix`; those that cannot be read are left out."""
        keys = [info.key for info in self._blobs.list(self._layout.aliases)]
        begin = self._layout.aliases + prefix
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for found in pool.map(self._at, sorted(key for key in keys if key.startswith(begin))):
                if found:
                    yield found

    def all_or_error(self) -> list[Alias]:
        """Return all names, each restored if need be. Raises `LockError` for one that cannot be read."""
        refs = [ref for info in self._blobs.list(self._layout.aliases) if (ref := self._ref_of(info.key))]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return [alias for alias in pool.map(self.get, refs) if alias]

    def _ref_of(self, key: str) -> ByName | None:
        """Return the name that is kept under a key; None for what nobody can name."""
        name, _, tag = key.removeprefix(self._layout.aliases).removesuffix(".json").rpartition("/")
        try:
            ref = parse_reference(f"{name}:{tag}", where=key)
        except InvalidSpec:
            return None
        return ref if isinstance(ref, ByName) else None

    def history(self, ref: ByName) -> list[Alias]:
        """Return what a name stood for, the latest first."""
        prefix = self._layout.history(ref)
        keys = sorted((info.key for info in self._blobs.list(prefix)), reverse=True)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = pool.map(lambda key: self._note(key, ref), keys)
            return [alias for alias in found if alias]

    def _note(self, key: str, ref: ByName) -> Alias | None:
        try:
            return self._read(self._blobs.get(key) or b"", key, ref)
        except LockError:
            return None

    def _at(self, key: str) -> Alias | None:
        try:
            alias = alias_json.load(self._blobs.get(key) or b"", path=key)
        except LockError:
            return None
        return alias if self._layout.alias(alias.ref) == key else None

    @staticmethod
    def _read(content: bytes, key: str, ref: ByName) -> Alias:
        alias = alias_json.load(content, path=key)
        if alias.ref != ref or not alias.locks:
            raise LockError(f"{key}: this is the name `{alias.ref}`")
        return alias


def taken(alias: Alias) -> AliasExistsError:
    """Return the error of who wants to move a name that stays: it stands for `alias`."""
    locks = ", ".join(f"{lock} ({platform.value})" for platform, lock in alias.locks)
    return AliasExistsError(
        f"`{alias.ref}` stands for {locks} since {alias.time:%Y-%m-%d}, and cannot be moved",
        hint="Choose another tag; only `latest`, `candidate` and `stable` can be moved",
    )
