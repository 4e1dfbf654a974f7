"""Names of environments, and where they pointed.

The tags ``latest``, ``candidate`` and ``stable`` can be moved; every other stays what it is, also when two say at the
same moment what it is. Each name has a history. Of a name that can be moved it is written first: whatever the name ever
stood for is in it. Of one that stays it is written behind, by the one who was first: nothing else is in it.

A name has all its platforms at once. Who points `env:latest` to a lock for linux-64, while it stood for one for
osx-arm64, leaves it with one for linux-64 alone.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

from mfenv.domain.alias import Alias
from mfenv.domain.reference import ByName, parse_reference
from mfenv.errors import InvalidSpec, LockError, StoreError
from mfenv.formats import alias_json
from mfenv.formats.alias_json import LaterVersionError
from mfenv.store.base import BlobStore
from mfenv.store.layout import Layout, stamp

_AT_ONCE = 16
_NOTE = re.compile(r"(\d{8}T\d{12}Z)-[0-9a-f]+\.json")


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

        A damaged name is restored from its history. Raises `LockError` when that is damaged as well, or when a later
        version of this package wrote the name, and `StoreError`.
        """
        key = self._layout.alias(ref)
        content = self._blobs.get(key)
        if content is None:
            return None
        try:
            return self._read(content, key, ref)
        except LockError as damage:
            return self._restored(ref, damage)

    def _restored(self, ref: ByName, damage: LockError) -> Alias:
        """Return what a damaged name stood for by its history, and write it anew. Raises `damage` without a history."""
        whole = self._said(ref)
        while whole:
            try:
                self._blobs.replace(self._layout.alias(ref), alias_json.dump(whole))
            except StoreError as error:
                # Who may only read can still be answered.
                self._tell(f"The name {ref} is damaged in the store, and cannot be restored: {error.message}.")
                return whole
            # Somebody may have moved it meanwhile, which this would undo; they write the note first.
            if (by_now := self._said(ref)) == whole:
                self._tell(f"The name {ref} was damaged in the store; it was restored from its history.")
                return whole
            whole = by_now
        raise damage

    def _said(self, ref: ByName) -> Alias | None:
        """Return what a name stands for by its history: the last note of one that can be moved, else the first.

        Notes that are damaged are passed over. Raises `LaterVersionError`.
        """
        for key in sorted(self._notes(ref), reverse=ref.is_mutable):
            try:
                return self._read(self._blobs.get(key) or b"", key, ref)
            except LaterVersionError:
                raise
            except LockError:
                continue
        return None

    def point(self, alias: Alias) -> Alias:
        """Have a name stand for something, and return what it now stands for: the same, said first by whomever.

        Raises `AliasExistsError` for a name that stands for something else and cannot be moved.
        """
        before = self.get(alias.ref)
        if before and before.locks == alias.locks:
            if not alias.ref.is_mutable:
                self._note_only(before)
            return before
        content = alias_json.dump(alias)
        if alias.ref.is_mutable:
            self._blobs.put(self._new_note(alias), content)
            self._blobs.replace(self._layout.alias(alias.ref), content)
            return alias
        if before:
            raise taken(before)
        won = alias if self._blobs.put(self._layout.alias(alias.ref), content) else self.get(alias.ref)
        if won is None or won.locks != alias.locks:
            raise taken(won or alias)
        # Behind the name: two may try at the same time, and only what came to be is history.
        self._note_only(won)
        return won

    def _note_only(self, alias: Alias) -> None:
        """Write the one note of a name that stays, unless it is there.

        Whoever said it first may have been stopped before the note, or be about to write it: the key is the same.
        """
        content = alias_json.dump(alias)
        key = f"{self._layout.history(alias.ref)}{_time(alias)}-{hashlib.sha256(content).hexdigest()[:8]}.json"
        if not self._blobs.find([key]):
            self._blobs.put(key, content)

    def _new_note(self, alias: Alias) -> str:
        """Return the key of a note that comes behind those that are there, whatever people's clocks say."""
        prefix = self._layout.history(alias.ref)
        found = (_NOTE.fullmatch(key.removeprefix(prefix)) for key in self._notes(alias.ref))
        last = max((match[1] for match in found if match), default="")
        time = _time(alias)
        return f"{prefix}{time if time > last else _behind(last)}-{secrets.token_hex(4)}.json"

    def _notes(self, ref: ByName) -> list[str]:
        return [info.key for info in self._blobs.list(self._layout.history(ref))]

    def names(self) -> list[ByName]:
        """Return all names, whatever they stand for, in no order; they are not read."""
        return [ref for info in self._blobs.list(self._layout.aliases) if (ref := self._ref_of(info.key))]

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
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return [alias for alias in pool.map(self.get, self.names()) if alias]

    def _ref_of(self, key: str) -> ByName | None:
        """Return the name that is kept under a key; None for what nobody can name."""
        name, _, tag = key.removeprefix(self._layout.aliases).removesuffix(".json").rpartition("/")
        try:
            ref = parse_reference(f"{name}:{tag}", where=key)
        except InvalidSpec:
            return None
        return ref if isinstance(ref, ByName) else None

    def history(self, ref: ByName) -> list[Alias]:
        """Return what a name stood for, the latest first; notes that cannot be read are left out."""
        keys = sorted(self._notes(ref), reverse=True)
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


def _time(alias: Alias) -> str:
    return stamp(alias.time.astimezone(timezone.utc))


def _behind(time: str) -> str:
    """Return the moment after another one, both as they are written in keys."""
    try:
        return stamp(
            datetime.strptime(time, "%Y%m%dT%H%M%S%fZ").replace(tzinfo=timezone.utc) + timedelta(microseconds=1)
        )
    except (ValueError, OverflowError):
        return time


def taken(alias: Alias) -> AliasExistsError:
    """Return the error of who wants to move a name that stays: it stands for `alias`."""
    locks = ", ".join(f"{lock} ({platform.value})" for platform, lock in alias.locks)
    return AliasExistsError(
        f"`{alias.ref}` stands for {locks} since {alias.time:%Y-%m-%d}, and cannot be moved",
        hint="Choose another tag; only `latest`, `candidate` and `stable` can be moved",
    )
