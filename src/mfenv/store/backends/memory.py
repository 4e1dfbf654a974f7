"""A store that is forgotten with its process; for tests and for asking without keeping."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path

from mfenv.store.base import BlobInfo, OnTransfer


class MemoryBlobStore:
    """Keeps blobs in a dictionary; see `mfenv.store.base.BlobStore`."""

    kind = "local"
    location = "memory"

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)) -> None:
        """Begin with nothing; `now` is its clock."""
        self._blobs: dict[str, tuple[bytes, datetime]] = {}
        self._now = now

    def get(self, key: str) -> bytes | None:
        """See `BlobStore.get`."""
        found = self._blobs.get(key)
        return found[0] if found else None

    def put(self, key: str, content: bytes) -> bool:
        """See `BlobStore.put`."""
        mine = (content, self._now())
        return self._blobs.setdefault(key, mine) is mine

    def replace(self, key: str, content: bytes) -> None:
        """See `BlobStore.replace`."""
        self._blobs[key] = (content, self._now())

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `BlobStore.list`."""
        yield from self.find(key for key in list(self._blobs) if key.startswith(prefix)).values()

    def find(self, keys: Iterable[str]) -> Mapping[str, BlobInfo]:
        """See `BlobStore.find`."""
        found = {key: blob for key in keys if (blob := self._blobs.get(key))}
        return {
            key: BlobInfo(key=key, size=len(content), modified=modified) for key, (content, modified) in found.items()
        }

    def upload(self, files: Mapping[str, Path], on_transfer: OnTransfer | None = None) -> None:
        """See `BlobStore.upload`."""
        for key, path in files.items():
            content = path.read_bytes()
            self.replace(key, content)
            if on_transfer:
                on_transfer(key, len(content))

    def download(self, files: Mapping[str, Path], on_transfer: OnTransfer | None = None) -> set[str]:
        """See `BlobStore.download`."""
        found = {key: content for key in files if (content := self.get(key)) is not None}
        for key, content in found.items():
            files[key].write_bytes(content)
            if on_transfer:
                on_transfer(key, len(content))
        return set(found)

    def touch(self, keys: Iterable[str]) -> None:
        """See `BlobStore.touch`."""
        for key in keys:
            if found := self._blobs.get(key):
                self._blobs[key] = (found[0], self._now())

    def delete(self, keys: Iterable[str]) -> None:
        """See `BlobStore.delete`."""
        for key in keys:
            self._blobs.pop(key, None)
