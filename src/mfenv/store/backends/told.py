"""A store that tells, for `mfenv.io.debug_log`, what it is asked and how long that takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from mfenv.io.debug_log import timed
from mfenv.store.base import BlobInfo, BlobStore, OnTransfer


class ToldBlobStore:
    """Hands all on to another store; see `BlobStore`."""

    def __init__(self, store: BlobStore) -> None:
        """Tell of what `store` is asked."""
        self._store = store
        self.kind = store.kind
        self.location = store.location

    def get(self, key: str) -> bytes | None:
        """See `BlobStore.get`."""
        with timed("store", f"get {key}"):
            return self._store.get(key)

    def put(self, key: str, content: bytes) -> bool:
        """See `BlobStore.put`."""
        with timed("store", f"put {key} ({len(content)} bytes)"):
            return self._store.put(key, content)

    def replace(self, key: str, content: bytes) -> None:
        """See `BlobStore.replace`."""
        with timed("store", f"replace {key} ({len(content)} bytes)"):
            self._store.replace(key, content)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `BlobStore.list`."""
        with timed("store", f"list {prefix}"):
            yield from self._store.list(prefix)

    def find(self, keys: Iterable[str]) -> Mapping[str, BlobInfo]:
        """See `BlobStore.find`."""
        keys = tuple(keys)
        with timed("store", f"find {len(keys)} keys"):
            return self._store.find(keys)

    def upload(self, files: Mapping[str, Path], on_transfer: OnTransfer | None = None) -> None:
        """See `BlobStore.upload`."""
        with timed("store", f"upload {len(files)} files"):
            self._store.upload(files, on_transfer)

    def download(self, files: Mapping[str, Path], on_transfer: OnTransfer | None = None) -> set[str]:
        """See `BlobStore.download`."""
        with timed("store", f"download {len(files)} files"):
            return self._store.download(files, on_transfer)

    def touch(self, keys: Iterable[str]) -> None:
        """See `BlobStore.touch`."""
        keys = tuple(keys)
        with timed("store", f"touch {len(keys)} keys"):
            self._store.touch(keys)

    def delete(self, keys: Iterable[str]) -> None:
        """See `BlobStore.delete`."""
        keys = tuple(keys)
        with timed("store", f"delete {len(keys)} keys"):
            self._store.delete(keys)
