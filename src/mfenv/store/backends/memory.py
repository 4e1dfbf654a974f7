"""A store that is forgotten with its process; for tests and for asking without keeping."""

from __future__ import annotations

from collections.abc import Iterator


class MemoryBlobStore:
    """Keeps blobs in a dictionary; see `mfenv.store.base.BlobStore`."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._blobs: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        """See `BlobStore.get`."""
        return self._blobs.get(key)

    def put(self, key: str, content: bytes) -> None:
        """See `BlobStore.put`."""
        self._blobs.setdefault(key, content)

    def replace(self, key: str, content: bytes) -> None:
        """See `BlobStore.replace`."""
        self._blobs[key] = content

    def list(self, prefix: str) -> Iterator[str]:
        """See `BlobStore.list`."""
        yield from [key for key in self._blobs if key.startswith(prefix)]
