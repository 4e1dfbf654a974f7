"""The store seam: bytes by key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class BlobStore(Protocol):
    """Keeps bytes under keys such as ``mfenv/v1/locks/<id>.json``.

    Called from any thread. A key that was written once is never written again with other bytes, except
    through `replace`. Readers never see half of a blob. Raises `StoreError` when the place is out of reach.
    """

    def get(self, key: str) -> bytes | None:
        """Return the bytes under `key`, or None."""
        ...

    def put(self, key: str, content: bytes) -> None:
        """Keep `content` under `key`, if there is nothing yet; otherwise leave what is there."""
        ...

    def replace(self, key: str, content: bytes) -> None:
        """Keep `content` under `key`, whatever is there. For the few keys that may change."""
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys below `prefix`, which ends with a slash, in no order."""
        ...
